// CUDA arrays: made, described, freed. Textures and surfaces over them are refused by name.
// Source: CUDA Driver API 13.0, Memory Management.
#include "gpu_server/software_gpu/array.h"

#include "gpu_server/software_gpu/copy.h"
#include "gpu_server/software_gpu/driver.h"
#include "gpu_server/software_gpu/memory_calls.h"

namespace farcall::softgpu {
namespace {

// 0 for formats that are not plain channels.
std::size_t channel_bytes(CUarray_format format) {
  switch (format) {
    case CU_AD_FORMAT_UNSIGNED_INT8:
    case CU_AD_FORMAT_SIGNED_INT8: return 1;
    case CU_AD_FORMAT_UNSIGNED_INT16:
    case CU_AD_FORMAT_SIGNED_INT16:
    case CU_AD_FORMAT_HALF: return 2;
    case CU_AD_FORMAT_UNSIGNED_INT32:
    case CU_AD_FORMAT_SIGNED_INT32:
    case CU_AD_FORMAT_FLOAT: return 4;
    default: return 0;
  }
}

CUresult create(CUarray* handle, const CUDA_ARRAY3D_DESCRIPTOR& shape) {
  Context* context = nullptr;
  if (CUresult failed = require_context(&context)) return failed;
  if (handle == nullptr || shape.Width == 0) return CUDA_ERROR_INVALID_VALUE;
  if (shape.NumChannels != 1 && shape.NumChannels != 2 && shape.NumChannels != 4) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  constexpr unsigned kKnown = CUDA_ARRAY3D_LAYERED | CUDA_ARRAY3D_SURFACE_LDST |
                              CUDA_ARRAY3D_CUBEMAP | CUDA_ARRAY3D_TEXTURE_GATHER;
  if ((shape.Flags & ~kKnown) != 0) return CUDA_ERROR_NOT_SUPPORTED;
  auto array = std::make_shared<Array>();
  array->context = context;
  array->shape = shape;
  array->texel_bytes = channel_bytes(shape.Format) * shape.NumChannels;
  if (array->texel_bytes == 0) return CUDA_ERROR_NOT_SUPPORTED;
  const std::uint64_t row = reach(shape.Width, array->texel_bytes, 0);
  const std::uint64_t slice = reach(array->rows(), row, 0);
  const std::uint64_t bytes = reach(array->slices(), slice, 0);
  CUdeviceptr base = 0;
  if (CUresult failed = allocate(*context, bytes, MemoryKind::kArray, 0, &base)) return failed;
  array->base = base;
  *handle = driver().arrays.add<CUarray>(std::move(array));
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
  auto array = driver().arrays.remove(hArray);
  if (!array) return CUDA_ERROR_INVALID_HANDLE;
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
  requirements->alignment = 512;
  return CUDA_SUCCESS;
}
}
