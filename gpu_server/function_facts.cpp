#include "gpu_server/function_facts.h"

#include <array>
#include <cstring>
#include <vector>

#include "gpu_server/functions.h"
#include "transport/api/hand.h"
#include "transport/base/switches.h"

namespace farcall::server {
namespace {

namespace hand = api::hand;

// The driver of most machines loads a function when it is first asked about; so few are told there.
constexpr unsigned kFunctionsEager = 64, kFunctionsLazy = 16;

CUdevice current_device(Call& call) {
  CUdevice device = 0;
  bool told = call.driver.cuCtxGetDevice && call.driver.cuCtxGetDevice(&device) == CUDA_SUCCESS;
  return told ? device : 0;
}

std::int32_t attribute_of(Call& call, void* real, bool is_kernel, CUfunction_attribute attribute) {
  const Driver& driver = call.driver;
  int value = 0;
  CUresult told = CUDA_ERROR_NOT_SUPPORTED;
  if (!is_kernel && driver.cuFuncGetAttribute != nullptr) {
    told = driver.cuFuncGetAttribute(&value, attribute, static_cast<CUfunction>(real));
  } else if (is_kernel && driver.cuKernelGetAttribute != nullptr) {
    told = driver.cuKernelGetAttribute(&value, attribute, static_cast<CUkernel>(real),
                                       current_device(call));
  }
  return told == CUDA_SUCCESS ? value : hand::kNoAttribute;
}

unsigned functions_max(Call& call) {
  CUmoduleLoadingMode mode = CU_MODULE_LAZY_LOADING;
  if (call.driver.cuModuleGetLoadingMode != nullptr) {
    (void)call.driver.cuModuleGetLoadingMode(&mode);
  }
  return mode == CU_MODULE_EAGER_LOADING ? kFunctionsEager : kFunctionsLazy;
}

// The names of all functions; none when there are too many or the driver cannot tell.
std::vector<const char*> names_of(Call& call, CUlibrary library) {
  const Driver& driver = call.driver;
  unsigned count = 0;
  std::array<CUkernel, kFunctionsEager> kernels{};
  std::vector<const char*> names;
  if (!driver.cuLibraryGetKernelCount || !driver.cuLibraryEnumerateKernels ||
      !driver.cuKernelGetName || !driver.cuLibraryGetKernel) {
    return names;
  }
  if (driver.cuLibraryGetKernelCount(&count, library) != CUDA_SUCCESS) return names;
  if (count > functions_max(call)) return names;
  if (driver.cuLibraryEnumerateKernels(kernels.data(), count, library) != CUDA_SUCCESS)
    return names;
  for (unsigned i = 0; i < count; ++i) {
    const char* name = nullptr;
    if (kernels[i] == nullptr) break;
    if (driver.cuKernelGetName(&name, kernels[i]) == CUDA_SUCCESS) names.push_back(name);
  }
  return names;
}

std::vector<const char*> names_of(Call& call, CUmodule module) {
  const Driver& driver = call.driver;
  unsigned count = 0;
  std::array<CUfunction, kFunctionsEager> functions{};
  std::vector<const char*> names;
  if (!driver.cuModuleGetFunctionCount || !driver.cuModuleEnumerateFunctions ||
      !driver.cuFuncGetName || !driver.cuModuleGetFunction) {
    return names;
  }
  if (driver.cuModuleGetFunctionCount(&count, module) != CUDA_SUCCESS) return names;
  if (count > functions_max(call)) return names;
  if (driver.cuModuleEnumerateFunctions(functions.data(), count, module) != CUDA_SUCCESS) {
    return names;
  }
  for (unsigned i = 0; i < count; ++i) {
    const char* name = nullptr;
    if (functions[i] == nullptr) break;
    if (driver.cuFuncGetName(&name, functions[i]) == CUDA_SUCCESS) names.push_back(name);
  }
  return names;
}

// The object that the client would get by asking for the name; null: it has to ask.
void* find(Call& call, void* owner, bool is_library, const char* name) {
  CUkernel kernel = nullptr;
  CUfunction function = nullptr;
  if (is_library) {
    CUresult found = call.driver.cuLibraryGetKernel(&kernel, static_cast<CUlibrary>(owner), name);
    return found == CUDA_SUCCESS ? kernel : nullptr;
  }
  CUresult found = call.driver.cuModuleGetFunction(&function, static_cast<CUmodule>(owner), name);
  return found == CUDA_SUCCESS ? function : nullptr;
}

bool put_named(Call& call, void* owner, bool is_library, std::uint64_t id, const char* name) {
  const std::size_t length = name == nullptr ? 0 : ::strnlen(name, limits::kStringBytesMax);
  if (length == 0 || length >= limits::kStringBytesMax) return false;
  void* real = find(call, owner, is_library, name);
  if (real == nullptr) return false;
  const std::size_t before = call.out.size();
  bool put = put_function(call, real, is_library, id);
  if (put) {
    call.out.put(static_cast<std::uint32_t>(length));
    call.out.bytes(name, length);
  }
  if (put && call.out.ok()) return true;
  call.out.rewind(before);
  return false;
}

}  // namespace

bool put_function(Call& call, void* real, bool is_kernel, std::uint64_t parent) {
  std::uint64_t id = call.handles.add(is_kernel ? Kind::kKernel : Kind::kFunction, real, parent);
  if (id == 0) return false;
  Functions::Layout layout = call.functions.layout(call.driver, id, real, is_kernel);
  hand::FunctionFacts facts{};
  facts.id = id;
  for (std::size_t i = 0; i < facts.attributes.size(); ++i) {
    facts.attributes[i] = attribute_of(call, real, is_kernel, static_cast<CUfunction_attribute>(i));
  }
  facts.param_count =
      layout->known ? static_cast<std::uint32_t>(layout->bytes.size()) : hand::kNoParams;
  call.out.put(facts);
  for (std::uint32_t bytes : layout->bytes) call.out.put(bytes);
  return true;
}

void put_functions(Call& call, void* owner, bool is_library, std::uint64_t id) {
  const std::span<std::byte> place = call.out.room(sizeof(std::uint32_t));
  if (place.empty()) return;
  std::uint32_t count = 0;
  // Without a context there is no device to ask about.
  if (owner != nullptr && call.thread.context_id != 0 && is_on(Switch::kFunctionFacts)) {
    const std::vector<const char*> names = is_library
                                               ? names_of(call, static_cast<CUlibrary>(owner))
                                               : names_of(call, static_cast<CUmodule>(owner));
    for (const char* name : names) count += put_named(call, owner, is_library, id, name) ? 1 : 0;
  }
  std::memcpy(place.data(), &count, sizeof count);
}

}  // namespace farcall::server
