// What the structures that programs hand to the driver say of whom a call is for (routed.h).
//
//   Hints told = structure_hints(descriptor);     // a copy: where it reads and where it writes
//
// A structure names at most two things that have an owner: the ends of a copy, the array or memory
// of a texture, the device of an allocation. Kernel parameters and their nodes are not here: a
// kernel is moved to where it is wanted, see several.h.
// Threads: any.  Reads what the program points to, as the function that it is for would.
#pragma once
#include <array>
#include <cstdint>

#include "transport/cuda/cuda_abi.h"

namespace farcall::shim {

// What an argument says of whom a call is for.
enum class Clue : std::uint8_t { kNone, kHandle, kKernel, kAddress, kDevice };
struct Hint {
  Clue clue = Clue::kNone;
  std::uint64_t value = 0;
};
inline constexpr std::size_t kHintsEach = 2;
using Hints = std::array<Hint, kHintsEach>;

namespace detail {

inline Hint handle_hint(const void* handle) {
  return {Clue::kHandle, reinterpret_cast<std::uint64_t>(handle)};
}
inline Hint device_hint(CUmemLocation at) {
  return at.type == CU_MEM_LOCATION_TYPE_DEVICE
             ? Hint{Clue::kDevice, static_cast<std::uint64_t>(at.id)}
             : Hint{};
}
// An end of a copy. A unified address is the device's when the session has handed it out.
inline Hint end_hint(CUmemorytype type, CUdeviceptr device, CUarray array) {
  switch (type) {
    case CU_MEMORYTYPE_DEVICE:
    case CU_MEMORYTYPE_UNIFIED: return {Clue::kAddress, device};
    case CU_MEMORYTYPE_ARRAY: return handle_hint(array);
    default: return {};
  }
}
template <class Copy>
Hints copy_hints(const Copy* copy) {
  if (copy == nullptr) return {};
  return {end_hint(copy->dstMemoryType, copy->dstDevice, copy->dstArray),
          end_hint(copy->srcMemoryType, copy->srcDevice, copy->srcArray)};
}

}  // namespace detail

inline Hints structure_hints(const CUDA_MEMCPY2D* copy) { return detail::copy_hints(copy); }
inline Hints structure_hints(const CUDA_MEMCPY3D* copy) { return detail::copy_hints(copy); }
inline Hints structure_hints(const CUDA_MEMSET_NODE_PARAMS* fill) {
  if (fill == nullptr) return {};
  return {Hint{Clue::kAddress, fill->dst}};
}
inline Hints structure_hints(const CUlaunchConfig* launch) {
  if (launch == nullptr) return {};
  return {detail::handle_hint(launch->hStream)};
}
inline Hints structure_hints(const CUDA_RESOURCE_DESC* resource) {
  if (resource == nullptr) return {};
  switch (resource->resType) {
    case CU_RESOURCE_TYPE_ARRAY: return {detail::handle_hint(resource->res.array.hArray)};
    case CU_RESOURCE_TYPE_MIPMAPPED_ARRAY:
      return {detail::handle_hint(resource->res.mipmap.hMipmappedArray)};
    case CU_RESOURCE_TYPE_LINEAR: return {Hint{Clue::kAddress, resource->res.linear.devPtr}};
    case CU_RESOURCE_TYPE_PITCH2D: return {Hint{Clue::kAddress, resource->res.pitch2D.devPtr}};
    default: return {};
  }
}
inline Hints structure_hints(const CUmemAllocationProp* wanted) {
  if (wanted == nullptr) return {};
  return {detail::device_hint(wanted->location)};
}
inline Hints structure_hints(const CUmemPoolProps* wanted) {
  if (wanted == nullptr) return {};
  return {detail::device_hint(wanted->location)};
}
inline Hints structure_hints(const CUmemLocation* at) {
  if (at == nullptr) return {};
  return {detail::device_hint(*at)};
}

}  // namespace farcall::shim
