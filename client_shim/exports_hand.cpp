// The exported symbols of the hand-written functions that are routed; behind.h has the rest.
#include "client_shim/several_copy.h"
#include "transport/api/stubs.h"

#define ROUTED(F, N, DEVICE)            \
  extern "C" decltype(::F) farcall_##F; \
  FARCALL_STUB(F, N, (::farcall::shim::Routed<&::F, &::farcall_##F, DEVICE>::call))
#include "client_shim/routed.def"
