// Modules, libraries, and the functions in them. Bodies: transport/api/hand.h.
#include <algorithm>
#include <array>
#include <cstring>

#include "gpu_server/functions.h"
#include "gpu_server/jit_options.h"
#include "gpu_server/rows.h"
#include "transport/api/hand.h"
#include "transport/api/load.h"
#include "transport/api/rows.h"
#include "transport/base/secure_arena.h"
#include "transport/cuda/image.h"

namespace farcall::server {
namespace {

namespace hand = api::hand;
namespace row = api::row;

constexpr std::size_t kImageTrustBytes = std::size_t{64} << 20;

Status fill(BulkIn& bulk, std::span<std::byte> room) {
  while (!room.empty()) {
    std::size_t bytes = std::min(room.size(), limits::kCopyChunkBytes);
    FARCALL_TRY(bulk.read(room.first(bytes)));
    room = room.subspan(bytes);
  }
  return ok();
}

// The payload as an image a driver can load. A client that announces much gets much memory only
// once it has sent kImageTrustBytes of it.
Result<cuda::UnpackedImage> receive_image(Call& call) {
  std::uint64_t announced = call.bulk.left();
  if (announced == 0) return Status(Code::kMalformed, "an image of no bytes");
  if (announced > limits::kModuleBytesMax) {
    return Status(Code::kOverQuota, "the image is longer than any module may be");
  }
  auto total = static_cast<std::size_t>(announced);
  std::size_t first_bytes = std::min(total, kImageTrustBytes);
  Result<SecureBuffer> first = SecureBuffer::make(first_bytes);
  if (!first.ok()) return first.status();
  FARCALL_TRY(fill(call.bulk, first.value().bytes()));
  if (first_bytes == total) return cuda::unpack_image(std::move(first).value());
  Result<SecureBuffer> whole = SecureBuffer::make(total);
  if (!whole.ok()) return whole.status();
  std::memcpy(whole.value().data(), first.value().data(), first_bytes);
  first = SecureBuffer();
  FARCALL_TRY(fill(call.bulk, whole.value().bytes().subspan(first_bytes)));
  return cuda::unpack_image(std::move(whole).value());
}

// Status, id and both logs: this reply has the same shape whether the driver took the image or not.
Verdict answer_load(Call& call, CUresult status, std::uint64_t id, const JitOptions& options) {
  call.out.put(static_cast<std::uint32_t>(status));
  call.out.put(id);
  for (std::span<const char> log : {options.info_log(), options.error_log()}) {
    call.out.put(static_cast<std::uint32_t>(log.size()));
    call.out.bytes(log.data(), log.size());
  }
  return Verdict::kAnswered;
}

// Reads the whole body. False: malformed. A library has two options: a table of host functions,
// which means nothing here, and the promise that the image stays where it is, which was the
// client's to make and does not bind us.
bool load_request(Call& call, bool is_library, JitOptions& options) {
  auto head = call.in.get<hand::LoadImage>();
  if (call.in.failed() || (call.head.flags & wire::kBulkFollows) == 0) return false;
  if (head.option_count > hand::kLoadOptionsMax) return false;
  if (head.library_option_count > (is_library ? hand::kLoadOptionsMax : 0)) return false;
  for (std::uint32_t i = 0; i < head.option_count; ++i) {
    auto each = call.in.get<hand::LoadOption>();
    options.add(static_cast<CUjit_option>(each.option), each.value);
  }
  for (std::uint32_t i = 0; i < head.library_option_count; ++i) {
    auto each = call.in.get<hand::LoadOption>();
    if (each.option != CU_LIBRARY_BINARY_IS_PRESERVED) options.refuse();
  }
  return call.in.done();
}

Verdict module_load(Call& call) {
  JitOptions options;
  if (!load_request(call, false, options)) return Verdict::kMalformed;
  if (options.refused()) return answer_load(call, CUDA_ERROR_INVALID_VALUE, 0, options);
  auto image = receive_image(call);
  if (!image.ok()) return answer_load(call, CUDA_ERROR_INVALID_IMAGE, 0, options);
  if (call.driver.cuModuleLoadDataEx == nullptr) {
    return answer_load(call, CUDA_ERROR_NOT_SUPPORTED, 0, options);
  }
  CUmodule module = nullptr;
  CUresult done = call.driver.cuModuleLoadDataEx(&module, image.value().image(), options.count(),
                                                 options.names(), options.values());
  options.finish();
  if (done != CUDA_SUCCESS) return answer_load(call, done, 0, options);
  std::uint64_t id = call.handles.add(Kind::kModule, module, 0);
  return answer_load(call, id != 0 ? CUDA_SUCCESS : CUDA_ERROR_OUT_OF_MEMORY, id, options);
}

Verdict library_load(Call& call) {
  JitOptions options;
  if (!load_request(call, true, options)) return Verdict::kMalformed;
  if (options.refused()) return answer_load(call, CUDA_ERROR_INVALID_VALUE, 0, options);
  auto image = receive_image(call);
  if (!image.ok()) return answer_load(call, CUDA_ERROR_INVALID_IMAGE, 0, options);
  if (call.driver.cuLibraryLoadData == nullptr) {
    return answer_load(call, CUDA_ERROR_NOT_SUPPORTED, 0, options);
  }
  CUlibrary library = nullptr;
  CUresult done =
      call.driver.cuLibraryLoadData(&library, image.value().image(), options.names(),
                                    options.values(), options.count(), nullptr, nullptr, 0);
  options.finish();
  if (done != CUDA_SUCCESS) return answer_load(call, done, 0, options);
  std::uint64_t id = call.handles.add(Kind::kLibrary, library, 0);
  return answer_load(call, id != 0 ? CUDA_SUCCESS : CUDA_ERROR_OUT_OF_MEMORY, id, options);
}

// --- functions -----------------------------------------------------------------------------------

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

// -1 when the driver cannot tell.
int attribute_of(Call& call, void* real, bool is_kernel, CUfunction_attribute attribute) {
  const Driver& driver = call.driver;
  int value = -1;
  CUresult told = CUDA_ERROR_NOT_SUPPORTED;
  if (!is_kernel && driver.cuFuncGetAttribute != nullptr) {
    told = driver.cuFuncGetAttribute(&value, attribute, static_cast<CUfunction>(real));
  } else if (is_kernel && driver.cuKernelGetAttribute != nullptr) {
    CUdevice device = 0;
    bool current = driver.cuCtxGetDevice && driver.cuCtxGetDevice(&device) == CUDA_SUCCESS;
    told = driver.cuKernelGetAttribute(&value, attribute, static_cast<CUkernel>(real),
                                       current ? device : 0);
  }
  return told == CUDA_SUCCESS ? value : -1;
}

// FunctionFacts: what the client needs to launch without asking again.
Verdict answer_function(Call& call, void* real, bool is_kernel, std::uint64_t parent) {
  std::uint64_t id = call.handles.add(is_kernel ? Kind::kKernel : Kind::kFunction, real, parent);
  if (id == 0) return call.status(CUDA_ERROR_OUT_OF_MEMORY);
  Functions::Layout layout = call.functions.layout(call.driver, id, real, is_kernel);
  auto attribute = [&](CUfunction_attribute which) {
    return static_cast<std::int32_t>(attribute_of(call, real, is_kernel, which));
  };
  hand::FunctionFacts facts{
      .id = id,
      .max_threads = attribute(CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK),
      .static_shared_bytes = attribute(CU_FUNC_ATTRIBUTE_SHARED_SIZE_BYTES),
      .max_dynamic_shared_bytes = attribute(CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES),
      .param_count =
          layout->known ? static_cast<std::uint32_t>(layout->bytes.size()) : hand::kNoParams};
  call.status(CUDA_SUCCESS);
  call.out.put(facts);
  for (std::uint32_t bytes : layout->bytes) call.out.put(bytes);
  return Verdict::kAnswered;
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

std::span<const HandRow> hand_module_rows() {
  // A driver may compile for seconds: nobody else's calls wait for that.
  static const HandRow rows[] = {
      {waiting(row::cuModuleLoadData::info()), module_load, true},
      {waiting(row::cuLibraryLoadData::info()), library_load, true},
      {row::cuModuleGetFunction::info(), module_get_function},
      {row::cuLibraryGetKernel::info(), library_get_kernel},
      {row::cuKernelGetFunction::info(), kernel_get_function},
  };
  return rows;
}

}  // namespace farcall::server
