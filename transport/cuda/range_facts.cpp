#include "transport/cuda/range_facts.h"

#include <cstring>
#include <tuple>
#include <utility>

namespace farcall::cuda {
namespace {

constexpr int kDevicesMax = 64;  // bits of Facts::accessed_by

// "The start address and end address of the memory range will be rounded down and rounded up
// respectively to be aligned to CPU page size" (cuda.h, cuMemAdvise, cuMemPrefetchAsync). It also
// bounds how many borders a program can make. No two allocations share a page.
RangeFacts::Range whole_pages(const RangeFacts::Range& range) {
  constexpr std::uint64_t kPageBytes = 4096;
  const std::uint64_t first = range.at & ~(kPageBytes - 1);
  const std::uint64_t end = (range.at + range.bytes + kPageBytes - 1) & ~(kPageBytes - 1);
  return {first, end - first};
}

CUresult store(void* data, std::size_t bytes, int value) {
  if (bytes != sizeof value) return CUDA_ERROR_INVALID_VALUE;
  std::memcpy(data, &value, sizeof value);
  return CUDA_SUCCESS;
}

}  // namespace

CUmemLocation location_of(CUdevice device) {
  CUmemLocation location{};
  location.type = device == CU_DEVICE_CPU ? CU_MEM_LOCATION_TYPE_HOST : CU_MEM_LOCATION_TYPE_DEVICE;
  location.id = device == CU_DEVICE_CPU ? 0 : device;
  return location;
}

bool is_host(const CUmemLocation& location) {
  return location.type == CU_MEM_LOCATION_TYPE_HOST ||
         location.type == CU_MEM_LOCATION_TYPE_HOST_NUMA ||
         location.type == CU_MEM_LOCATION_TYPE_HOST_NUMA_CURRENT;
}

RangeFacts::Borders::iterator RangeFacts::split(Borders& borders, std::uint64_t at) {
  auto around = std::prev(borders.upper_bound(at));
  return around->first == at ? around : borders.emplace(at, around->second).first;
}

template <class Change>
void RangeFacts::change(const Range& said, Change change) {
  const Range range = whole_pages(said);
  auto facts = facts_.lock();
  auto end = split(*facts, range.at + range.bytes);
  for (auto each = split(*facts, range.at); each != end; ++each) change(each->second);
}

template <class Read>
auto RangeFacts::common(const Range& range, Read read) {
  auto facts = facts_.lock();
  auto each = std::prev(facts->upper_bound(range.at));
  std::optional<decltype(read(each->second))> found = read(each->second);
  for (++each; each != facts->end() && each->first < range.at + range.bytes; ++each) {
    if (!(read(each->second) == *found)) found.reset();
    if (!found) break;
  }
  return found;
}

void RangeFacts::forget(const Range& ended) {
  const Range range = whole_pages(ended);
  auto facts = facts_.lock();
  auto end = split(*facts, range.at + range.bytes);
  auto first = split(*facts, range.at);
  first->second = {};
  facts->erase(std::next(first), end);
}

CUresult RangeFacts::advise(const Range& range, CUmem_advise advice, const CUmemLocation& location,
                            int device_count) {
  const bool on_host = is_host(location);
  const bool needs_place = advice != CU_MEM_ADVISE_SET_READ_MOSTLY &&
                           advice != CU_MEM_ADVISE_UNSET_READ_MOSTLY &&
                           advice != CU_MEM_ADVISE_UNSET_PREFERRED_LOCATION;
  if (needs_place && !on_host) {
    if (location.type != CU_MEM_LOCATION_TYPE_DEVICE) return CUDA_ERROR_INVALID_VALUE;
    const bool is_device =
        location.id >= 0 && location.id < device_count && location.id < kDevicesMax;
    if (!is_device) return CUDA_ERROR_INVALID_DEVICE;
  }
  auto set_access = [&](Facts& facts, bool to) {
    if (on_host) {
      facts.by_host = to;
      return;
    }
    const std::uint64_t bit = std::uint64_t{1} << location.id;
    facts.accessed_by = to ? facts.accessed_by | bit : facts.accessed_by & ~bit;
  };
  bool known = true;
  change(range, [&](Facts& facts) {
    switch (advice) {
      case CU_MEM_ADVISE_SET_READ_MOSTLY: facts.read_mostly = true; break;
      case CU_MEM_ADVISE_UNSET_READ_MOSTLY: facts.read_mostly = false; break;
      case CU_MEM_ADVISE_SET_PREFERRED_LOCATION:
        facts.preferred = {location.type, location.id};
        break;
      case CU_MEM_ADVISE_UNSET_PREFERRED_LOCATION: facts.preferred = {}; break;
      case CU_MEM_ADVISE_SET_ACCESSED_BY: set_access(facts, true); break;
      case CU_MEM_ADVISE_UNSET_ACCESSED_BY: set_access(facts, false); break;
      default: known = false;
    }
  });
  return known ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

void RangeFacts::prefetched(const Range& range, const CUmemLocation& location) {
  change(range, [&](Facts& facts) { facts.prefetched = {location.type, location.id}; });
}

// --- attributes ----------------------------------------------------------------------------------

int RangeFacts::as_device(const std::optional<Location>& location) {
  if (!location || location->type == CU_MEM_LOCATION_TYPE_INVALID) return CU_DEVICE_INVALID;
  return location->type == CU_MEM_LOCATION_TYPE_DEVICE ? location->id : CU_DEVICE_CPU;
}

CUresult RangeFacts::store_accessors(const Range& range, void* data, std::size_t bytes) {
  if (bytes == 0 || bytes % sizeof(int) != 0) return CUDA_ERROR_INVALID_VALUE;
  std::uint64_t devices = 0;
  bool by_host = false;
  auto all =
      common(range, [](const Facts& facts) { return std::pair(facts.accessed_by, facts.by_host); });
  if (all) std::tie(devices, by_host) = *all;
  auto* out = static_cast<std::byte*>(data);
  auto put = [&](int value) {
    if (bytes == 0) return;
    std::memcpy(out, &value, sizeof value);
    out += sizeof value;
    bytes -= sizeof value;
  };
  for (int device = 0; device < kDevicesMax; ++device) {
    if ((devices >> device & 1) != 0) put(device);
  }
  if (by_host) put(CU_DEVICE_CPU);
  while (bytes > 0) put(CU_DEVICE_INVALID);
  return CUDA_SUCCESS;
}

CUresult RangeFacts::attribute(const Range& range, CUmem_range_attribute which, void* data,
                               std::size_t bytes) {
  if (data == nullptr) return CUDA_ERROR_INVALID_VALUE;
  auto of = [&](auto member) {
    return common(range, [&](const Facts& facts) { return facts.*member; });
  };
  const Location nowhere;
  switch (which) {
    case CU_MEM_RANGE_ATTRIBUTE_READ_MOSTLY:
      return store(data, bytes, of(&Facts::read_mostly).value_or(false) ? 1 : 0);
    case CU_MEM_RANGE_ATTRIBUTE_PREFERRED_LOCATION:
      return store(data, bytes, as_device(of(&Facts::preferred)));
    case CU_MEM_RANGE_ATTRIBUTE_ACCESSED_BY: return store_accessors(range, data, bytes);
    case CU_MEM_RANGE_ATTRIBUTE_LAST_PREFETCH_LOCATION:
      return store(data, bytes, as_device(of(&Facts::prefetched)));
    case CU_MEM_RANGE_ATTRIBUTE_PREFERRED_LOCATION_TYPE:
      return store(data, bytes, of(&Facts::preferred).value_or(nowhere).type);
    case CU_MEM_RANGE_ATTRIBUTE_PREFERRED_LOCATION_ID:
      return store(data, bytes, of(&Facts::preferred).value_or(nowhere).id);
    case CU_MEM_RANGE_ATTRIBUTE_LAST_PREFETCH_LOCATION_TYPE:
      return store(data, bytes, of(&Facts::prefetched).value_or(nowhere).type);
    case CU_MEM_RANGE_ATTRIBUTE_LAST_PREFETCH_LOCATION_ID:
      return store(data, bytes, of(&Facts::prefetched).value_or(nowhere).id);
    default: return CUDA_ERROR_INVALID_VALUE;
  }
}

}  // namespace farcall::cuda
