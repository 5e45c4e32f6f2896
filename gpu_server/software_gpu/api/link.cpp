// Linking at run time: gathers PTX, also out of objects and libraries; what comes out is a
// container of it, which any module load of this driver takes as one linked program. Source: CUDA
// Driver API 13.0, Module Management.
#include <cstring>

#include "gpu_server/software_gpu/driver.h"
#include "gpu_server/software_gpu/module_image.h"

namespace farcall::softgpu {
namespace {

int sm_of(const Context& context) {
  const Config& config = context.device().config();
  return config.cc_major * 10 + config.cc_minor;
}

CUresult find_job(CUlinkState state, Context** context, std::shared_ptr<LinkJob>* job) {
  if (CUresult failed = require_context(context)) return failed;
  *job = driver().link_jobs.find(state);
  return *job ? CUDA_SUCCESS : CUDA_ERROR_INVALID_HANDLE;
}

// Cubins, objects and libraries may hold the PTX they were made of. LTO's code is not for us.
bool may_hold_ptx(CUjitInputType type) {
  return type >= CU_JIT_INPUT_CUBIN && type <= CU_JIT_INPUT_LIBRARY;
}

}  // namespace
}  // namespace farcall::softgpu

using namespace farcall::softgpu;

extern "C" {

CUresult cuLinkCreate_v2(unsigned, CUjit_option*, void**, CUlinkState* stateOut) {
  Context* context = nullptr;
  if (CUresult failed = require_context(&context)) return failed;
  if (stateOut == nullptr) return CUDA_ERROR_INVALID_VALUE;
  *stateOut = driver().link_jobs.add<CUlinkState>(std::make_shared<LinkJob>());
  return CUDA_SUCCESS;
}

CUresult cuLinkAddData_v2(CUlinkState state, CUjitInputType type, void* data, size_t size,
                          const char*, unsigned, CUjit_option*, void**) {
  Context* context = nullptr;
  std::shared_ptr<LinkJob> job;
  if (CUresult failed = find_job(state, &context, &job)) return failed;
  if (data == nullptr || size == 0) return CUDA_ERROR_INVALID_VALUE;
  if (!may_hold_ptx(type)) return CUDA_ERROR_NO_BINARY_FOR_GPU;
  return ptx_of_bytes({static_cast<const std::byte*>(data), size}, sm_of(*context), &job->texts);
}

CUresult cuLinkAddFile_v2(CUlinkState state, CUjitInputType type, const char* path, unsigned,
                          CUjit_option*, void**) {
  Context* context = nullptr;
  std::shared_ptr<LinkJob> job;
  if (CUresult failed = find_job(state, &context, &job)) return failed;
  if (!may_hold_ptx(type)) return CUDA_ERROR_NO_BINARY_FOR_GPU;
  return ptx_of_file(path, sm_of(*context), &job->texts);
}

CUresult cuLinkComplete(CUlinkState state, void** cubinOut, size_t* sizeOut) {
  Context* context = nullptr;
  std::shared_ptr<LinkJob> job;
  if (CUresult failed = find_job(state, &context, &job)) return failed;
  if (cubinOut == nullptr || job->texts.empty()) return CUDA_ERROR_INVALID_VALUE;
  // Loading it once tells now, and not at a later load, whether the parts fit together.
  std::shared_ptr<Module> trial;
  if (CUresult failed = Module::load(*context, job->texts, &trial)) return failed;
  job->image = container_of(job->texts, sm_of(*context));
  *cubinOut = job->image.data();
  if (sizeOut != nullptr) *sizeOut = job->image.size();
  return CUDA_SUCCESS;
}

CUresult cuLinkDestroy(CUlinkState state) {
  if (CUresult failed = require_driver()) return failed;
  return driver().link_jobs.remove(state) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_HANDLE;
}

CUresult cuLinkCreate(unsigned numOptions, CUjit_option* options, void** optionValues,
                      CUlinkState* stateOut) {
  return cuLinkCreate_v2(numOptions, options, optionValues, stateOut);
}
CUresult cuLinkAddData(CUlinkState state, CUjitInputType type, void* data, size_t size,
                       const char* name, unsigned numOptions, CUjit_option* options,
                       void** optionValues) {
  return cuLinkAddData_v2(state, type, data, size, name, numOptions, options, optionValues);
}
CUresult cuLinkAddFile(CUlinkState state, CUjitInputType type, const char* path,
                       unsigned numOptions, CUjit_option* options, void** optionValues) {
  return cuLinkAddFile_v2(state, type, path, numOptions, options, optionValues);
}
}
