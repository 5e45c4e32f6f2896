#include "gpu_server/software_gpu/memory_calls.h"

#include <sys/mman.h>

#include "gpu_server/software_gpu/checks.h"
#include "gpu_server/software_gpu/driver.h"
#include "gpu_server/software_gpu/exec/wiped_pages.h"
#include "gpu_server/software_gpu/managed_facts.h"
#include "transport/base/log.h"

namespace farcall::softgpu {
namespace {

constexpr std::size_t kPageBytes = 4096;

// Every device may touch host memory. On failure nothing stays mapped.
Status map_everywhere(std::uint64_t base, std::size_t bytes) {
  for (int i = 0; i < driver().device_count(); ++i) {
    Status mapped = driver().device(i)->memory().map_host(reinterpret_cast<void*>(base), bytes);
    if (mapped.ok()) continue;
    while (i-- > 0) driver().device(i)->memory().unmap_host(reinterpret_cast<void*>(base));
    return mapped;
  }
  return ok();
}

// Whether the program has memory at all of these addresses. With MS_ASYNC the kernel only looks.
bool is_there(std::uint64_t base, std::uint64_t bytes) {
  const std::uint64_t first = base / kPageBytes * kPageBytes;
  return base + bytes > base &&
         ::msync(reinterpret_cast<void*>(first), base + bytes - first, MS_ASYNC) == 0;
}

void unmap_everywhere(std::uint64_t base) {
  for (int i = 0; i < driver().device_count(); ++i) {
    driver().device(i)->memory().unmap_host(reinterpret_cast<void*>(base));
  }
}

}  // namespace

cuda::RangeFacts& managed_facts() {
  static auto* const facts = new cuda::RangeFacts;
  return *facts;
}

CUresult allocate(Context& context, std::size_t bytes, MemoryKind kind, unsigned flags,
                  CUdeviceptr* address, std::shared_ptr<const Pool> pool) {
  if (bytes == 0 || address == nullptr) return CUDA_ERROR_INVALID_VALUE;
  auto made = context.device().memory().allocate(bytes);
  if (!made.ok()) {
    FARCALL_LOG_DEBUG("allocation of %zu bytes: %s", bytes, made.status().to_string().c_str());
    return CUDA_ERROR_OUT_OF_MEMORY;
  }
  Allocation allocation;
  allocation.base = made.value();
  allocation.bytes = bytes;
  allocation.kind = kind;
  allocation.flags = flags;
  allocation.context = &context;
  allocation.pool = std::move(pool);
  driver().addresses.add(allocation);
  note_given(allocation);
  *address = made.value();
  return CUDA_SUCCESS;
}

CUresult allocate_host(Context& context, std::size_t bytes, unsigned flags, void** pointer) {
  if (bytes == 0 || pointer == nullptr) return CUDA_ERROR_INVALID_VALUE;
  if (bytes > SIZE_MAX - kPageBytes) return CUDA_ERROR_OUT_OF_MEMORY;
  const std::size_t mapped = (bytes + kPageBytes - 1) / kPageBytes * kPageBytes;
  void* pages = ::mmap(nullptr, mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (pages == MAP_FAILED) return CUDA_ERROR_OUT_OF_MEMORY;
  Allocation allocation;
  allocation.base = reinterpret_cast<std::uint64_t>(pages);
  allocation.bytes = bytes;
  allocation.kind = MemoryKind::kHostAllocated;
  allocation.flags = flags;
  allocation.context = &context;
  allocation.mapped_bytes = mapped;
  if (!map_everywhere(allocation.base, bytes).ok()) {
    ::munmap(pages, mapped);
    return CUDA_ERROR_OUT_OF_MEMORY;
  }
  driver().addresses.add(allocation);
  *pointer = pages;
  return CUDA_SUCCESS;
}

CUresult register_host(Context& context, void* pointer, std::size_t bytes, unsigned flags) {
  const auto base = reinterpret_cast<std::uint64_t>(pointer);
  if (pointer == nullptr || bytes == 0 || !is_there(base, bytes)) return CUDA_ERROR_INVALID_VALUE;
  Allocation allocation;
  allocation.base = base;
  allocation.bytes = bytes;
  allocation.kind = MemoryKind::kHostRegistered;
  allocation.flags = flags;
  allocation.context = &context;
  if (!map_everywhere(allocation.base, bytes).ok()) {
    return CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED;
  }
  driver().addresses.add(allocation);
  return CUDA_SUCCESS;
}

void give_back(const Allocation& allocation) {
  switch (allocation.kind) {
    case MemoryKind::kHostAllocated:
      unmap_everywhere(allocation.base);
      if (wipes_freed()) wipe_present(allocation.base, allocation.mapped_bytes);
      ::munmap(reinterpret_cast<void*>(allocation.base), allocation.mapped_bytes);
      break;
    case MemoryKind::kHostRegistered: unmap_everywhere(allocation.base); break;
    default:
      note_taken_back(allocation);
      if (allocation.kind == MemoryKind::kManaged) {
        managed_facts().forget({allocation.base, allocation.bytes});
      }
      // Its only failure is an address that is not ours, and the book says it is.
      (void)allocation.context->device().memory().release(allocation.base).ok();
  }
}

bool is_device_range(std::uint64_t address, std::size_t bytes) {
  for (int i = 0; i < driver().device_count(); ++i) {
    if (driver().device(i)->memory().contains(address, bytes)) return true;
  }
  return false;
}

}  // namespace farcall::softgpu
