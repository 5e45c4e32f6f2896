// CUDA arrays, plain and mipmapped: made, described, freed.
// Source: CUDA Driver API 13.0, Memory Management.
#include "gpu_server/software_gpu/array.h"

#include <algorithm>
#include <bit>

#include "gpu_server/software_gpu/copy.h"
#include "gpu_server/software_gpu/driver.h"
#include "gpu_server/software_gpu/memory_calls.h"

namespace farcall::softgpu {
namespace {

bool is_cube_valid(const CUDA_ARRAY3D_DESCRIPTOR& shape) {
  if ((shape.Flags & CUDA_ARRAY3D_CUBEMAP) == 0) return true;
  const bool layered = (shape.Flags & CUDA_ARRAY3D_LAYERED) != 0;
  return shape.Width == shape.Height && (layered ? shape.Depth % 6 == 0 : shape.Depth == 6) &&
         shape.Depth != 0;
}

// A description of an array of `shape` in `context`, without memory yet.
CUresult describe(const CUDA_ARRAY3D_DESCRIPTOR& shape, Context& context, Array* array) {
  if (shape.Width == 0 || !is_cube_valid(shape)) return CUDA_ERROR_INVALID_VALUE;
  if (shape.NumChannels != 1 && shape.NumChannels != 2 && shape.NumChannels != 4) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  // The largest that any kind of image may have, by CU_DEVICE_ATTRIBUTE_MAXIMUM_TEXTURE….
  constexpr std::size_t kWidthMax = 131072, kHeightMax = 65536, kSlicesMax = 32768;
  if (shape.Width > kWidthMax || shape.Height > kHeightMax || shape.Depth > kSlicesMax) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  constexpr unsigned kKnown = CUDA_ARRAY3D_LAYERED | CUDA_ARRAY3D_SURFACE_LDST |
                              CUDA_ARRAY3D_CUBEMAP | CUDA_ARRAY3D_TEXTURE_GATHER;
  if ((shape.Flags & ~kKnown) != 0) return CUDA_ERROR_NOT_SUPPORTED;
  array->context = &context;
  array->shape = shape;
  array->texel_bytes = channel_bytes(shape.Format) * shape.NumChannels;
  return array->texel_bytes == 0 ? CUDA_ERROR_NOT_SUPPORTED : CUDA_SUCCESS;
}

CUresult create(CUarray* handle, const CUDA_ARRAY3D_DESCRIPTOR& shape) {
  Context* context = nullptr;
  if (CUresult failed = require_context(&context)) return failed;
  if (CUresult no = forbid_unsafe()) return no;
  if (handle == nullptr) return CUDA_ERROR_INVALID_VALUE;
  auto array = std::make_shared<Array>();
  if (CUresult failed = describe(shape, *context, array.get())) return failed;
  CUdeviceptr base = 0;
  if (CUresult failed = allocate(*context, array->total_bytes(), MemoryKind::kArray, 0, &base)) {
    return failed;
  }
  array->base = base;
  *handle = driver().arrays.add<CUarray>(std::move(array));
  return CUDA_SUCCESS;
}

// Level `n` of an image: every dimension halves, layers and faces do not.
CUDA_ARRAY3D_DESCRIPTOR level_shape(const CUDA_ARRAY3D_DESCRIPTOR& whole, unsigned n) {
  const auto halved = [n](std::size_t x) { return x == 0 ? x : std::max<std::size_t>(x >> n, 1); };
  CUDA_ARRAY3D_DESCRIPTOR shape = whole;
  shape.Width = halved(whole.Width);
  shape.Height = halved(whole.Height);
  const bool layers = (whole.Flags & (CUDA_ARRAY3D_LAYERED | CUDA_ARRAY3D_CUBEMAP)) != 0;
  if (!layers) shape.Depth = halved(whole.Depth);
  return shape;
}

unsigned levels_of(const CUDA_ARRAY3D_DESCRIPTOR& shape) {
  const bool layers = (shape.Flags & (CUDA_ARRAY3D_LAYERED | CUDA_ARRAY3D_CUBEMAP)) != 0;
  const std::size_t largest =
      std::max({shape.Width, shape.Height, layers ? std::size_t{0} : shape.Depth});
  return static_cast<unsigned>(std::bit_width(largest));
}

CUresult create_mipmapped(CUmipmappedArray* handle, const CUDA_ARRAY3D_DESCRIPTOR& shape,
                          unsigned wanted_levels) {
  Context* context = nullptr;
  if (CUresult failed = require_context(&context)) return failed;
  if (CUresult no = forbid_unsafe()) return no;
  if (handle == nullptr || wanted_levels == 0) return CUDA_ERROR_INVALID_VALUE;
  auto mipmapped = std::make_shared<MipmappedArray>();
  mipmapped->context = context;
  std::size_t bytes = 0;
  for (unsigned n = 0; n < std::min(wanted_levels, levels_of(shape)); ++n) {
    auto level = std::make_shared<Array>();
    if (CUresult failed = describe(level_shape(shape, n), *context, level.get())) return failed;
    level->is_level = true;
    level->base = bytes;  // from the start of the first
    bytes += (level->total_bytes() + kLevelAlign - 1) / kLevelAlign * kLevelAlign;
    mipmapped->levels.push_back(std::move(level));
  }
  if (mipmapped->levels.empty()) return CUDA_ERROR_INVALID_VALUE;
  CUdeviceptr base = 0;
  if (CUresult failed = allocate(*context, bytes, MemoryKind::kArray, 0, &base)) return failed;
  mipmapped->bytes = bytes;
  for (const auto& level : mipmapped->levels) {
    level->base += base;
    driver().arrays.add<CUarray>(level);
  }
  *handle = driver().mipmapped_arrays.add<CUmipmappedArray>(std::move(mipmapped));
  return CUDA_SUCCESS;
}

}  // namespace
}  // namespace farcall::softgpu

