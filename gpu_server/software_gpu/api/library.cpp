// Libraries: code loaded into no context, and the kernels in it. What libcudart uses.
// Source: CUDA Driver API 13.0, Library Management.
#include <algorithm>

#include "gpu_server/software_gpu/driver.h"
#include "gpu_server/software_gpu/module_image.h"
#include "gpu_server/software_gpu/thread_state.h"

namespace farcall::softgpu {
namespace {

// Where a library is looked into when the caller has no context: the first device's primary.
Context& context_or_primary() {
  Context* current = this_thread().current();
  return current != nullptr ? current->home() : driver().device(0)->primary();
}

int library_sm() {
  const Config& config = context_or_primary().device().config();
  return config.cc_major * 10 + config.cc_minor;
}

// Of its own code the CUDA runtime says that it stays where it is. No list needs more entries than
// there are options; a count may be any number.
bool is_runtimes(const CUlibraryOption* options, unsigned count) {
  const unsigned looked_at = std::min<unsigned>(count, CU_LIBRARY_NUM_OPTIONS);
  for (unsigned i = 0; options != nullptr && i < looked_at; ++i) {
    if (options[i] == CU_LIBRARY_BINARY_IS_PRESERVED) return true;
  }
  return false;
}

CUresult find_library(CUlibrary handle, std::shared_ptr<Library>* library) {
  if (CUresult failed = require_driver()) return failed;
  *library = driver().libraries.find(handle);
  return *library ? CUDA_SUCCESS : CUDA_ERROR_INVALID_HANDLE;
}

CUresult find_kernel(CUkernel handle, std::shared_ptr<LibraryKernel>* kernel) {
  if (CUresult failed = require_driver()) return failed;
  *kernel = driver().kernels.find(handle);
  return *kernel ? CUDA_SUCCESS : CUDA_ERROR_INVALID_HANDLE;
}

CUresult name_kernel(const std::shared_ptr<Library>& library, const std::string& name,
                     CUkernel* handle) {
  std::shared_ptr<Module> module;
  if (CUresult failed = library->module_in(context_or_primary(), &module)) return failed;
  auto known = library->kernels.lock();
  if (auto at = known->find(name); at != known->end()) {
    *handle = at->second;
    return CUDA_SUCCESS;
  }
  if (module->program().kernel(name) == nullptr) return CUDA_ERROR_NOT_FOUND;
  auto kernel = std::make_shared<LibraryKernel>();
  kernel->library = library;
  kernel->name = name;
  *handle = driver().kernels.add<CUkernel>(std::move(kernel));
  known->emplace(name, *handle);
  return CUDA_SUCCESS;
}

// The kernel as a function where its device is: the current context, or that device's primary.
CUresult function_on(CUkernel handle, CUdevice dev, std::shared_ptr<LibraryKernel>* kernel,
                     std::shared_ptr<Function>* function) {
  if (CUresult failed = find_kernel(handle, kernel)) return failed;
  Device* device = driver().device(dev);
  if (device == nullptr) return CUDA_ERROR_INVALID_DEVICE;
  Context* current = this_thread().current();
  Context& context =
      current != nullptr && &current->device() == device ? current->home() : device->primary();
  CUfunction own = nullptr;
  if (CUresult failed = kernel_in(**kernel, context, &own)) return failed;
  *function = driver().functions.find(own);
  return *function ? CUDA_SUCCESS : CUDA_ERROR_INVALID_HANDLE;
}

}  // namespace
}  // namespace farcall::softgpu

using namespace farcall::softgpu;

