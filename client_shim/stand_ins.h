// Device memory that the shim allocates for itself, to stand for a program's host memory.
//
//   Allocation made;  made.memory = Memory::kDevice;  made.bytes = bytes;
//   if (CUresult bad = allocate_stand_in(client, &made); bad != CUDA_SUCCESS) return bad;
//
// As a program's own memory it lies apart from all that other servers have handed out (several.h)
// and is entered in Allocations; who frees it takes it out there first.
// Threads: any that makes calls.
#pragma once
#include "client_shim/client.h"

namespace farcall::shim {

// Of the current context's device.
//   made  bytes, memory, owner and host are the caller's; all else is filled in
// Errors: the driver's; CUDA_ERROR_OUT_OF_MEMORY after limits::kAddressTriesMax addresses of
// others.
CUresult allocate_stand_in(Client& client, Allocation* made);

}  // namespace farcall::shim
