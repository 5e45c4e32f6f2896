#include "gpu_server/software_gpu/driver.h"

#include <pthread.h>
#include <sys/mman.h>

#include <cstdlib>

#include "gpu_server/software_gpu/checks.h"
#include "gpu_server/software_gpu/memory_calls.h"
#include "gpu_server/software_gpu/seen_devices.h"
#include "gpu_server/software_gpu/thread_state.h"
#include "transport/base/log.h"
#include "transport/cuda/context_storage.h"
#include "transport/cuda/private_tables.h"

namespace farcall::softgpu {
namespace {

// A child of fork has our memory but none of our threads, so it may not use the driver.
std::atomic<bool> g_in_fork_child{false};
thread_local bool t_in_host_function = false;

}  // namespace

Driver& driver() {
  static Driver* const only = new Driver;
  return *only;
}

CUresult Driver::start() {
  if (g_in_fork_child.load()) return CUDA_ERROR_NOT_INITIALIZED;
  auto outcome = outcome_.lock();
  if (*outcome == CUDA_ERROR_NOT_INITIALIZED) {
    *outcome = start_once();
    started_.store(*outcome == CUDA_SUCCESS, std::memory_order_release);
  }
  return *outcome;
}

CUresult Driver::start_once() {
  set_log_name("softgpu");
  log_from_environment(LogLevel::kOff);
  const Config config = Config::from(&::secure_getenv);
  start_checks(&::secure_getenv);
  const int seen = choose_seen_devices(config.devices, &::secure_getenv);
  if (seen == 0) return CUDA_ERROR_NO_DEVICE;
  for (int ordinal = 0; ordinal < seen; ++ordinal) {
    auto device = Device::create(ordinal, config);
    if (!device.ok()) {
      FARCALL_LOG_ERROR("device %d: %s", ordinal, device.status().to_string().c_str());
      devices_.clear();
      return CUDA_ERROR_OUT_OF_MEMORY;
    }
    contexts.add<CUcontext>(device.value()->primary_ptr());
    pools.add<CUmemoryPool>(device.value()->default_pool());
    devices_.push_back(std::move(device).value());
  }
  for (const auto& device : devices_) {
    std::vector<Memory*> others;
    for (const auto& other : devices_) {
      if (other != device) others.push_back(&other->memory());
    }
    device->memory().know(std::move(others));
  }
  pthread_atfork(nullptr, nullptr, [] { g_in_fork_child.store(true); });
  return CUDA_SUCCESS;
}

Device* Driver::device(CUdevice ordinal) {
  if (ordinal < 0 || ordinal >= device_count()) return nullptr;
  return devices_[static_cast<std::size_t>(ordinal)].get();
}

CUresult require_driver() {
  if (!driver().started() || g_in_fork_child.load(std::memory_order_relaxed)) {
    return CUDA_ERROR_NOT_INITIALIZED;
  }
  return t_in_host_function ? CUDA_ERROR_NOT_PERMITTED : CUDA_SUCCESS;
}

InHostFunction::InHostFunction() { t_in_host_function = true; }
InHostFunction::~InHostFunction() { t_in_host_function = false; }

CUresult require_view(Context** context) {
  *context = nullptr;
  if (CUresult failed = require_driver()) return failed;
  *context = this_thread().current();
  if (*context == nullptr) return CUDA_ERROR_INVALID_CONTEXT;
  return (*context)->status();
}

CUresult require_context(Context** context) {
  const CUresult found = require_view(context);
  if (*context != nullptr) *context = &(*context)->home();
  return found;
}

CUresult find_context(CUcontext handle, Context** context) {
  if (handle == nullptr) return require_context(context);
  if (CUresult failed = require_driver()) return failed;
  auto found = driver().contexts.find(handle);
  if (!found) return CUDA_ERROR_INVALID_CONTEXT;
  *context = found.get();
  return found->status();
}

CUresult find_stream(CUstream handle, std::shared_ptr<Stream>* stream) {
  if (handle == nullptr || handle == CU_STREAM_LEGACY || handle == CU_STREAM_PER_THREAD) {
    Context* context = nullptr;
    if (CUresult failed = require_view(&context)) return failed;
    *stream =
        handle == CU_STREAM_PER_THREAD ? this_thread().own_stream(*context) : context->legacy();
    return CUDA_SUCCESS;
  }
  if (CUresult failed = require_driver()) return failed;
  *stream = driver().streams.find(handle);
  if (!*stream) return CUDA_ERROR_INVALID_HANDLE;
  return (*stream)->context().status();
}

CUresult wait_turn(Stream& stream) {
  stream.context().wait_turn(stream);
  return stream.context().status();
}

void drop_module(const std::shared_ptr<Module>& module) {
  driver().modules.remove(module.get());
  driver().functions.remove_if([&](const Function& function) { return function.module == module; });
}

void drop_objects_of(Context& context) {
  Driver& all = driver();
  cuda::context_storage_reset(context.handle());
  all.kernels.for_each([&](LibraryKernel& kernel) { kernel.functions.lock()->erase(&context); });
  all.libraries.for_each([&](Library& library) { library.forget(context); });
  auto modules =
      all.modules.remove_if([&](const Module& module) { return &module.context() == &context; });
  for (const auto& module : modules) drop_module(module);
  all.streams.remove_if([&](const Stream& stream) { return &stream.context() == &context; });
  all.events.remove_if([&](const Event& event) { return &event.context() == &context; });
  all.image_objects.remove_all_of(context);
  all.mipmapped_arrays.remove_if(
      [&](const MipmappedArray& array) { return array.context == &context; });
  all.arrays.remove_if([&](const Array& array) { return array.context == &context; });
  GraphMemory::forget_all_of(context);
  for (const Allocation& left : all.addresses.remove_all_of(context)) {
    note_left(left);
    give_back(left);
  }
}

}  // namespace farcall::softgpu
