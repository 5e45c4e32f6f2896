#include "gpu_server/software_gpu/module.h"

#include <algorithm>

#include "gpu_server/software_gpu/driver.h"
#include "transport/base/log.h"

namespace farcall::softgpu {

CUresult to_curesult(const Status& status) {
  switch (status.code()) {
    case Code::kOk: return CUDA_SUCCESS;
    case Code::kMalformed: return CUDA_ERROR_INVALID_PTX;
    case Code::kNotFound: return CUDA_ERROR_INVALID_PTX;  // an external that nothing defines
    case Code::kOverQuota: return CUDA_ERROR_OUT_OF_MEMORY;
    case Code::kUnsupported: return CUDA_ERROR_NOT_SUPPORTED;
    case Code::kSystem: return CUDA_ERROR_OPERATING_SYSTEM;
    default: return CUDA_ERROR_UNKNOWN;
  }
}

CUresult Module::load(Context& context, const std::vector<std::string>& texts,
                      std::shared_ptr<Module>* module, std::string* why) {
  auto program = Program::load(texts, context.device().memory());
  if (!program.ok()) {
    FARCALL_LOG_DEBUG("module refused: %s", program.status().to_string().c_str());
    if (why != nullptr) *why = program.status().to_string();
    return to_curesult(program.status());
  }
  *module = std::shared_ptr<Module>(new Module(context, std::move(program).value()));
  return CUDA_SUCCESS;
}

CUresult Module::function(const char* name, CUfunction* handle) {
  auto known = functions_.lock();
  if (auto at = known->find(std::string_view(name)); at != known->end()) {
    *handle = at->second;
    return CUDA_SUCCESS;
  }
  const Kernel* kernel = program_->kernel(name);
  if (kernel == nullptr) return CUDA_ERROR_NOT_FOUND;
  auto function = std::make_shared<Function>();
  function->module = shared_from_this();
  function->kernel = kernel;
  *handle = driver().functions.add<CUfunction>(std::move(function));
  known->emplace(name, *handle);
  return CUDA_SUCCESS;
}

CUresult Library::module_in(Context& context, std::shared_ptr<Module>* module, CUmodule* handle) {
  // Held while loading, so that two threads do not load the same code twice.
  auto instances = instances_.lock();
  auto at = instances->find(&context);
  if (at == instances->end()) {
    Instance made{};
    if (CUresult failed = Module::load(context, texts_, &made.module)) return failed;
    made.handle = driver().modules.add<CUmodule>(made.module);
    at = instances->emplace(&context, std::move(made)).first;
  }
  *module = at->second.module;
  if (handle != nullptr) *handle = at->second.handle;
  return CUDA_SUCCESS;
}

void Library::forget(const Context& context) {
  std::shared_ptr<Module> dropped;
  {
    auto instances = instances_.lock();
    auto at = instances->find(&context);
    if (at == instances->end()) return;
    dropped = std::move(at->second.module);
    instances->erase(at);
  }
  drop_module(dropped);
}

CUresult kernel_in(LibraryKernel& kernel, Context& context, CUfunction* handle) {
  auto functions = kernel.functions.lock();
  if (auto at = functions->find(&context); at != functions->end()) {
    *handle = at->second;
    return CUDA_SUCCESS;
  }
  std::shared_ptr<Module> module;
  if (CUresult failed = kernel.library->module_in(context, &module)) return failed;
  if (CUresult failed = module->function(kernel.name.c_str(), handle)) return failed;
  if (auto function = driver().functions.find(*handle)) {
    function->settings.copy_from(kernel.settings);
  }
  functions->emplace(&context, *handle);
  return CUDA_SUCCESS;
}

CUresult find_function(CUfunction handle, Context& context, std::shared_ptr<Function>* function) {
  *function = driver().functions.find(handle);
  if (*function) return CUDA_SUCCESS;
  auto kernel = driver().kernels.find(handle);
  if (!kernel) return CUDA_ERROR_INVALID_HANDLE;
  CUfunction own = nullptr;
  if (CUresult failed = kernel_in(*kernel, context, &own)) return failed;
  *function = driver().functions.find(own);
  return *function ? CUDA_SUCCESS : CUDA_ERROR_INVALID_HANDLE;
}

}  // namespace farcall::softgpu
