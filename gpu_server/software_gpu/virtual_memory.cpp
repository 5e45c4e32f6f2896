#include "gpu_server/software_gpu/virtual_memory.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>

#include "gpu_server/software_gpu/driver.h"
#include "gpu_server/software_gpu/exec/wiped_pages.h"

namespace farcall::softgpu {
namespace {

constexpr std::size_t kStep = VirtualMemory::kGranularity;

bool is_whole(std::uint64_t number) { return number != 0 && number % kStep == 0; }

void* at(std::uint64_t address) { return reinterpret_cast<void*>(address); }

// Nothing there again, and still reserved.
void close_range(std::uint64_t address, std::size_t bytes) {
  ::mmap(at(address), bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1,
         0);
}

}  // namespace

CUresult VirtualMemory::reserve(std::size_t bytes, std::size_t align, CUdeviceptr wish,
                                CUdeviceptr* address) {
  if (!is_whole(bytes) || (align & (align - 1)) != 0) return CUDA_ERROR_INVALID_VALUE;
  align = std::max(align, kStep);
  std::size_t room = 0;
  if (__builtin_add_overflow(bytes, align, &room)) return CUDA_ERROR_OUT_OF_MEMORY;
  if (wish != 0 && wish % align == 0) {
    void* there = ::mmap(at(wish), bytes, PROT_NONE,
                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1, 0);
    if (there == at(wish)) {
      state_.lock()->ranges[wish] = bytes;
      *address = wish;
      return CUDA_SUCCESS;
    }
    if (there != MAP_FAILED) ::munmap(there, bytes);  // a kernel before 4.17
  }
  // More than is asked for, to find an aligned part in it.
  void* got = ::mmap(at(wish), room, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (got == MAP_FAILED) return CUDA_ERROR_OUT_OF_MEMORY;
  const auto start = reinterpret_cast<std::uint64_t>(got);
  const std::uint64_t first = (start + align - 1) / align * align;
  if (first != start) ::munmap(got, first - start);
  const std::uint64_t left = start + room - (first + bytes);
  if (left != 0) ::munmap(at(first + bytes), left);
  state_.lock()->ranges[first] = bytes;
  *address = first;
  return CUDA_SUCCESS;
}

CUresult VirtualMemory::release_range(CUdeviceptr address, std::size_t bytes) {
  auto state = state_.lock();
  auto range = state->ranges.find(address);
  if (range == state->ranges.end() || range->second != bytes) return CUDA_ERROR_INVALID_VALUE;
  auto mapped = state->mappings.lower_bound(address);
  if (mapped != state->mappings.end() && mapped->first < address + bytes) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  state->ranges.erase(range);
  ::munmap(at(address), bytes);
  return CUDA_SUCCESS;
}

CUresult VirtualMemory::create(int device, std::size_t bytes,
                               CUmemGenericAllocationHandle* handle) {
  if (!is_whole(bytes)) return CUDA_ERROR_INVALID_VALUE;
  softgpu::Memory& whole = driver().device(device)->memory();
  if (!whole.claim(bytes)) return CUDA_ERROR_OUT_OF_MEMORY;
  Memory made;
  made.file.reset(::memfd_create("device memory", MFD_CLOEXEC));
  if (!made.file || ::ftruncate(made.file.get(), static_cast<off_t>(bytes)) != 0) {
    whole.unclaim(bytes);
    return CUDA_ERROR_OUT_OF_MEMORY;
  }
  made.bytes = bytes;
  made.device = device;
  made.holders = 1;
  auto state = state_.lock();
  *handle = ++state->last;
  state->memory[*handle] = std::move(made);
  return CUDA_SUCCESS;
}

void VirtualMemory::forget_if_unused(State& state, CUmemGenericAllocationHandle handle) {
  auto found = state.memory.find(handle);
  if (found->second.holders != 0 || found->second.mappings != 0) return;
  if (wipes_freed()) wipe_file(found->second.file.get(), found->second.bytes);
  driver().device(found->second.device)->memory().unclaim(found->second.bytes);
  state.memory.erase(found);
}

CUresult VirtualMemory::release(CUmemGenericAllocationHandle handle) {
  auto state = state_.lock();
  auto found = state->memory.find(handle);
  if (found == state->memory.end() || found->second.holders == 0) return CUDA_ERROR_INVALID_VALUE;
  --found->second.holders;
  forget_if_unused(*state, handle);
  return CUDA_SUCCESS;
}

CUresult VirtualMemory::retain(CUdeviceptr address, CUmemGenericAllocationHandle* handle) {
  auto state = state_.lock();
  auto after = state->mappings.upper_bound(address);
  if (after == state->mappings.begin()) return CUDA_ERROR_INVALID_VALUE;
  const auto& [base, mapping] = *std::prev(after);
  if (address - base >= mapping.bytes) return CUDA_ERROR_INVALID_VALUE;
  ++state->memory.at(mapping.handle).holders;
  *handle = mapping.handle;
  return CUDA_SUCCESS;
}

CUresult VirtualMemory::properties(CUmemGenericAllocationHandle handle,
                                   CUmemAllocationProp* properties) {
  auto state = state_.lock();
  auto found = state->memory.find(handle);
  if (found == state->memory.end()) return CUDA_ERROR_INVALID_VALUE;
  *properties = {};
  properties->type = CU_MEM_ALLOCATION_TYPE_PINNED;
  properties->location.type = CU_MEM_LOCATION_TYPE_DEVICE;
  properties->location.id = found->second.device;
  return CUDA_SUCCESS;
}

bool VirtualMemory::is_reserved(const State& state, CUdeviceptr address, std::size_t bytes) {
  auto after = state.ranges.upper_bound(address);
  if (after == state.ranges.begin()) return false;
  const auto& [base, room] = *std::prev(after);
  return address - base < room && bytes <= room - (address - base);
}

CUresult VirtualMemory::map(CUdeviceptr address, std::size_t bytes,
                            CUmemGenericAllocationHandle handle) {
  if (!is_whole(address) || !is_whole(bytes)) return CUDA_ERROR_INVALID_VALUE;
  auto state = state_.lock();
  auto found = state->memory.find(handle);
  if (found == state->memory.end() || bytes > found->second.bytes ||
      !is_reserved(*state, address, bytes)) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  auto next = state->mappings.lower_bound(address);
  const bool over_next = next != state->mappings.end() && next->first < address + bytes;
  const bool over_last = next != state->mappings.begin() &&
                         std::prev(next)->first + std::prev(next)->second.bytes > address;
  if (over_next || over_last) return CUDA_ERROR_INVALID_VALUE;
  void* here =
      ::mmap(at(address), bytes, PROT_NONE, MAP_SHARED | MAP_FIXED, found->second.file.get(), 0);
  if (here == MAP_FAILED) return CUDA_ERROR_OUT_OF_MEMORY;
  ++found->second.mappings;
  state->mappings[address] = {bytes, handle, {}};
  return CUDA_SUCCESS;
}

bool VirtualMemory::span(State& state, CUdeviceptr address, std::size_t bytes,
                         Mappings::iterator* first, Mappings::iterator* end) {
  *first = *end = state.mappings.find(address);
  std::uint64_t reached = address;
  while (*end != state.mappings.end() && (*end)->first == reached && reached < address + bytes) {
    reached += (*end)->second.bytes;
    ++*end;
  }
  return bytes != 0 && reached == address + bytes;
}

CUresult VirtualMemory::unmap(CUdeviceptr address, std::size_t bytes) {
  auto state = state_.lock();
  Mappings::iterator first, end;
  if (!span(*state, address, bytes, &first, &end)) return CUDA_ERROR_INVALID_VALUE;
  for (auto each = first; each != end; each = state->mappings.erase(each)) {
    for (const auto& [device, access] : each->second.access) {
      driver().device(device)->memory().unmap_host(at(each->first));
    }
    close_range(each->first, each->second.bytes);
    --state->memory.at(each->second.handle).mappings;
    forget_if_unused(*state, each->second.handle);
  }
  return CUDA_SUCCESS;
}

CUresult VirtualMemory::allow(CUdeviceptr address, std::size_t bytes, int device,
                              CUmemAccess_flags access) {
  auto state = state_.lock();
  Mappings::iterator first, end;
  if (!span(*state, address, bytes, &first, &end)) return CUDA_ERROR_INVALID_VALUE;
  softgpu::Memory& memory = driver().device(device)->memory();
  for (auto each = first; each != end; ++each) {
    Mapping& mapping = each->second;
    const bool had = mapping.access.contains(device);
    if (access == CU_MEM_ACCESS_FLAGS_PROT_NONE) {
      if (had) memory.unmap_host(at(each->first));
      mapping.access.erase(device);
      continue;
    }
    if (!had && !memory.map_for_this_device(at(each->first), mapping.bytes).ok()) {
      return CUDA_ERROR_INVALID_VALUE;
    }
    // Kernels are trusted with what they may only read: the engine knows one kind of access.
    mapping.access[device] = access;
    ::mprotect(at(each->first), mapping.bytes, PROT_READ | PROT_WRITE);
  }
  return CUDA_SUCCESS;
}

CUresult VirtualMemory::access_of(CUdeviceptr address, int device, unsigned long long* access) {
  auto state = state_.lock();
  auto after = state->mappings.upper_bound(address);
  if (after == state->mappings.begin()) return CUDA_ERROR_INVALID_VALUE;
  const auto& [base, mapping] = *std::prev(after);
  if (address - base >= mapping.bytes) return CUDA_ERROR_INVALID_VALUE;
  auto found = mapping.access.find(device);
  *access = found == mapping.access.end() ? CU_MEM_ACCESS_FLAGS_PROT_NONE : found->second;
  return CUDA_SUCCESS;
}

std::optional<int> VirtualMemory::device_of(CUdeviceptr address) {
  auto state = state_.lock();
  auto after = state->mappings.upper_bound(address);
  if (after == state->mappings.begin()) return std::nullopt;
  const auto& [base, mapping] = *std::prev(after);
  if (address - base >= mapping.bytes || mapping.access.empty()) return std::nullopt;
  return state->memory.at(mapping.handle).device;
}

}  // namespace farcall::softgpu
