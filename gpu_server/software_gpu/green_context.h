// Green contexts: parts of a device, and the context each gives.
//
//   auto green = std::make_shared<GreenContext>(device, sm);
//   Context& view = *green->view;                // streams of its own, memory of the primary's
//
// Kernels run on whatever host threads are free, as CUDA allows: a green context promises at least
// its multiprocessors, not at most. A resource is told from made-up bytes by what its padding says.
// Owner: handle tables.  Threads: any; constant after construction.
// Source: CUDA Driver API 13.0, Green Contexts.
#pragma once
#include <memory>
#include <vector>

#include "gpu_server/software_gpu/context.h"

namespace farcall::softgpu {

class Device;

// What cuDevResourceGenerateDesc makes.
struct ResourceDescription {
  int ordinal = 0;
  CUdevResource sm{};  // all of them together
};

struct GreenContext {
  GreenContext(Device& of, const CUdevResource& processors);
  ~GreenContext();
  GreenContext(const GreenContext&) = delete;
  GreenContext& operator=(const GreenContext&) = delete;

  Device& device;
  const CUdevResource sm;
  const std::shared_ptr<Context> view;
};

// All multiprocessors of a device.
CUdevResource whole_device(const Device& device);
// Parts of `input` with at least `least` multiprocessors each.
//   groups  as many as are wanted; how many there are after it
//   result  room for them; null: only count
// Errors: CUDA_ERROR_INVALID_VALUE (flags, least), _INVALID_RESOURCE_TYPE,
// _INVALID_RESOURCE_CONFIGURATION (already split, not of a device here).
struct Split {
  CUdevResource* result;
  unsigned* groups;
  const CUdevResource* input;
  CUdevResource* remaining;  // may be null
  unsigned flags;
  unsigned least;
};
CUresult split(const Split& how);
// Errors: CUDA_ERROR_INVALID_VALUE (none), _INVALID_RESOURCE_TYPE, _INVALID_RESOURCE_CONFIGURATION
// (of several devices or splits).
CUresult describe(const std::vector<CUdevResource>& parts, ResourceDescription* description);

}  // namespace farcall::softgpu
