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

// Adds an input by `gather`; what is wrong with it goes into the link's log.
template <class Gather>
CUresult take_input(LinkJob& job, CUjitInputType type, const char* name, Gather gather) {
  const CUresult taken = may_hold_ptx(type) ? gather() : CUDA_ERROR_NO_BINARY_FOR_GPU;
  const std::string about = name != nullptr ? name : "input";
  if (taken == CUDA_ERROR_NO_BINARY_FOR_GPU) job.complain(about + ": no PTX in it");
  if (taken == CUDA_ERROR_INVALID_IMAGE) job.complain(about + ": nothing that CUDA's tools make");
  return taken;
}

}  // namespace
}  // namespace farcall::softgpu

using namespace farcall::softgpu;

extern "C" {

CUresult cuLinkCreate_v2(unsigned numOptions, CUjit_option* options, void** optionValues,
                         CUlinkState* stateOut) {
  Context* context = nullptr;
  if (CUresult failed = require_context(&context)) return failed;
  if (stateOut == nullptr) return CUDA_ERROR_INVALID_VALUE;
  auto job = std::make_shared<LinkJob>();
  if (CUresult bad = job->logs.read(numOptions, options, optionValues)) return bad;
  job->logs.info.write("");
  job->logs.error.write("");
  *stateOut = driver().link_jobs.add<CUlinkState>(std::move(job));
  return CUDA_SUCCESS;
}

CUresult cuLinkAddData_v2(CUlinkState state, CUjitInputType type, void* data, size_t size,
                          const char* name, unsigned, CUjit_option*, void**) {
  Context* context = nullptr;
  std::shared_ptr<LinkJob> job;
  if (CUresult failed = find_job(state, &context, &job)) return failed;
  if (data == nullptr || size == 0) return CUDA_ERROR_INVALID_VALUE;
  return take_input(*job, type, name, [&] {
    return ptx_of_bytes({static_cast<const std::byte*>(data), size}, sm_of(*context), &job->texts);
  });
}

CUresult cuLinkAddFile_v2(CUlinkState state, CUjitInputType type, const char* path, unsigned,
                          CUjit_option*, void**) {
  Context* context = nullptr;
  std::shared_ptr<LinkJob> job;
  if (CUresult failed = find_job(state, &context, &job)) return failed;
  return take_input(*job, type, path,
                    [&] { return ptx_of_file(path, sm_of(*context), &job->texts); });
}

CUresult cuLinkComplete(CUlinkState state, void** cubinOut, size_t* sizeOut) {
  Context* context = nullptr;
  std::shared_ptr<LinkJob> job;
  if (CUresult failed = find_job(state, &context, &job)) return failed;
  if (cubinOut == nullptr || job->texts.empty()) return CUDA_ERROR_INVALID_VALUE;
  // Loading it once tells now, and not at a later load, whether the parts fit together.
  std::shared_ptr<Module> trial;
  std::string why;
  if (CUresult failed = Module::load(*context, job->texts, &trial, &why)) {
    job->complain(why);
    return failed;
  }
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
