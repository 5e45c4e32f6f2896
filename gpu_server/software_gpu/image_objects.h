// ImageObjects: the texture and surface objects of a process: what each was made of, for the calls
// that ask, and for kernels its view in the device's Images (exec/image.h).
//
//   CUresult failed = driver().image_objects.add(std::move(object), &number);
//   driver().image_objects.remove(number, /*is_surface=*/false);
//
// CUDA's objects are numbers, not pointers; ours count from 1 and are never given out twice, so
// that a stale one is recognised. Owner: the driver state.  Threads: any.
#pragma once
#include <cstdint>
#include <map>
#include <optional>

#include "gpu_server/software_gpu/array.h"
#include "transport/base/guarded.h"
#include "transport/cuda/cuda_abi.h"

namespace farcall::softgpu {

class Context;

struct ImageObject {
  Context* context = nullptr;
  CUDA_RESOURCE_DESC resource{};
  CUDA_TEXTURE_DESC texture{};
  std::optional<CUDA_RESOURCE_VIEW_DESC> view;
  bool is_surface = false;
};

class ImageObjects {
 public:
  // Errors: CUDA_ERROR_INVALID_VALUE for what does not fit together, CUDA_ERROR_INVALID_HANDLE for
  // an array that is none, CUDA_ERROR_NOT_SUPPORTED for block-compressed views.
  CUresult add(const ImageObject& object, std::uint64_t* number);
  std::optional<ImageObject> find(std::uint64_t number, bool is_surface) const;
  bool remove(std::uint64_t number, bool is_surface);
  void remove_all_of(const Context& context);

 private:
  struct Book {
    std::map<std::uint64_t, ImageObject> by_number;
    std::uint64_t last = 0;
  };
  mutable Guarded<Book> book_;
};

// Bytes of one channel; 0 for formats that are not plain channels.
std::size_t channel_bytes(CUarray_format format);

}  // namespace farcall::softgpu
