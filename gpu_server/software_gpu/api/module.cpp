// Modules: code loaded into the current context.
// Source: CUDA Driver API 13.0, Module Management.
#include <cstdlib>
#include <cstring>

#include "gpu_server/software_gpu/driver.h"
#include "gpu_server/software_gpu/jit_logs.h"
#include "gpu_server/software_gpu/module_image.h"

namespace farcall::softgpu {
namespace {

int sm_of(const Context& context) {
  const Config& config = context.device().config();
  return config.cc_major * 10 + config.cc_minor;
}

CUresult load(CUmodule* handle, Context& context, const std::vector<std::string>& texts,
              std::string* why = nullptr) {
  std::shared_ptr<Module> module;
  if (CUresult failed = Module::load(context, texts, &module, why)) return failed;
  *handle = driver().modules.add<CUmodule>(std::move(module));
  return CUDA_SUCCESS;
}

CUresult load_image(CUmodule* module, const void* image, std::string* why) {
  Context* context = nullptr;
  if (CUresult failed = require_context(&context)) return failed;
  if (module == nullptr) return CUDA_ERROR_INVALID_VALUE;
  std::vector<std::string> texts;
  if (CUresult failed = ptx_of_image(image, sm_of(*context), &texts)) return failed;
  return load(module, *context, texts, why);
}

}  // namespace
}  // namespace farcall::softgpu

using namespace farcall::softgpu;

extern "C" {

CUresult cuModuleLoadData(CUmodule* module, const void* image) {
  return load_image(module, image, nullptr);
}

// The options steer a compiler that is not there; only what it has to say goes into their buffers.
CUresult cuModuleLoadDataEx(CUmodule* module, const void* image, unsigned numOptions,
                            CUjit_option* options, void** optionValues) {
  JitLogs logs;
  if (CUresult bad = logs.read(numOptions, options, optionValues)) return bad;
  std::string why;
  const CUresult loaded = load_image(module, image, &why);
  logs.info.write("");
  logs.error.write(why);
  return loaded;
}

CUresult cuModuleLoadFatBinary(CUmodule* module, const void* fatCubin) {
  return cuModuleLoadData(module, fatCubin);
}

CUresult cuModuleLoad(CUmodule* module, const char* fname) {
  Context* context = nullptr;
  if (CUresult failed = require_context(&context)) return failed;
  if (module == nullptr) return CUDA_ERROR_INVALID_VALUE;
  std::vector<std::string> texts;
  if (CUresult failed = ptx_of_file(fname, sm_of(*context), &texts)) return failed;
  return load(module, *context, texts);
}

CUresult cuModuleUnload(CUmodule hmod) {
  Context* context = nullptr;
  if (CUresult failed = require_context(&context)) return failed;
  auto module = driver().modules.find(hmod);
  if (!module) return CUDA_ERROR_INVALID_HANDLE;
  // Work that uses it still runs: its launches hold the module.
  drop_module(module);
  return CUDA_SUCCESS;
}

CUresult cuModuleGetLoadingMode(CUmoduleLoadingMode* mode) {
  if (CUresult failed = require_driver()) return failed;
  if (mode == nullptr) return CUDA_ERROR_INVALID_VALUE;
  const char* wish = ::secure_getenv("CUDA_MODULE_LOADING");
  const bool eager = wish != nullptr && std::strcmp(wish, "EAGER") == 0;
  *mode = eager ? CU_MODULE_EAGER_LOADING : CU_MODULE_LAZY_LOADING;
  return CUDA_SUCCESS;
}

CUresult cuModuleGetFunction(CUfunction* hfunc, CUmodule hmod, const char* name) {
  Context* context = nullptr;
  if (CUresult failed = require_context(&context)) return failed;
  if (hfunc == nullptr || name == nullptr) return CUDA_ERROR_INVALID_VALUE;
  auto module = driver().modules.find(hmod);
  if (!module) return CUDA_ERROR_INVALID_HANDLE;
  return module->function(name, hfunc);
}

CUresult cuModuleGetFunctionCount(unsigned* count, CUmodule mod) {
  Context* context = nullptr;
  if (CUresult failed = require_context(&context)) return failed;
  if (count == nullptr) return CUDA_ERROR_INVALID_VALUE;
  auto module = driver().modules.find(mod);
  if (!module) return CUDA_ERROR_INVALID_HANDLE;
  *count = static_cast<unsigned>(module->program().kernel_names().size());
  return CUDA_SUCCESS;
}

CUresult cuModuleEnumerateFunctions(CUfunction* functions, unsigned numFunctions, CUmodule mod) {
  Context* context = nullptr;
  if (CUresult failed = require_context(&context)) return failed;
  if (functions == nullptr) return CUDA_ERROR_INVALID_VALUE;
  auto module = driver().modules.find(mod);
  if (!module) return CUDA_ERROR_INVALID_HANDLE;
  unsigned index = 0;
  for (const std::string& name : module->program().kernel_names()) {
    if (index == numFunctions) break;
    if (CUresult failed = module->function(name.c_str(), &functions[index])) return failed;
    ++index;
  }
  return CUDA_SUCCESS;
}

CUresult cuModuleGetGlobal_v2(CUdeviceptr* dptr, size_t* bytes, CUmodule hmod, const char* name) {
  Context* context = nullptr;
  if (CUresult failed = require_context(&context)) return failed;
  if (name == nullptr) return CUDA_ERROR_INVALID_VALUE;
  auto module = driver().modules.find(hmod);
  if (!module) return CUDA_ERROR_INVALID_HANDLE;
  const auto range = module->program().global(name);
  if (!range) return CUDA_ERROR_NOT_FOUND;
  if (dptr != nullptr) *dptr = range->base;
  if (bytes != nullptr) *bytes = range->bytes;
  return CUDA_SUCCESS;
}
}
