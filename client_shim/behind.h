// In a hand-written file that includes this, the functions of routed.def are those behind the
// exported ones: they run when it is clear which server a call is for (exports_hand.cpp).
//
//   #include "client_shim/behind.h"
//   FARCALL_EXPORT cuLaunchKernel(…) { … }      // the symbol farcall_cuLaunchKernel, not exported
//
// Each keeps the name that a reader looks for, and calls among them are not routed again.
#pragma once
#include "transport/cuda/cuda_abi.h"

#define ROUTED(F, N, DEVICE) extern "C" decltype(::F) F __asm__("farcall_" #F);
#include "client_shim/routed.def"
