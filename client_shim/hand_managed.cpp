// Managed memory: advice, prefetches and attachment. Allocation: exports_memory.cpp; batches:
// hand_memcpy_batch.cpp.
//
// A device here reports CU_DEVICE_ATTRIBUTE_CONCURRENT_MANAGED_ACCESS 0, for which CUDA refuses
// advice and prefetches; they are taken all the same, because programs give them unasked.
#include "client_shim/behind.h"
#include "client_shim/entry.h"
#include "transport/api/rows.h"

using farcall::cuda::location_of;
using farcall::shim::Allocation;
using farcall::shim::answer;
using farcall::shim::Client;
using farcall::shim::Memory;
using farcall::shim::Mirrors;

namespace {

using Range = farcall::cuda::RangeFacts::Range;

bool is_managed(Client& client, const Range& range) {
  auto found = client.allocations().find_device(range.at);
  return found && found->memory == Memory::kManaged && range.bytes != 0 &&
         found->holds(range.at, range.bytes);
}

CUresult advise(Client& client, const Range& range, CUmem_advise advice,
                const CUmemLocation& location) {
  if (!is_managed(client, range)) return CUDA_ERROR_INVALID_VALUE;
  const auto devices = static_cast<int>(client.snapshot().devices.size());
  return client.range_facts().advise(range, advice, location, devices);
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
    return client.range_facts().attribute({at, bytes}, which, data, data_bytes);
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
      CUresult bad = client.range_facts().attribute({at, bytes}, which[i], data[i], data_bytes[i]);
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
