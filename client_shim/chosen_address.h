// Device memory at an address that this process chooses.
//
//   CUresult made = allocate_at(client, address, bytes);     // of the current context's device
//   free_at(address, bytes);                                 // what was made so
//
// By the driver's virtual memory management (cuMemAddressReserve and what follows it), which takes
// a wish for an address. What is wished for may be taken there: then it is not to be had, and
// nothing has happened. Every device of the server that can reach it may use it.
// Threads: any that makes calls; several round trips each.
#pragma once
#include <cstddef>
#include <cstdint>

#include "client_shim/client.h"

namespace farcall::shim {

// Of addresses and sizes: the granularity of NVIDIA's drivers and of the software GPU.
inline constexpr std::size_t kDeviceStepBytes = std::size_t{2} << 20;

constexpr std::size_t whole_steps(std::size_t bytes) {
  return (bytes + kDeviceStepBytes - 1) / kDeviceStepBytes * kDeviceStepBytes;
}

// `bytes` from `address` on, a multiple of kDeviceStepBytes; rounded up to whole steps.
// Errors: CUDA_ERROR_ALREADY_MAPPED when the server cannot have it there; the driver's.
CUresult allocate_at(Client& client, CUdeviceptr address, std::size_t bytes);
// What used it must have ended. Failures leave it to the end of the session.
void free_at(CUdeviceptr address, std::size_t bytes);

}  // namespace farcall::shim
