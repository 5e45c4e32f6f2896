// The functions in modules and libraries. Bodies: transport/api/hand.h.
#include <cstring>

#include "gpu_server/function_facts.h"
#include "gpu_server/rows.h"
#include "transport/api/load.h"
#include "transport/api/rows.h"

namespace farcall::server {
namespace {

namespace row = api::row;

// {u32 bytes, name} with a NUL behind it; null: malformed.
const char* load_name(Call& call) {
  auto bytes = call.in.get<std::uint32_t>();
  if (bytes > limits::kStringBytesMax) return nullptr;
  auto text = call.in.bytes(bytes);
  auto* name = static_cast<char*>(call.scratch.take(bytes + std::size_t{1}));
  if (name == nullptr || call.in.failed()) return nullptr;
  if (!text.empty()) std::memcpy(name, text.data(), text.size());
  return name;
}

// Status, FunctionFacts, sizes.
Verdict answer_function(Call& call, void* real, bool is_kernel, std::uint64_t parent) {
  call.status(CUDA_SUCCESS);
  if (put_function(call, real, is_kernel, parent)) return Verdict::kAnswered;
  call.out.rewind(0);
  return call.status(CUDA_ERROR_OUT_OF_MEMORY);
}

Verdict module_get_function(Call& call) {
  api::Load load{call.in, call.handles, call.scratch};
  std::uint64_t id = 0;
  auto* module = static_cast<CUmodule>(load.object(Kind::kModule, &id));
  const char* name = load_name(call);
  if (name == nullptr || !call.in.done()) return Verdict::kMalformed;
  if (load.refused != CUDA_SUCCESS) return call.status(load.refused);
  if (call.driver.cuModuleGetFunction == nullptr) return call.status(CUDA_ERROR_NOT_SUPPORTED);
  CUfunction function = nullptr;
  CUresult done = call.driver.cuModuleGetFunction(&function, module, name);
  return done != CUDA_SUCCESS ? call.status(done) : answer_function(call, function, false, id);
}

Verdict library_get_kernel(Call& call) {
  api::Load load{call.in, call.handles, call.scratch};
  std::uint64_t id = 0;
  auto* library = static_cast<CUlibrary>(load.object(Kind::kLibrary, &id));
  const char* name = load_name(call);
  if (name == nullptr || !call.in.done()) return Verdict::kMalformed;
  if (load.refused != CUDA_SUCCESS) return call.status(load.refused);
  if (call.driver.cuLibraryGetKernel == nullptr) return call.status(CUDA_ERROR_NOT_SUPPORTED);
  CUkernel kernel = nullptr;
  CUresult done = call.driver.cuLibraryGetKernel(&kernel, library, name);
  return done != CUDA_SUCCESS ? call.status(done) : answer_function(call, kernel, true, id);
}

Verdict kernel_get_function(Call& call) {
  api::Load load{call.in, call.handles, call.scratch};
  std::uint64_t id = 0;
  auto* kernel = static_cast<CUkernel>(load.object(Kind::kKernel, &id));
  if (!call.in.done()) return Verdict::kMalformed;
  if (load.refused != CUDA_SUCCESS) return call.status(load.refused);
  if (call.driver.cuKernelGetFunction == nullptr) return call.status(CUDA_ERROR_NOT_SUPPORTED);
  CUfunction function = nullptr;
  CUresult done = call.driver.cuKernelGetFunction(&function, kernel);
  return done != CUDA_SUCCESS ? call.status(done) : answer_function(call, function, false, id);
}

}  // namespace

std::span<const HandRow> hand_function_rows() {
  static const HandRow rows[] = {
      {row::cuModuleGetFunction::info(), module_get_function},
      {row::cuLibraryGetKernel::info(), library_get_kernel},
      {row::cuKernelGetFunction::info(), kernel_get_function},
  };
  return rows;
}

}  // namespace farcall::server
