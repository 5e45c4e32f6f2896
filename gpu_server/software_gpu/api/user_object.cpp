// User objects: what lives as long as the graphs that use it.
// Source: CUDA Driver API 13.0, Graph Management.
#include "gpu_server/software_gpu/user_object.h"

#include "gpu_server/software_gpu/driver.h"

using namespace farcall::softgpu;

namespace {

constexpr unsigned kReferencesMax = 0x7fffffff;  // INT_MAX, as CUDA documents

CUresult find(CUuserObject handle, unsigned count, std::shared_ptr<UserObject>* object) {
  if (CUresult failed = require_driver()) return failed;
  *object = driver().user_objects.find(handle);
  return *object && count > 0 && count <= kReferencesMax ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

}  // namespace

extern "C" {

CUresult cuUserObjectCreate(CUuserObject* object_out, void* ptr, CUhostFn destroy,
                            unsigned initialRefcount, unsigned flags) {
  if (CUresult failed = require_driver()) return failed;
  if (object_out == nullptr || destroy == nullptr || initialRefcount == 0 ||
      initialRefcount > kReferencesMax || flags != CU_USER_OBJECT_NO_DESTRUCTOR_SYNC) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  *object_out = driver().user_objects.add<CUuserObject>(
      std::make_shared<UserObject>(ptr, destroy, initialRefcount));
  return CUDA_SUCCESS;
}

CUresult cuUserObjectRetain(CUuserObject handle, unsigned count) {
  std::shared_ptr<UserObject> object;
  if (CUresult failed = find(handle, count, &object)) return failed;
  object->retain(count);
  return CUDA_SUCCESS;
}

CUresult cuUserObjectRelease(CUuserObject handle, unsigned count) {
  std::shared_ptr<UserObject> object;
  if (CUresult failed = find(handle, count, &object)) return failed;
  return object->release(count) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

CUresult cuGraphRetainUserObject(CUgraph graph, CUuserObject handle, unsigned count,
                                 unsigned flags) {
  std::shared_ptr<UserObject> object;
  if (CUresult failed = find(handle, count, &object)) return failed;
  auto held = driver().graphs.find(graph);
  if (!held) return CUDA_ERROR_INVALID_HANDLE;
  if (flags != 0 && flags != CU_GRAPH_USER_OBJECT_MOVE) return CUDA_ERROR_INVALID_VALUE;
  if (flags == 0) object->retain(count);
  held->references->take(object, count);
  return CUDA_SUCCESS;
}

CUresult cuGraphReleaseUserObject(CUgraph graph, CUuserObject handle, unsigned count) {
  std::shared_ptr<UserObject> object;
  if (CUresult failed = find(handle, count, &object)) return failed;
  auto held = driver().graphs.find(graph);
  if (!held) return CUDA_ERROR_INVALID_HANDLE;
  return held->references->release(object, count);
}
}
