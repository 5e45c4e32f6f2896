// Texture and surface objects. Texture and surface references are refused by name: CUDA 12 removed
// them from the runtime.
// Source: CUDA Driver API 13.0, Texture Object Management and Surface Object Management.
#include "gpu_server/software_gpu/driver.h"

namespace farcall::softgpu {
namespace {

CUresult create(ImageObject object, const CUDA_RESOURCE_DESC* resource, std::uint64_t* number) {
  if (CUresult failed = require_context(&object.context)) return failed;
  if (number == nullptr || resource == nullptr) return CUDA_ERROR_INVALID_VALUE;
  object.resource = *resource;
  return driver().image_objects.add(object, number);
}

CUresult destroy(std::uint64_t number, bool is_surface) {
  Context* context = nullptr;
  if (CUresult failed = require_context(&context)) return failed;
  // No object is destroyed with success: NVIDIA's sample volumeFiltering does so and checks it.
  if (number == 0) return CUDA_SUCCESS;
  const bool was_there = driver().image_objects.remove(number, is_surface);
  return was_there ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

CUresult find(std::uint64_t number, bool is_surface, const void* answer, ImageObject* object) {
  Context* context = nullptr;
  if (CUresult failed = require_context(&context)) return failed;
  const std::optional<ImageObject> found = driver().image_objects.find(number, is_surface);
  if (!found || answer == nullptr) return CUDA_ERROR_INVALID_VALUE;
  *object = *found;
  return CUDA_SUCCESS;
}

}  // namespace
}  // namespace farcall::softgpu

using namespace farcall::softgpu;

extern "C" {

CUresult cuTexObjectCreate(CUtexObject* pTexObject, const CUDA_RESOURCE_DESC* pResDesc,
                           const CUDA_TEXTURE_DESC* pTexDesc,
                           const CUDA_RESOURCE_VIEW_DESC* pResViewDesc) {
  ImageObject object;
  if (pTexDesc == nullptr) return CUDA_ERROR_INVALID_VALUE;
  object.texture = *pTexDesc;
  if (pResViewDesc != nullptr) object.view = *pResViewDesc;
  std::uint64_t number = 0;
  const CUresult failed = create(object, pResDesc, pTexObject == nullptr ? nullptr : &number);
  if (failed == CUDA_SUCCESS) *pTexObject = number;
  return failed;
}

CUresult cuTexObjectDestroy(CUtexObject texObject) { return destroy(texObject, false); }

CUresult cuTexObjectGetResourceDesc(CUDA_RESOURCE_DESC* pResDesc, CUtexObject texObject) {
  ImageObject object;
  if (CUresult failed = find(texObject, false, pResDesc, &object)) return failed;
  *pResDesc = object.resource;
  return CUDA_SUCCESS;
}

CUresult cuTexObjectGetTextureDesc(CUDA_TEXTURE_DESC* pTexDesc, CUtexObject texObject) {
  ImageObject object;
  if (CUresult failed = find(texObject, false, pTexDesc, &object)) return failed;
  *pTexDesc = object.texture;
  return CUDA_SUCCESS;
}

CUresult cuTexObjectGetResourceViewDesc(CUDA_RESOURCE_VIEW_DESC* pResViewDesc,
                                        CUtexObject texObject) {
  ImageObject object;
  if (CUresult failed = find(texObject, false, pResViewDesc, &object)) return failed;
  if (!object.view) return CUDA_ERROR_INVALID_VALUE;
  *pResViewDesc = *object.view;
  return CUDA_SUCCESS;
}

CUresult cuSurfObjectCreate(CUsurfObject* pSurfObject, const CUDA_RESOURCE_DESC* pResDesc) {
  ImageObject object;
  object.is_surface = true;
  std::uint64_t number = 0;
  const CUresult failed = create(object, pResDesc, pSurfObject == nullptr ? nullptr : &number);
  if (failed == CUDA_SUCCESS) *pSurfObject = number;
  return failed;
}

CUresult cuSurfObjectDestroy(CUsurfObject surfObject) { return destroy(surfObject, true); }

CUresult cuSurfObjectGetResourceDesc(CUDA_RESOURCE_DESC* pResDesc, CUsurfObject surfObject) {
  ImageObject object;
  if (CUresult failed = find(surfObject, true, pResDesc, &object)) return failed;
  *pResDesc = object.resource;
  return CUDA_SUCCESS;
}
}
