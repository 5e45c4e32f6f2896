// RangeFacts: what a program has said about ranges of managed memory: advice and prefetches.
//
//   CUresult taken = facts.advise({at, bytes}, advice, location, device_count);
//   facts.prefetched({at, bytes}, location);
//   CUresult told = facts.attribute({at, bytes}, which, data, data_bytes);
//
// Advice changes nothing but what cuMemRangeGetAttribute answers, in the shim as in the software
// GPU: pages are where they were touched last, or in the only place there is. One entry for each
// border between ranges. Whether a range is managed memory the caller knows.
// Owner: whoever knows the managed memory.  Threads: any.
// Source: CUDA Driver API 13.0, cuMemAdvise, cuMemPrefetchAsync, cuMemRangeGetAttribute.
#pragma once
#include <cstdint>
#include <map>
#include <optional>

#include "transport/base/guarded.h"
#include "transport/cuda/cuda_abi.h"

namespace farcall::cuda {

// -1 is the host, as in the calls before CUDA 12.
CUmemLocation location_of(CUdevice device);
bool is_host(const CUmemLocation& location);

class RangeFacts {
 public:
  struct Range {
    CUdeviceptr at = 0;
    std::size_t bytes = 0;  // not 0
  };
  // Errors: CUDA_ERROR_INVALID_VALUE, CUDA_ERROR_INVALID_DEVICE for a device not below
  // device_count.
  CUresult advise(const Range& range, CUmem_advise advice, const CUmemLocation& location,
                  int device_count);
  void prefetched(const Range& range, const CUmemLocation& location);
  // Errors: CUDA_ERROR_INVALID_VALUE, also for data of a wrong length.
  CUresult attribute(const Range& range, CUmem_range_attribute which, void* data,
                     std::size_t data_bytes);
  // The range is nobody's any more.
  void forget(const Range& range);

 private:
  struct Location {
    CUmemLocationType type = CU_MEM_LOCATION_TYPE_INVALID;
    int id = 0;
    bool operator==(const Location&) const = default;
  };
  struct Facts {
    bool read_mostly = false;
    Location preferred;
    Location prefetched;
    std::uint64_t accessed_by = 0;  // a bit for each device
    bool by_host = false;
    bool operator==(const Facts&) const = default;
  };
  using Borders = std::map<std::uint64_t, Facts>;  // from here to the next border
  static Borders::iterator split(Borders& borders, std::uint64_t at);
  static int as_device(const std::optional<Location>& location);
  template <class Change>
  void change(const Range& range, Change change);
  // What `read` says of all of the range; nothing when it is not the same everywhere.
  template <class Read>
  auto common(const Range& range, Read read);
  CUresult store_accessors(const Range& range, void* data, std::size_t bytes);

  Guarded<Borders> facts_{Borders{{0, Facts{}}}};
};

}  // namespace farcall::cuda
