// Managed memory: advice, prefetches and attachment. Allocation: exports_memory.cpp.
//
// A device here reports CU_DEVICE_ATTRIBUTE_CONCURRENT_MANAGED_ACCESS 0, for which CUDA refuses
// advice and prefetches; they are taken all the same, because programs give them unasked.
#include <cstring>

#include "client_shim/entry.h"
#include "transport/api/rows.h"

using farcall::shim::Allocation;
using farcall::shim::answer;
using farcall::shim::Client;
using farcall::shim::Memory;
using farcall::shim::Mirrors;
using farcall::shim::RangeFacts;
using farcall::shim::with_client;
using Facts = RangeFacts::Facts;
using Location = RangeFacts::Location;

namespace {

struct Range {
  CUdeviceptr at;
  std::size_t bytes;
};

bool is_managed(Client& client, const Range& range) {
  auto found = client.allocations().find_device(range.at);
  return found && found->memory == Memory::kManaged && range.bytes != 0 &&
         found->holds(range.at, range.bytes);
}

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

CUresult advise(Client& client, const Range& range, CUmem_advise advice,
                const CUmemLocation& location) {
  if (!is_managed(client, range)) return CUDA_ERROR_INVALID_VALUE;
  const bool on_host = is_host(location);
  const bool needs_place = advice != CU_MEM_ADVISE_SET_READ_MOSTLY &&
                           advice != CU_MEM_ADVISE_UNSET_READ_MOSTLY &&
                           advice != CU_MEM_ADVISE_UNSET_PREFERRED_LOCATION;
  if (needs_place && !on_host) {
    if (location.type != CU_MEM_LOCATION_TYPE_DEVICE) return CUDA_ERROR_INVALID_VALUE;
    if (client.snapshot().device(location.id) == nullptr) return CUDA_ERROR_INVALID_DEVICE;
  }
  const Location place{location.type, location.id};
  auto set_access = [&](Facts& facts, bool to) {
    if (on_host) {
      facts.by_host = to;
      return;
    }
    const std::uint64_t bit = std::uint64_t{1} << location.id;
    facts.accessed_by = to ? facts.accessed_by | bit : facts.accessed_by & ~bit;
  };
  bool known = true;
  client.range_facts().change(range.at, range.bytes, [&](Facts& facts) {
    switch (advice) {
      case CU_MEM_ADVISE_SET_READ_MOSTLY: facts.read_mostly = true; break;
      case CU_MEM_ADVISE_UNSET_READ_MOSTLY: facts.read_mostly = false; break;
      case CU_MEM_ADVISE_SET_PREFERRED_LOCATION: facts.preferred = place; break;
      case CU_MEM_ADVISE_UNSET_PREFERRED_LOCATION: facts.preferred = {}; break;
      case CU_MEM_ADVISE_SET_ACCESSED_BY: set_access(facts, true); break;
      case CU_MEM_ADVISE_UNSET_ACCESSED_BY: set_access(facts, false); break;
      default: known = false;
    }
  });
  return known ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

// --- attributes ----------------------------------------------------------------------------------

int as_device(const std::optional<Location>& location) {
  if (!location || location->type == CU_MEM_LOCATION_TYPE_INVALID) return CU_DEVICE_INVALID;
  return location->type == CU_MEM_LOCATION_TYPE_DEVICE ? location->id : CU_DEVICE_CPU;
}

CUresult store(void* data, std::size_t bytes, int value) {
  if (bytes != sizeof value) return CUDA_ERROR_INVALID_VALUE;
  std::memcpy(data, &value, sizeof value);
  return CUDA_SUCCESS;
}

CUresult store_accessors(Client& client, void* data, std::size_t bytes, const Range& range) {
  if (bytes == 0 || bytes % sizeof(int) != 0) return CUDA_ERROR_INVALID_VALUE;
  std::uint64_t devices = 0;
  bool by_host = false;
  auto all = client.range_facts().common(range.at, range.bytes, [](const Facts& facts) {
    return std::pair(facts.accessed_by, facts.by_host);
  });
  if (all) std::tie(devices, by_host) = *all;
  auto* out = static_cast<std::byte*>(data);
  auto put = [&](int value) {
    if (bytes == 0) return;
    std::memcpy(out, &value, sizeof value);
    out += sizeof value;
    bytes -= sizeof value;
  };
  for (int device = 0; device < 64; ++device) {
    if ((devices >> device & 1) != 0) put(device);
  }
  if (by_host) put(CU_DEVICE_CPU);
  while (bytes > 0) put(CU_DEVICE_INVALID);
  return CUDA_SUCCESS;
}

CUresult range_attribute(Client& client, void* data, std::size_t bytes, CUmem_range_attribute which,
                         const Range& range) {
  if (data == nullptr) return CUDA_ERROR_INVALID_VALUE;
  auto of = [&](auto member) {
    return client.range_facts().common(range.at, range.bytes,
                                       [&](const Facts& facts) { return facts.*member; });
  };
  const Location nowhere;
  switch (which) {
    case CU_MEM_RANGE_ATTRIBUTE_READ_MOSTLY:
      return store(data, bytes, of(&Facts::read_mostly).value_or(false) ? 1 : 0);
    case CU_MEM_RANGE_ATTRIBUTE_PREFERRED_LOCATION:
      return store(data, bytes, as_device(of(&Facts::preferred)));
    case CU_MEM_RANGE_ATTRIBUTE_ACCESSED_BY: return store_accessors(client, data, bytes, range);
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

// --- batches -------------------------------------------------------------------------------------

struct Ranges {
  CUdeviceptr* at;
  std::size_t* bytes;
  std::size_t count;
};
struct Locations {
  CUmemLocation* at;
  std::size_t* first;
  std::size_t count;
};

CUresult check(Client& client, const Ranges& ranges, unsigned long long flags, CUstream stream) {
  if (ranges.at == nullptr || ranges.bytes == nullptr || ranges.count == 0 || flags != 0 ||
      stream == nullptr || stream == CU_STREAM_LEGACY) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  for (std::size_t i = 0; i < ranges.count; ++i) {
    if (!is_managed(client, {ranges.at[i], ranges.bytes[i]})) return CUDA_ERROR_INVALID_VALUE;
  }
  return CUDA_SUCCESS;
}

CUresult check(const Ranges& ranges, const Locations& locations) {
  if (locations.at == nullptr || locations.first == nullptr || locations.count == 0 ||
      locations.count > ranges.count || locations.first[0] != 0) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  for (std::size_t i = 1; i < locations.count; ++i) {
    const std::size_t first = locations.first[i];
    if (first <= locations.first[i - 1] || first >= ranges.count) return CUDA_ERROR_INVALID_VALUE;
  }
  return CUDA_SUCCESS;
}

CUresult prefetch_all(const Ranges& ranges, const Locations& locations, CUstream stream) {
  std::size_t place = 0;
  for (std::size_t i = 0; i < ranges.count; ++i) {
    while (place + 1 < locations.count && locations.first[place + 1] <= i) ++place;
    CUresult done =
        cuMemPrefetchAsync_v2(ranges.at[i], ranges.bytes[i], locations.at[place], 0, stream);
    if (done != CUDA_SUCCESS) return done;
  }
  return CUDA_SUCCESS;
}

CUresult prefetch_batch(const Ranges& ranges, const Locations& locations, unsigned long long flags,
                        CUstream stream) {
  return with_client([&](Client& client) {
    CUresult bad = check(client, ranges, flags, stream);
    if (bad == CUDA_SUCCESS) bad = check(ranges, locations);
    return bad != CUDA_SUCCESS ? bad : prefetch_all(ranges, locations, stream);
  });
}

}  // namespace

FARCALL_EXPORT cuMemAdvise_v2(CUdeviceptr at, size_t bytes, CUmem_advise advice,
                              CUmemLocation location) {
  return answer("cuMemAdvise_v2", [&](Client& client) {
    return advise(client, {at, bytes}, advice, location);
  });
}

FARCALL_EXPORT cuMemAdvise(CUdeviceptr at, size_t bytes, CUmem_advise advice, CUdevice device) {
  return answer("cuMemAdvise", [&](Client& client) {
    return advise(client, {at, bytes}, advice, location_of(device));
  });
}

FARCALL_EXPORT cuMemPrefetchAsync(CUdeviceptr at, size_t bytes, CUdevice device, CUstream stream) {
  return cuMemPrefetchAsync_v2(at, bytes, location_of(device), 0, stream);
}

FARCALL_EXPORT cuMemRangeGetAttribute(void* data, size_t data_bytes, CUmem_range_attribute which,
                                      CUdeviceptr at, size_t bytes) {
  return answer("cuMemRangeGetAttribute", [&](Client& client) {
    if (!is_managed(client, {at, bytes})) return CUDA_ERROR_INVALID_VALUE;
    return range_attribute(client, data, data_bytes, which, {at, bytes});
  });
}

FARCALL_EXPORT cuMemRangeGetAttributes(void** data, size_t* data_bytes,
                                       CUmem_range_attribute* which, size_t count, CUdeviceptr at,
                                       size_t bytes) {
  return answer("cuMemRangeGetAttributes", [&](Client& client) {
    if (data == nullptr || data_bytes == nullptr || which == nullptr || count == 0 ||
        !is_managed(client, {at, bytes})) {
      return CUDA_ERROR_INVALID_VALUE;
    }
    for (std::size_t i = 0; i < count; ++i) {
      CUresult bad = range_attribute(client, data[i], data_bytes[i], which[i], {at, bytes});
      if (bad != CUDA_SUCCESS) return bad;
    }
    return CUDA_SUCCESS;
  });
}

FARCALL_EXPORT cuStreamAttachMemAsync(CUstream stream, CUdeviceptr at, size_t bytes,
                                      unsigned int flags) {
  return answer("cuStreamAttachMemAsync", [&](Client& client) {
    auto found = client.allocations().find_device(at);
    if (!found || found->memory != Memory::kManaged || found->address != at ||
        (bytes != 0 && bytes != found->bytes)) {
      return CUDA_ERROR_INVALID_VALUE;
    }
    const bool is_single = flags == CU_MEM_ATTACH_SINGLE;
    if (!is_single && flags != CU_MEM_ATTACH_GLOBAL && flags != CU_MEM_ATTACH_HOST) {
      return CUDA_ERROR_INVALID_VALUE;
    }
    if (is_single && (stream == nullptr || stream == CU_STREAM_LEGACY)) {
      return CUDA_ERROR_INVALID_VALUE;
    }
    using Access = Mirrors::Access;
    const Access access = is_single                     ? Access::kStream
                          : flags == CU_MEM_ATTACH_HOST ? Access::kHost
                                                        : Access::kAll;
    return client.mirrors().attach(at, access, stream);
  });
}

FARCALL_EXPORT cuMemPrefetchBatchAsync(CUdeviceptr* at, size_t* bytes, size_t count,
                                       CUmemLocation* locations, size_t* first,
                                       size_t location_count, unsigned long long flags,
                                       CUstream stream) {
  return prefetch_batch({at, bytes, count}, {locations, first, location_count}, flags, stream);
}

// What is discarded may keep its bytes: CUDA only says that a program cannot count on them.
FARCALL_EXPORT cuMemDiscardBatchAsync(CUdeviceptr* at, size_t* bytes, size_t count,
                                      unsigned long long flags, CUstream stream) {
  return answer("cuMemDiscardBatchAsync", [&](Client& client) {
    return check(client, {at, bytes, count}, flags, stream);
  });
}

FARCALL_EXPORT cuMemDiscardAndPrefetchBatchAsync(CUdeviceptr* at, size_t* bytes, size_t count,
                                                 CUmemLocation* locations, size_t* first,
                                                 size_t location_count, unsigned long long flags,
                                                 CUstream stream) {
  return prefetch_batch({at, bytes, count}, {locations, first, location_count}, flags, stream);
}
