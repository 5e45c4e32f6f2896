// Memory: device, managed, pinned and registered.
// Source: CUDA Driver API 13.0, Memory Management and Unified Memory.
#include <algorithm>

#include "gpu_server/software_gpu/driver.h"
#include "gpu_server/software_gpu/graph_memory.h"
#include "gpu_server/software_gpu/memory_calls.h"

namespace farcall::softgpu {
namespace {

constexpr std::size_t kPitchBytes = 512;

// Takes an allocation out of the book if `suits` says it is of the right kind.
template <class Suits>
CUresult take_out(std::uint64_t base, Suits suits, Allocation* allocation) {
  auto known = driver().addresses.find(base);
  if (!known || known->base != base || !suits(*known)) return CUDA_ERROR_INVALID_VALUE;
  auto taken = driver().addresses.remove(base);
  if (!taken) return CUDA_ERROR_INVALID_VALUE;  // another thread freed it first
  *allocation = *taken;
  return CUDA_SUCCESS;
}

}  // namespace
}  // namespace farcall::softgpu

using namespace farcall::softgpu;

extern "C" {

CUresult cuMemGetInfo_v2(size_t* free, size_t* total) {
  Context* context = nullptr;
  if (CUresult failed = require_context(&context)) return failed;
  if (free == nullptr || total == nullptr) return CUDA_ERROR_INVALID_VALUE;
  const Memory& memory = context->device().memory();
  const std::size_t used = memory.used();
  *free = memory.limit() - std::min(memory.limit(), used);
  *total = memory.limit();
  return CUDA_SUCCESS;
}

CUresult cuMemAlloc_v2(CUdeviceptr* dptr, size_t bytesize) {
  Context* context = nullptr;
  if (CUresult failed = require_context(&context)) return failed;
  if (CUresult no = forbid_unsafe()) return no;
  return allocate(*context, bytesize, MemoryKind::kDevice, 0, dptr);
}

CUresult cuMemAllocPitch_v2(CUdeviceptr* dptr, size_t* pPitch, size_t WidthInBytes, size_t Height,
                            unsigned ElementSizeBytes) {
  Context* context = nullptr;
  if (CUresult failed = require_context(&context)) return failed;
  if (CUresult no = forbid_unsafe()) return no;
  if (pPitch == nullptr || WidthInBytes == 0 || Height == 0) return CUDA_ERROR_INVALID_VALUE;
  if (ElementSizeBytes != 4 && ElementSizeBytes != 8 && ElementSizeBytes != 16) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  std::size_t bytes = 0;
  if (WidthInBytes > SIZE_MAX - kPitchBytes) return CUDA_ERROR_OUT_OF_MEMORY;
  const std::size_t pitch = (WidthInBytes + kPitchBytes - 1) / kPitchBytes * kPitchBytes;
  if (__builtin_mul_overflow(pitch, Height, &bytes)) return CUDA_ERROR_OUT_OF_MEMORY;
  if (CUresult failed = allocate(*context, bytes, MemoryKind::kDevice, 0, dptr)) return failed;
  *pPitch = pitch;
  return CUDA_SUCCESS;
}

CUresult cuMemAllocManaged(CUdeviceptr* dptr, size_t bytesize, unsigned flags) {
  Context* context = nullptr;
  if (CUresult failed = require_context(&context)) return failed;
  if (CUresult no = forbid_unsafe()) return no;
  if (flags != CU_MEM_ATTACH_GLOBAL && flags != CU_MEM_ATTACH_HOST) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  return allocate(*context, bytesize, MemoryKind::kManaged, flags, dptr);
}

CUresult cuMemFree_v2(CUdeviceptr dptr) {
  Context* context = nullptr;
  if (CUresult failed = require_context(&context)) return failed;
  if (CUresult no = forbid_unsafe()) return no;
  if (dptr == 0) return CUDA_SUCCESS;
  if (GraphMemory::is_known(dptr)) {
    context->synchronize();
    return GraphMemory::end(dptr) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
  }
  const auto suits = [](const Allocation& found) {
    return found.kind == MemoryKind::kDevice || found.kind == MemoryKind::kManaged ||
           found.kind == MemoryKind::kPooled;
  };
  auto known = driver().addresses.find(dptr);
  if (!known || known->base != dptr || !suits(*known)) return CUDA_ERROR_INVALID_VALUE;
  // Freeing waits for the work that may still use the memory, as cuMemFree does.
  known->context->synchronize();
  Allocation allocation;
  if (CUresult failed = take_out(dptr, suits, &allocation)) return failed;
  give_back(allocation);
  return context->status();
}

CUresult cuMemGetAddressRange_v2(CUdeviceptr* pbase, size_t* psize, CUdeviceptr dptr) {
  Context* context = nullptr;
  if (CUresult failed = require_context(&context)) return failed;
  auto known = driver().addresses.find(dptr);
  std::optional<Memory::Range> range;
  if (known) range = Memory::Range{known->base, known->bytes};
  if (!known) range = context->device().memory().find(dptr);  // a module's global
  if (!range) return CUDA_ERROR_NOT_FOUND;
  if (pbase != nullptr) *pbase = range->base;
  if (psize != nullptr) *psize = range->bytes;
  return CUDA_SUCCESS;
}

// --- host memory ---------------------------------------------------------------------------------

CUresult cuMemHostAlloc(void** pp, size_t bytesize, unsigned Flags) {
  Context* context = nullptr;
  if (CUresult failed = require_context(&context)) return failed;
  if (CUresult no = forbid_unsafe()) return no;
  constexpr unsigned kKnown =
      CU_MEMHOSTALLOC_PORTABLE | CU_MEMHOSTALLOC_DEVICEMAP | CU_MEMHOSTALLOC_WRITECOMBINED;
  if ((Flags & ~kKnown) != 0) return CUDA_ERROR_INVALID_VALUE;
  return allocate_host(*context, bytesize, Flags, pp);
}

CUresult cuMemAllocHost_v2(void** pp, size_t bytesize) { return cuMemHostAlloc(pp, bytesize, 0); }

CUresult cuMemFreeHost(void* p) {
  Context* context = nullptr;
  if (CUresult failed = require_context(&context)) return failed;
  if (CUresult no = forbid_unsafe()) return no;
  if (p == nullptr) return CUDA_SUCCESS;
  const auto base = reinterpret_cast<std::uint64_t>(p);
  const auto suits = [](const Allocation& found) {
    return found.kind == MemoryKind::kHostAllocated;
  };
  auto known = driver().addresses.find(base);
  if (!known || known->base != base || !suits(*known)) return CUDA_ERROR_INVALID_VALUE;
  known->context->synchronize();
  Allocation allocation;
  if (CUresult failed = take_out(base, suits, &allocation)) return failed;
  give_back(allocation);
  return CUDA_SUCCESS;
}

CUresult cuMemHostRegister_v2(void* p, size_t bytesize, unsigned Flags) {
  Context* context = nullptr;
  if (CUresult failed = require_context(&context)) return failed;
  constexpr unsigned kKnown =
      CU_MEMHOSTREGISTER_PORTABLE | CU_MEMHOSTREGISTER_DEVICEMAP | CU_MEMHOSTREGISTER_READ_ONLY;
  if ((Flags & ~(kKnown | CU_MEMHOSTREGISTER_IOMEMORY)) != 0) return CUDA_ERROR_INVALID_VALUE;
  if ((Flags & CU_MEMHOSTREGISTER_IOMEMORY) != 0) return CUDA_ERROR_NOT_SUPPORTED;
  return register_host(*context, p, bytesize, Flags);
}

CUresult cuMemHostRegister(void* p, size_t bytesize, unsigned Flags) {
  return cuMemHostRegister_v2(p, bytesize, Flags);
}

CUresult cuMemHostUnregister(void* p) {
  Context* context = nullptr;
  if (CUresult failed = require_context(&context)) return failed;
  if (p == nullptr) return CUDA_ERROR_INVALID_VALUE;
  const auto suits = [](const Allocation& found) {
    return found.kind == MemoryKind::kHostRegistered;
  };
  context->synchronize();
  Allocation allocation;
  if (take_out(reinterpret_cast<std::uint64_t>(p), suits, &allocation) != CUDA_SUCCESS) {
    return CUDA_ERROR_HOST_MEMORY_NOT_REGISTERED;
  }
  give_back(allocation);
  return CUDA_SUCCESS;
}

CUresult cuMemHostGetDevicePointer_v2(CUdeviceptr* pdptr, void* p, unsigned Flags) {
  Context* context = nullptr;
  if (CUresult failed = require_context(&context)) return failed;
  if (pdptr == nullptr || Flags != 0) return CUDA_ERROR_INVALID_VALUE;
  auto known = driver().addresses.find(reinterpret_cast<std::uint64_t>(p));
  if (!known || !known->is_host()) return CUDA_ERROR_INVALID_VALUE;
  *pdptr = reinterpret_cast<CUdeviceptr>(p);
  return CUDA_SUCCESS;
}

CUresult cuMemHostGetFlags(unsigned* pFlags, void* p) {
  Context* context = nullptr;
  if (CUresult failed = require_context(&context)) return failed;
  auto known = driver().addresses.find(reinterpret_cast<std::uint64_t>(p));
  if (pFlags == nullptr || !known || known->kind != MemoryKind::kHostAllocated) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  *pFlags = known->flags | CU_MEMHOSTALLOC_DEVICEMAP;
  return CUDA_SUCCESS;
}
}