using namespace farcall::softgpu;

extern "C" {

CUresult cuArrayCreate_v2(CUarray* pHandle, const CUDA_ARRAY_DESCRIPTOR* wanted) {
  if (wanted == nullptr) return CUDA_ERROR_INVALID_VALUE;
  CUDA_ARRAY3D_DESCRIPTOR shape{};
  shape.Width = wanted->Width;
  shape.Height = wanted->Height;
  shape.Format = wanted->Format;
  shape.NumChannels = wanted->NumChannels;
  return create(pHandle, shape);
}

CUresult cuArray3DCreate_v2(CUarray* pHandle, const CUDA_ARRAY3D_DESCRIPTOR* wanted) {
  if (wanted == nullptr) return CUDA_ERROR_INVALID_VALUE;
  return create(pHandle, *wanted);
}

CUresult cuArrayGetDescriptor_v2(CUDA_ARRAY_DESCRIPTOR* descriptor, CUarray hArray) {
  Context* context = nullptr;
  if (CUresult failed = require_context(&context)) return failed;
  auto array = driver().arrays.find(hArray);
  if (!array) return CUDA_ERROR_INVALID_HANDLE;
  if (descriptor == nullptr) return CUDA_ERROR_INVALID_VALUE;
  *descriptor = {};
  descriptor->Width = array->shape.Width;
  descriptor->Height = array->shape.Height;
  descriptor->Format = array->shape.Format;
  descriptor->NumChannels = array->shape.NumChannels;
  return CUDA_SUCCESS;
}

CUresult cuArray3DGetDescriptor_v2(CUDA_ARRAY3D_DESCRIPTOR* descriptor, CUarray hArray) {
  Context* context = nullptr;
  if (CUresult failed = require_context(&context)) return failed;
  auto array = driver().arrays.find(hArray);
  if (!array) return CUDA_ERROR_INVALID_HANDLE;
  if (descriptor == nullptr) return CUDA_ERROR_INVALID_VALUE;
  *descriptor = array->shape;
  return CUDA_SUCCESS;
}

CUresult cuArrayDestroy(CUarray hArray) {
  Context* context = nullptr;
  if (CUresult failed = require_context(&context)) return failed;
  auto array = driver().arrays.find(hArray);
  if (!array) return CUDA_ERROR_INVALID_HANDLE;
  if (array->is_level) return CUDA_ERROR_INVALID_VALUE;  // goes with its mipmapped array
  driver().arrays.remove(hArray);
  array->context->synchronize();
  if (auto memory = driver().addresses.remove(array->base)) give_back(*memory);
  return CUDA_SUCCESS;
}

CUresult cuArrayGetMemoryRequirements(CUDA_ARRAY_MEMORY_REQUIREMENTS* requirements, CUarray hArray,
                                      CUdevice dev) {
  Context* context = nullptr;
  if (CUresult failed = require_context(&context)) return failed;
  auto array = driver().arrays.find(hArray);
  if (!array) return CUDA_ERROR_INVALID_HANDLE;
  if (requirements == nullptr) return CUDA_ERROR_INVALID_VALUE;
  if (driver().device(dev) == nullptr) return CUDA_ERROR_INVALID_DEVICE;
  *requirements = {};
  requirements->size = array->total_bytes();
  requirements->alignment = kLevelAlign;
  return CUDA_SUCCESS;
}

CUresult cuMipmappedArrayCreate(CUmipmappedArray* pHandle, const CUDA_ARRAY3D_DESCRIPTOR* wanted,
                                unsigned numMipmapLevels) {
  if (wanted == nullptr) return CUDA_ERROR_INVALID_VALUE;
  return create_mipmapped(pHandle, *wanted, numMipmapLevels);
}

CUresult cuMipmappedArrayGetLevel(CUarray* pLevelArray, CUmipmappedArray hMipmappedArray,
                                  unsigned level) {
  Context* context = nullptr;
  if (CUresult failed = require_context(&context)) return failed;
  auto mipmapped = driver().mipmapped_arrays.find(hMipmappedArray);
  if (!mipmapped) return CUDA_ERROR_INVALID_HANDLE;
  if (pLevelArray == nullptr || level >= mipmapped->levels.size()) return CUDA_ERROR_INVALID_VALUE;
  *pLevelArray = reinterpret_cast<CUarray>(mipmapped->levels[level].get());
  return CUDA_SUCCESS;
}

CUresult cuMipmappedArrayDestroy(CUmipmappedArray hMipmappedArray) {
  Context* context = nullptr;
  if (CUresult failed = require_context(&context)) return failed;
  auto mipmapped = driver().mipmapped_arrays.remove(hMipmappedArray);
  if (!mipmapped) return CUDA_ERROR_INVALID_HANDLE;
  for (const auto& level : mipmapped->levels) driver().arrays.remove(level.get());
  mipmapped->context->synchronize();
  if (auto memory = driver().addresses.remove(mipmapped->levels[0]->base)) give_back(*memory);
  return CUDA_SUCCESS;
}

CUresult cuMipmappedArrayGetMemoryRequirements(CUDA_ARRAY_MEMORY_REQUIREMENTS* requirements,
                                               CUmipmappedArray mipmap, CUdevice dev) {
  Context* context = nullptr;
  if (CUresult failed = require_context(&context)) return failed;
  auto mipmapped = driver().mipmapped_arrays.find(mipmap);
  if (!mipmapped) return CUDA_ERROR_INVALID_HANDLE;
  if (requirements == nullptr) return CUDA_ERROR_INVALID_VALUE;
  if (driver().device(dev) == nullptr) return CUDA_ERROR_INVALID_DEVICE;
  *requirements = {};
  requirements->size = mipmapped->bytes;
  requirements->alignment = kLevelAlign;
  return CUDA_SUCCESS;
}
}
