// Contexts, and the code that is loaded into them.
#include <limits>

#include "gpu_server/ledger_driver.h"
#include "gpu_server/ledger_image.h"
#include "transport/cuda/direct_memory.h"

namespace farcall::server {

// A driver whose device memory the CPU reaches has nothing else on the device: it is the CPU's.
std::uint64_t LedgerDriver::context_bytes() {
  const void* table = nullptr;
  const bool is_own = real_.cuGetExportTable != nullptr &&
                      real_.cuGetExportTable(&table, &cuda::kDirectMemoryId) == CUDA_SUCCESS &&
                      table != nullptr;
  return is_own ? 0 : limits::kContextBytes;
}

namespace {

Held context_on(LedgerDriver& meter, CUdevice device) {
  Held held;
  held.device = device;
  held.memory_bytes = meter.context_bytes();
  return held;
}

void context_ended(CUcontext context) { LedgerDriver::get().forget_context(context); }

std::uint64_t times(std::uint64_t a, std::uint64_t b) {
  std::uint64_t all = 0;
  return __builtin_mul_overflow(a, b, &all) ? std::numeric_limits<std::uint64_t>::max() : all;
}

// What a limit of a context costs on its device.
std::uint64_t limit_bytes(const LedgerDriver& meter, CUlimit limit, std::size_t value) {
  const auto attribute = [&](CUdevice_attribute which) -> std::uint64_t {
    int number = 0;
    const auto ask = meter.real().cuDeviceGetAttribute;
    if (ask == nullptr || ask(&number, which, meter.device()) != CUDA_SUCCESS) return 1;
    return number > 0 ? static_cast<std::uint64_t>(number) : 1;
  };
  constexpr std::uint64_t kPendingLaunchBytes = 1024;
  switch (limit) {
    case CU_LIMIT_MALLOC_HEAP_SIZE:
    case CU_LIMIT_PRINTF_FIFO_SIZE: return charged_bytes(value);
    case CU_LIMIT_STACK_SIZE:
      return charged_bytes(times(times(value, attribute(CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT)),
                                 attribute(CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_MULTIPROCESSOR)));
    case CU_LIMIT_DEV_RUNTIME_PENDING_LAUNCH_COUNT: return times(value, kPendingLaunchBytes);
    default: return 0;  // granularities and caches
  }
}

// What loading an image takes of the current device.
Held code_of(LedgerDriver& meter, const void* image) {
  int major = 0;
  int minor = 0;
  if (meter.real().cuDeviceGetAttribute != nullptr) {
    const auto ask = [&](CUdevice_attribute which, int* value) {
      (void)meter.real().cuDeviceGetAttribute(value, which, meter.device());
    };
    ask(CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, &major);
    ask(CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR, &minor);
  }
  const ImageNeed need =
      image_need(image, static_cast<unsigned>(major * 10 + minor), meter.has_memory_limit());
  Held held;
  held.device = meter.device();
  held.memory_bytes = need.memory_bytes;
  held.image_bytes = need.image_bytes;
  return held;
}

// Gives back what was charged for code, provided the driver lets it go.
template <class Unload>
CUresult unload(HeldKind kind, std::uint64_t name, const Unload& unload) {
  LedgerDriver& meter = LedgerDriver::get();
  std::optional<Held> held = meter.take(kind, name);
  CUresult done = unload(meter.real());
  if (held && done == CUDA_SUCCESS) meter.give_back(*held);
  if (held && done != CUDA_SUCCESS) meter.keep(kind, name, *held);
  return done;
}

}  // namespace

namespace metered {

CUresult cuCtxCreate_v2(CUcontext* context, unsigned flags, CUdevice device) {
  LedgerDriver& meter = LedgerDriver::get();
  Held held = context_on(meter, device);
  Claim claim(meter, held);
  if (!claim.is_granted()) return CUDA_ERROR_OUT_OF_MEMORY;
  CUresult done = meter.real().cuCtxCreate_v2(context, flags, device);
  if (done != CUDA_SUCCESS) return done;
  claim.release();
  held.context = *context;
  meter.keep(HeldKind::kContext, name_of(*context), held);
  return done;
}

CUresult cuCtxDestroy_v2(CUcontext context) {
  CUresult done = LedgerDriver::get().real().cuCtxDestroy_v2(context);
  if (done == CUDA_SUCCESS) context_ended(context);
  return done;
}

CUresult cuDevicePrimaryCtxRetain(CUcontext* context, CUdevice device) {
  LedgerDriver& meter = LedgerDriver::get();
  const bool is_first = (*meter.primaries().lock())[device].retains == 0;
  Held held = context_on(meter, device);
  if (!is_first) held.memory_bytes = 0;
  Claim claim(meter, held);
  if (!claim.is_granted()) return CUDA_ERROR_OUT_OF_MEMORY;
  CUresult done = meter.real().cuDevicePrimaryCtxRetain(context, device);
  if (done != CUDA_SUCCESS) return done;
  auto primaries = meter.primaries().lock();
  LedgerDriver::Primary& primary = (*primaries)[device];
  ++primary.retains;
  primary.context = *context;
  claim.release();
  held.context = *context;
  if (is_first) meter.keep(HeldKind::kContext, name_of(*context), held);
  return done;
}

CUresult cuDevicePrimaryCtxRelease_v2(CUdevice device) {
  LedgerDriver& meter = LedgerDriver::get();
  CUresult done = meter.real().cuDevicePrimaryCtxRelease_v2(device);
  if (done != CUDA_SUCCESS) return done;
  CUcontext ended = nullptr;
  {
    auto primaries = meter.primaries().lock();
    LedgerDriver::Primary& primary = (*primaries)[device];
    if (primary.retains > 0 && --primary.retains == 0) std::swap(ended, primary.context);
  }
  context_ended(ended);
  return done;
}

CUresult cuDevicePrimaryCtxReset_v2(CUdevice device) {
  LedgerDriver& meter = LedgerDriver::get();
  CUresult done = meter.real().cuDevicePrimaryCtxReset_v2(device);
  if (done != CUDA_SUCCESS) return done;
  context_ended((*meter.primaries().lock())[device].context);
  return done;
}

// A limit set again replaces what it was: only the larger of both is there at any time, and while
// nobody knows which the driver has, both are charged.
CUresult cuCtxSetLimit(CUlimit limit, std::size_t value) {
  LedgerDriver& meter = LedgerDriver::get();
  Held held;
  held.context = meter.context();
  held.device = meter.device();
  // Drivers take what is too much for the most there is: without a limit of ours that is theirs to
  // say.
  if (meter.has_memory_limit()) held.memory_bytes = limit_bytes(meter, limit, value);
  const std::uint64_t name = name_of(held.context) + 1 + static_cast<unsigned>(limit);
  Claim claim(meter, held);
  if (!claim.is_granted()) return CUDA_ERROR_OUT_OF_MEMORY;
  CUresult done = meter.real().cuCtxSetLimit(limit, value);
  if (done != CUDA_SUCCESS) return done;
  if (std::optional<Held> before = meter.take(HeldKind::kContext, name)) meter.give_back(*before);
  claim.keep(HeldKind::kContext, name);
  return done;
}

CUresult cuModuleLoadDataEx(CUmodule* module, const void* image, unsigned count,
                            CUjit_option* options, void** values) {
  LedgerDriver& meter = LedgerDriver::get();
  Held held = code_of(meter, image);
  held.context = meter.context();
  Claim claim(meter, held);
  if (!claim.is_granted()) return CUDA_ERROR_OUT_OF_MEMORY;
  CUresult done = meter.real().cuModuleLoadDataEx(module, image, count, options, values);
  if (done == CUDA_SUCCESS) claim.keep(HeldKind::kModule, name_of(*module));
  return done;
}

CUresult cuModuleUnload(CUmodule module) {
  return unload(HeldKind::kModule, name_of(module),
                [&](const api::Driver& real) { return real.cuModuleUnload(module); });
}

CUresult cuLibraryLoadData(CUlibrary* library, const void* image, CUjit_option* options,
                           void** values, unsigned count, CUlibraryOption* library_options,
                           void** library_values, unsigned library_count) {
  LedgerDriver& meter = LedgerDriver::get();
  Claim claim(meter, code_of(meter, image));
  if (!claim.is_granted()) return CUDA_ERROR_OUT_OF_MEMORY;
  CUresult done = meter.real().cuLibraryLoadData(library, image, options, values, count,
                                                 library_options, library_values, library_count);
  if (done == CUDA_SUCCESS) claim.keep(HeldKind::kLibrary, name_of(*library));
  return done;
}

CUresult cuLibraryUnload(CUlibrary library) {
  return unload(HeldKind::kLibrary, name_of(library),
                [&](const api::Driver& real) { return real.cuLibraryUnload(library); });
}

CUresult cuLinkAddData_v2(CUlinkState link, CUjitInputType type, void* data, std::size_t bytes,
                          const char* name, unsigned count, CUjit_option* options, void** values) {
  LedgerDriver& meter = LedgerDriver::get();
  Held held;
  held.image_bytes = bytes;
  Claim claim(meter, held);
  if (!claim.is_granted()) return CUDA_ERROR_OUT_OF_MEMORY;
  CUresult done =
      meter.real().cuLinkAddData_v2(link, type, data, bytes, name, count, options, values);
  claim.release();  // a link that failed keeps what it was given until it is destroyed
  if (std::optional<Held> before = meter.take(HeldKind::kLink, name_of(link))) {
    held.image_bytes += before->image_bytes;
  }
  meter.keep(HeldKind::kLink, name_of(link), held);
  return done;
}

CUresult cuLinkDestroy(CUlinkState link) {
  return unload(HeldKind::kLink, name_of(link),
                [&](const api::Driver& real) { return real.cuLinkDestroy(link); });
}

}  // namespace metered
}  // namespace farcall::server
