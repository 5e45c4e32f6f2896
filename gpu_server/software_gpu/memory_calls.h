// Giving out memory and taking it back; what the cuMem… functions share.
//
//   if (CUresult failed = allocate(context, bytes, MemoryKind::kDevice, 0, &address)) …
//
// Threads: any.
#pragma once
#include "gpu_server/software_gpu/addresses.h"
#include "gpu_server/software_gpu/context.h"
#include "transport/cuda/cuda_abi.h"

namespace farcall::softgpu {

struct Pool;

// Errors: CUDA_ERROR_INVALID_VALUE for 0 bytes, CUDA_ERROR_OUT_OF_MEMORY.
CUresult allocate(Context& context, std::size_t bytes, MemoryKind kind, unsigned flags,
                  CUdeviceptr* address, std::shared_ptr<const Pool> pool = nullptr);

// Host memory that kernels may touch at its own address.
CUresult allocate_host(Context& context, std::size_t bytes, unsigned flags, void** pointer);
// Errors: CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED.
CUresult register_host(Context& context, void* pointer, std::size_t bytes, unsigned flags);

// Returns memory of any kind to where it came from; the book (Addresses) has let go of it already.
void give_back(const Allocation& allocation);

// True when all of it is memory that some device's kernels may touch.
bool is_device_range(std::uint64_t address, std::size_t bytes);

}  // namespace farcall::softgpu
