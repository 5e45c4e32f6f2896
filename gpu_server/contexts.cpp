#include "gpu_server/contexts.h"

#include <algorithm>

#include "transport/base/limits.h"

namespace farcall::server {
namespace {

// What this thread of ours has current, as far as we set it.
struct Current {
  const Contexts* owner = nullptr;
  std::uint64_t id = 0;
  std::uint64_t epoch = 0;
};
thread_local Current t_current;

}  // namespace

CUresult Contexts::open(unsigned server) {
  if (!primary_.empty()) return CUDA_SUCCESS;
  table_.mark(server);
  if (!driver_.cuInit || !driver_.cuDeviceGetCount) return CUDA_ERROR_NOT_SUPPORTED;
  if (CUresult done = driver_.cuInit(0); done != CUDA_SUCCESS) return done;
  int count = 0;
  if (CUresult done = driver_.cuDeviceGetCount(&count); done != CUDA_SUCCESS) return done;
  count = std::clamp(count, 0, static_cast<int>(limits::kDevicesMax));
  std::vector<std::uint64_t> ids;
  for (int device = 0; device < count; ++device) {
    Result<std::uint64_t> id = table_.reserve(Kind::kContext);
    if (!id.ok()) return CUDA_ERROR_OUT_OF_MEMORY;
    ids.push_back(id.value());
  }
  retained_.lock()->assign(ids.size(), nullptr);
  primary_ = std::move(ids);
  return CUDA_SUCCESS;
}

CUresult Contexts::context_of(std::uint64_t id, CUcontext* context) {
  *context = static_cast<CUcontext>(table_.find(Kind::kContext, id));
  if (*context != nullptr || id == 0) return CUDA_SUCCESS;
  auto found = std::find(primary_.begin(), primary_.end(), id);
  if (found == primary_.end()) return CUDA_SUCCESS;  // destroyed: the driver will say what is wrong
  CUresult retained = retain(static_cast<int>(found - primary_.begin()));
  *context = static_cast<CUcontext>(table_.find(Kind::kContext, id));
  return retained;
}

CUcontext Contexts::primary(int device) {
  if (device < 0 || device >= device_count()) return nullptr;
  return (*retained_.lock())[static_cast<std::size_t>(device)];
}

bool Contexts::is_primary(CUcontext context) {
  auto retained = retained_.lock();
  return std::find(retained->begin(), retained->end(), context) != retained->end();
}

void Contexts::note_view(CUcontext context) { views_.lock()->insert(context); }
void Contexts::forget_view(CUcontext context) { views_.lock()->erase(context); }
bool Contexts::is_view(CUcontext context) { return views_.lock()->contains(context); }

CUresult Contexts::bind(const ThreadState& thread) {
  std::uint64_t epoch = epoch_.load(std::memory_order_relaxed);
  if (t_current.owner == this && t_current.id == thread.context_id && t_current.epoch == epoch) {
    return CUDA_SUCCESS;
  }
  if (driver_.cuCtxSetCurrent == nullptr) return CUDA_ERROR_NOT_SUPPORTED;
  CUcontext context = nullptr;
  if (CUresult found = context_of(thread.context_id, &context); found != CUDA_SUCCESS) return found;
  if (CUresult set = driver_.cuCtxSetCurrent(context); set != CUDA_SUCCESS) return set;
  t_current = {this, thread.context_id, epoch};
  return CUDA_SUCCESS;
}

CUresult Contexts::retain(int device) {
  if (device < 0 || device >= device_count()) return CUDA_ERROR_INVALID_DEVICE;
  if (!driver_.cuDevicePrimaryCtxRetain) return CUDA_ERROR_NOT_SUPPORTED;
  auto retained = retained_.lock();
  CUcontext& mine = (*retained)[static_cast<std::size_t>(device)];
  if (mine != nullptr) return CUDA_SUCCESS;
  CUcontext context = nullptr;
  if (CUresult done = driver_.cuDevicePrimaryCtxRetain(&context, device); done != CUDA_SUCCESS) {
    return done;
  }
  mine = context;
  table_.fill(primary_id(device), context);
  return CUDA_SUCCESS;
}

CUresult Contexts::release(int device) {
  if (device < 0 || device >= device_count()) return CUDA_ERROR_INVALID_DEVICE;
  auto retained = retained_.lock();
  CUcontext& mine = (*retained)[static_cast<std::size_t>(device)];
  if (mine == nullptr) return CUDA_ERROR_INVALID_CONTEXT;
  mine = nullptr;
  table_.fill(primary_id(device), nullptr);
  forget_current();
  return driver_.cuDevicePrimaryCtxRelease_v2 ? driver_.cuDevicePrimaryCtxRelease_v2(device)
                                              : CUDA_ERROR_NOT_SUPPORTED;
}

void Contexts::release_all() {
  for (int device = 0; device < device_count(); ++device) (void)release(device);
}

void Contexts::was_reset(int device) {
  if (device < 0 || device >= device_count()) return;
  auto retained = retained_.lock();
  CUcontext context = (*retained)[static_cast<std::size_t>(device)];
  table_.fill(primary_id(device), nullptr);
  if (context != nullptr) table_.fill(primary_id(device), context);
  // What the client retains next the driver must hear of: until then it calls the context
  // destroyed. "Resetting the primary context does not release it" (cuda.h).
  if (context != nullptr && driver_.cuDevicePrimaryCtxRelease_v2 != nullptr) {
    (void)driver_.cuDevicePrimaryCtxRelease_v2(device);
  }
  (*retained)[static_cast<std::size_t>(device)] = nullptr;
  forget_current();
}

}  // namespace farcall::server
