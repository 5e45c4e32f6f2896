#include "gpu_server/software_gpu/image_objects.h"

#include <algorithm>

#include "gpu_server/software_gpu/driver.h"
#include "gpu_server/software_gpu/memory_calls.h"

namespace farcall::softgpu {
namespace {

// What CU_DEVICE_ATTRIBUTE_… promises of these.
constexpr std::uint64_t kAddressAlign = 512;
constexpr std::size_t kPitchAlign = 32;
constexpr std::size_t kLinearTexelsMax = std::size_t{1} << 28;
constexpr std::size_t kPitchedWidthMax = 131072, kPitchedHeightMax = 65000;
constexpr std::size_t kPitchMax = 2097120;

std::optional<Channel> channel_of(CUarray_format format) {
  switch (format) {
    case CU_AD_FORMAT_UNSIGNED_INT8: return Channel::kU8;
    case CU_AD_FORMAT_SIGNED_INT8: return Channel::kS8;
    case CU_AD_FORMAT_UNSIGNED_INT16: return Channel::kU16;
    case CU_AD_FORMAT_SIGNED_INT16: return Channel::kS16;
    case CU_AD_FORMAT_UNSIGNED_INT32: return Channel::kU32;
    case CU_AD_FORMAT_SIGNED_INT32: return Channel::kS32;
    case CU_AD_FORMAT_HALF: return Channel::kF16;
    case CU_AD_FORMAT_FLOAT: return Channel::kF32;
    default: return std::nullopt;
  }
}

CUresult set_format(CUarray_format format, unsigned channels, Image* image) {
  const std::optional<Channel> channel = channel_of(format);
  if (!channel || (channels != 1 && channels != 2 && channels != 4)) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  image->channel = *channel;
  image->channels = channels;
  return CUDA_SUCCESS;
}

ImageLevel level_of(const Array& array) {
  ImageLevel level;
  level.base = array.base;
  level.width = static_cast<std::uint32_t>(array.shape.Width);
  level.height = static_cast<std::uint32_t>(array.rows());
  level.slices = static_cast<std::uint32_t>(array.slices());
  level.row_bytes = array.row_bytes();
  level.slice_bytes = array.row_bytes() * array.rows();
  return level;
}

CUresult image_of(const Array& array, Image* image) {
  image->levels.push_back(level_of(array));
  return set_format(array.shape.Format, array.shape.NumChannels, image);
}

// From `address` to the end of the memory around it; 0 where there is none.
std::size_t bytes_from(CUdeviceptr address) {
  for (int i = 0; i < driver().device_count(); ++i) {
    const auto range = driver().device(i)->memory().find(address);
    if (range) return range->base + range->bytes - address;
  }
  return 0;
}

CUresult image_of_linear(const CUDA_RESOURCE_DESC& resource, Image* image) {
  const auto& linear = resource.res.linear;
  if (CUresult failed = set_format(linear.format, linear.numChannels, image)) return failed;
  const std::size_t texels = linear.sizeInBytes / image->texel_bytes();
  if (texels == 0 || texels > kLinearTexelsMax || linear.devPtr % kAddressAlign != 0) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  // It may promise more than its memory holds, as NVIDIA's sample convolutionFFT2D does: behind it
  // there is zero.
  const std::size_t there = bytes_from(linear.devPtr) / image->texel_bytes();
  if (there == 0) return CUDA_ERROR_INVALID_VALUE;
  image->is_linear = true;
  ImageLevel level;
  level.base = linear.devPtr;
  level.width = static_cast<std::uint32_t>(std::min(texels, there));
  image->levels.push_back(level);
  return CUDA_SUCCESS;
}

CUresult image_of_pitched(const CUDA_RESOURCE_DESC& resource, Image* image) {
  const auto& rows = resource.res.pitch2D;
  if (CUresult failed = set_format(rows.format, rows.numChannels, image)) return failed;
  const bool fits = rows.width != 0 && rows.width <= kPitchedWidthMax && rows.height != 0 &&
                    rows.height <= kPitchedHeightMax &&
                    rows.width * image->texel_bytes() <= rows.pitchInBytes;
  if (!fits || rows.devPtr % kAddressAlign != 0 || rows.pitchInBytes % kPitchAlign != 0 ||
      rows.pitchInBytes > kPitchMax) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  ImageLevel level;
  level.base = rows.devPtr;
  level.width = static_cast<std::uint32_t>(rows.width);
  level.height = static_cast<std::uint32_t>(rows.height);
  level.row_bytes = rows.pitchInBytes;
  if (!is_device_range(level.base, image->bytes(level))) return CUDA_ERROR_INVALID_VALUE;
  image->levels.push_back(level);
  return CUDA_SUCCESS;
}

CUresult image_of(const CUDA_RESOURCE_DESC& resource, Image* image, unsigned* flags) {
  if (resource.flags != 0) return CUDA_ERROR_INVALID_VALUE;
  switch (resource.resType) {
    case CU_RESOURCE_TYPE_ARRAY: {
      const auto array = driver().arrays.find(resource.res.array.hArray);
      if (!array) return CUDA_ERROR_INVALID_HANDLE;
      *flags = array->shape.Flags;
      // Programs write to levels of images that they never said they would write to.
      if (array->is_level) *flags |= CUDA_ARRAY3D_SURFACE_LDST;
      return image_of(*array, image);
    }
    case CU_RESOURCE_TYPE_MIPMAPPED_ARRAY: {
      const auto mipmapped = driver().mipmapped_arrays.find(resource.res.mipmap.hMipmappedArray);
      if (!mipmapped) return CUDA_ERROR_INVALID_HANDLE;
      *flags = mipmapped->levels[0]->shape.Flags;
      for (const auto& level : mipmapped->levels) {
        if (CUresult failed = image_of(*level, image)) return failed;
      }
      return CUDA_SUCCESS;
    }
    case CU_RESOURCE_TYPE_LINEAR: return image_of_linear(resource, image);
    case CU_RESOURCE_TYPE_PITCH2D: return image_of_pitched(resource, image);
    default: return CUDA_ERROR_INVALID_VALUE;
  }
}

// The eight plain formats come as 1, 2 and 4 channels each, in this order.
CUresult set_view_format(CUresourceViewFormat format, Image* image) {
  constexpr CUarray_format kFormats[] = {CU_AD_FORMAT_UNSIGNED_INT8,  CU_AD_FORMAT_SIGNED_INT8,
                                         CU_AD_FORMAT_UNSIGNED_INT16, CU_AD_FORMAT_SIGNED_INT16,
                                         CU_AD_FORMAT_UNSIGNED_INT32, CU_AD_FORMAT_SIGNED_INT32,
                                         CU_AD_FORMAT_HALF,           CU_AD_FORMAT_FLOAT};
  if (format == CU_RES_VIEW_FORMAT_NONE) return CUDA_SUCCESS;
  if (format > CU_RES_VIEW_FORMAT_FLOAT_4X32) return CUDA_ERROR_NOT_SUPPORTED;
  const unsigned index = static_cast<unsigned>(format) - 1;
  const std::uint32_t texel_bytes = image->texel_bytes();
  if (CUresult failed = set_format(kFormats[index / 3], 1u << index % 3, image)) return failed;
  return image->texel_bytes() == texel_bytes ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

CUresult narrow(const CUDA_RESOURCE_VIEW_DESC& wanted, Image* image) {
  if (CUresult failed = set_view_format(wanted.format, image)) return failed;
  const bool has_levels = wanted.firstMipmapLevel <= wanted.lastMipmapLevel &&
                          wanted.lastMipmapLevel < image->levels.size();
  if (!has_levels || wanted.firstLayer > wanted.lastLayer) return CUDA_ERROR_INVALID_VALUE;
  auto& levels = image->levels;
  levels.erase(levels.begin() + wanted.lastMipmapLevel + 1, levels.end());
  levels.erase(levels.begin(), levels.begin() + wanted.firstMipmapLevel);
  if (wanted.width != levels[0].width) return CUDA_ERROR_INVALID_VALUE;
  if (wanted.lastLayer == 0) return CUDA_SUCCESS;
  for (ImageLevel& level : levels) {
    if (wanted.lastLayer >= level.slices) return CUDA_ERROR_INVALID_VALUE;
    level.base += wanted.firstLayer * level.slice_bytes;
    level.slices = wanted.lastLayer - wanted.firstLayer + 1;
  }
  return CUDA_SUCCESS;
}

CUresult sampler_of(const CUDA_TEXTURE_DESC& texture, unsigned array_flags, Sampler* sampler) {
  for (int axis = 0; axis < 3; ++axis) {
    if (texture.addressMode[axis] > CU_TR_ADDRESS_MODE_BORDER) return CUDA_ERROR_INVALID_VALUE;
    // A face ends where the next begins; none of them repeats.
    const bool is_face = (array_flags & CUDA_ARRAY3D_CUBEMAP) != 0;
    sampler->edge[axis] =
        is_face ? EdgeRule::kClamp : static_cast<EdgeRule>(texture.addressMode[axis]);
  }
  if (texture.filterMode > CU_TR_FILTER_MODE_LINEAR ||
      texture.mipmapFilterMode > CU_TR_FILTER_MODE_LINEAR) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  sampler->linear = texture.filterMode == CU_TR_FILTER_MODE_LINEAR;
  sampler->mip_linear = texture.mipmapFilterMode == CU_TR_FILTER_MODE_LINEAR;
  sampler->normalized = (texture.flags & CU_TRSF_NORMALIZED_COORDINATES) != 0;
  sampler->as_integer = (texture.flags & CU_TRSF_READ_AS_INTEGER) != 0;
  sampler->srgb = (texture.flags & CU_TRSF_SRGB) != 0;
  for (int c = 0; c < 4; ++c) sampler->border[c] = texture.borderColor[c];
  sampler->bias = texture.mipmapLevelBias;
  sampler->min_level = texture.minMipmapLevelClamp;
  sampler->max_level = texture.maxMipmapLevelClamp;
  return CUDA_SUCCESS;
}

CUresult view_of(const ImageObject& object, ImageView* view) {
  view->is_surface = object.is_surface;
  unsigned flags = 0;
  if (CUresult failed = image_of(object.resource, &view->image, &flags)) return failed;
  if (object.is_surface) {
    const bool writable = object.resource.resType == CU_RESOURCE_TYPE_ARRAY &&
                          (flags & CUDA_ARRAY3D_SURFACE_LDST) != 0;
    return writable ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
  }
  if (object.view) {
    if (CUresult failed = narrow(*object.view, &view->image)) return failed;
  }
  if (CUresult failed = sampler_of(object.texture, flags, &view->sampler)) return failed;
  // Integers have nothing in between.
  const bool mixes = view->sampler.linear && !view->image.is_linear;
  return mixes && !view->gives_floats() ? CUDA_ERROR_INVALID_VALUE : CUDA_SUCCESS;
}

}  // namespace

std::size_t channel_bytes(CUarray_format format) {
  const std::optional<Channel> channel = channel_of(format);
  return channel ? channel_bytes(*channel) : 0;
}

CUresult ImageObjects::add(const ImageObject& object, std::uint64_t* number) {
  ImageView view;
  if (CUresult failed = view_of(object, &view)) return failed;
  auto book = book_.lock();
  const std::uint64_t fresh = ++book->last;
  book->by_number.emplace(fresh, object);
  object.context->device().images().add(fresh, std::move(view));
  *number = fresh;
  return CUDA_SUCCESS;
}

std::optional<ImageObject> ImageObjects::find(std::uint64_t number, bool is_surface) const {
  auto book = book_.lock();
  const auto at = book->by_number.find(number);
  if (at == book->by_number.end() || at->second.is_surface != is_surface) return std::nullopt;
  return at->second;
}

bool ImageObjects::remove(std::uint64_t number, bool is_surface) {
  const std::optional<ImageObject> object = find(number, is_surface);
  if (!object) return false;
  object->context->synchronize();  // what was launched may still read it
  object->context->device().images().remove(number);
  return book_.lock()->by_number.erase(number) != 0;
}

void ImageObjects::remove_all_of(const Context& context) {
  auto book = book_.lock();
  for (auto at = book->by_number.begin(); at != book->by_number.end();) {
    if (at->second.context != &context) {
      ++at;
      continue;
    }
    at->second.context->device().images().remove(at->first);
    at = book->by_number.erase(at);
  }
}

}  // namespace farcall::softgpu
