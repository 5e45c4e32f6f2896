// Reach: page-locked memory that a kernel is given by its address becomes the device's as well.
//
//   if (may_reach(client)) result = reach_parameters(client, kernel, params);
//
// Under unified addressing every kernel may use memory of cuMemHostAlloc where it is, whatever it
// was allocated for. Most of it only ever takes part in copies; so it stays ordinary memory, and
// fast, until an address in it is among the parameters of a launch or of a kernel's node: every
// word of 8 bytes in them is looked at, those inside of structures too. What a kernel finds an
// address of in device memory is not seen; there a program helps by asking for the device pointer,
// or by allocating with CU_MEMHOSTALLOC_DEVICEMAP.
// What cannot be mapped stays as it is, the log says so, and a kernel that uses it faults.
// Managed memory of another server is looked for, too: no kernel here can have it.
// Threads: any; with hits, as map_host (mirrored.h).
#pragma once
#include <cstddef>

#include "client_shim/client.h"
#include "client_shim/process.h"

namespace farcall::shim {

// Whether there is anything to look for.
inline bool may_reach(Client& client) {
  return client.allocations().host_uses().allocated().any() || has_several_servers();
}
// params: one pointer for each of the kernel's parameters.
// Errors: CUDA_ERROR_NOT_SUPPORTED for managed memory of another server.
CUresult reach_parameters(Client& client, const FunctionFacts& kernel, void** params);
// The same for parameters in the kernel's own layout.
CUresult reach_buffer(Client& client, const void* at, std::size_t bytes);

}  // namespace farcall::shim