extern "C" {

CUresult cuLibraryLoadData(CUlibrary* library, const void* code, CUjit_option*, void**, unsigned,
                           CUlibraryOption* libraryOptions, void**, unsigned numLibraryOptions) {
  if (CUresult failed = require_driver()) return failed;
  if (library == nullptr || code == nullptr) return CUDA_ERROR_INVALID_VALUE;
  std::vector<std::string> texts;
  if (CUresult failed = ptx_of_image(code, library_sm(), &texts)) return failed;
  *library = driver().libraries.add<CUlibrary>(
      std::make_shared<Library>(std::move(texts), is_runtimes(libraryOptions, numLibraryOptions)));
  return CUDA_SUCCESS;
}

CUresult cuLibraryLoadFromFile(CUlibrary* library, const char* fileName, CUjit_option*, void**,
                               unsigned, CUlibraryOption*, void**, unsigned) {
  if (CUresult failed = require_driver()) return failed;
  if (library == nullptr) return CUDA_ERROR_INVALID_VALUE;
  std::vector<std::string> texts;
  if (CUresult failed = ptx_of_file(fileName, library_sm(), &texts)) return failed;
  *library = driver().libraries.add<CUlibrary>(std::make_shared<Library>(std::move(texts), false));
  return CUDA_SUCCESS;
}

CUresult cuLibraryUnload(CUlibrary library) {
  if (CUresult failed = require_driver()) return failed;
  auto found = driver().libraries.remove(library);
  if (!found) return CUDA_ERROR_INVALID_HANDLE;
  driver().kernels.remove_if([&](const LibraryKernel& kernel) { return kernel.library == found; });
  driver().contexts.for_each([&](const Context& context) { found->forget(context); });
  return CUDA_SUCCESS;
}

CUresult cuLibraryGetKernel(CUkernel* pKernel, CUlibrary library, const char* name) {
  std::shared_ptr<Library> found;
  if (CUresult failed = find_library(library, &found)) return failed;
  if (pKernel == nullptr || name == nullptr) return CUDA_ERROR_INVALID_VALUE;
  return name_kernel(found, name, pKernel);
}

CUresult cuLibraryGetKernelCount(unsigned* count, CUlibrary lib) {
  std::shared_ptr<Library> library;
  if (CUresult failed = find_library(lib, &library)) return failed;
  if (count == nullptr) return CUDA_ERROR_INVALID_VALUE;
  std::shared_ptr<Module> module;
  if (CUresult failed = library->module_in(context_or_primary(), &module)) return failed;
  *count = static_cast<unsigned>(module->program().kernel_names().size());
  return CUDA_SUCCESS;
}

CUresult cuLibraryEnumerateKernels(CUkernel* kernels, unsigned numKernels, CUlibrary lib) {
  std::shared_ptr<Library> library;
  if (CUresult failed = find_library(lib, &library)) return failed;
  if (kernels == nullptr) return CUDA_ERROR_INVALID_VALUE;
  std::shared_ptr<Module> module;
  if (CUresult failed = library->module_in(context_or_primary(), &module)) return failed;
  unsigned index = 0;
  for (const std::string& name : module->program().kernel_names()) {
    if (index == numKernels) break;
    if (CUresult failed = name_kernel(library, name, &kernels[index])) return failed;
    ++index;
  }
  return CUDA_SUCCESS;
}

CUresult cuLibraryGetModule(CUmodule* pMod, CUlibrary library) {
  Context* context = nullptr;
  if (CUresult failed = require_context(&context)) return failed;
  std::shared_ptr<Library> found;
  if (CUresult failed = find_library(library, &found)) return failed;
  if (pMod == nullptr) return CUDA_ERROR_INVALID_VALUE;
  std::shared_ptr<Module> module;
  return found->module_in(*context, &module, pMod);
}

CUresult cuLibraryGetGlobal(CUdeviceptr* dptr, size_t* bytes, CUlibrary library, const char* name) {
  CUmodule module = nullptr;
  if (CUresult failed = cuLibraryGetModule(&module, library)) return failed;
  return cuModuleGetGlobal_v2(dptr, bytes, module, name);
}

// A __managed__ variable is an ordinary global here: the host can always touch it. libcudart asks
// for it before there is a context.
CUresult cuLibraryGetManaged(CUdeviceptr* dptr, size_t* bytes, CUlibrary library,
                             const char* name) {
  std::shared_ptr<Library> found;
  if (CUresult failed = find_library(library, &found)) return failed;
  if (name == nullptr || (dptr == nullptr && bytes == nullptr)) return CUDA_ERROR_INVALID_VALUE;
  std::shared_ptr<Module> module;
  if (CUresult failed = found->module_in(context_or_primary(), &module)) return failed;
  const auto range = module->program().global(name);
  if (!range) return CUDA_ERROR_NOT_FOUND;
  if (dptr != nullptr) *dptr = range->base;
  if (bytes != nullptr) *bytes = range->bytes;
  return CUDA_SUCCESS;
}

CUresult cuKernelGetFunction(CUfunction* pFunc, CUkernel kernel) {
  Context* context = nullptr;
  if (CUresult failed = require_context(&context)) return failed;
  std::shared_ptr<LibraryKernel> found;
  if (CUresult failed = find_kernel(kernel, &found)) return failed;
  if (pFunc == nullptr) return CUDA_ERROR_INVALID_VALUE;
  return kernel_in(*found, *context, pFunc);
}

CUresult cuKernelGetLibrary(CUlibrary* pLib, CUkernel kernel) {
  std::shared_ptr<LibraryKernel> found;
  if (CUresult failed = find_kernel(kernel, &found)) return failed;
  if (pLib == nullptr) return CUDA_ERROR_INVALID_VALUE;
  *pLib = reinterpret_cast<CUlibrary>(found->library.get());
  return CUDA_SUCCESS;
}

CUresult cuKernelGetAttribute(int* pi, CUfunction_attribute attrib, CUkernel kernel, CUdevice dev) {
  std::shared_ptr<LibraryKernel> found;
  std::shared_ptr<Function> function;
  if (CUresult failed = function_on(kernel, dev, &found, &function)) return failed;
  if (pi == nullptr) return CUDA_ERROR_INVALID_VALUE;
  return function->attribute(attrib, pi);
}

CUresult cuKernelSetAttribute(CUfunction_attribute attrib, int val, CUkernel kernel, CUdevice dev) {
  std::shared_ptr<LibraryKernel> found;
  std::shared_ptr<Function> function;
  if (CUresult failed = function_on(kernel, dev, &found, &function)) return failed;
  if (CUresult failed = function->settings.set(attrib, val, *function->kernel)) return failed;
  // Contexts that come to use the kernel later start from what was set here.
  return found->settings.set(attrib, val, *function->kernel);
}

CUresult cuKernelSetCacheConfig(CUkernel kernel, CUfunc_cache, CUdevice dev) {
  std::shared_ptr<LibraryKernel> found;
  if (CUresult failed = find_kernel(kernel, &found)) return failed;
  return driver().device(dev) == nullptr ? CUDA_ERROR_INVALID_DEVICE : CUDA_SUCCESS;
}

CUresult cuKernelGetName(const char** name, CUkernel hfunc) {
  std::shared_ptr<LibraryKernel> found;
  if (CUresult failed = find_kernel(hfunc, &found)) return failed;
  if (name == nullptr) return CUDA_ERROR_INVALID_VALUE;
  *name = found->name.c_str();  // lives as long as the library
  return CUDA_SUCCESS;
}

CUresult cuKernelGetParamInfo(CUkernel kernel, size_t paramIndex, size_t* paramOffset,
                              size_t* paramSize) {
  std::shared_ptr<LibraryKernel> found;
  if (CUresult failed = find_kernel(kernel, &found)) return failed;
  CUfunction function = nullptr;
  if (CUresult failed = kernel_in(*found, context_or_primary(), &function)) return failed;
  return cuFuncGetParamInfo(function, paramIndex, paramOffset, paramSize);
}
}
