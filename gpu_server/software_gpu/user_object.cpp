#include "gpu_server/software_gpu/user_object.h"

#include "gpu_server/software_gpu/driver.h"

namespace farcall::softgpu {

bool UserObject::release(std::uint64_t count) {
  std::uint64_t now = references_.load();
  do {
    if (count > now) return false;
  } while (!references_.compare_exchange_weak(now, now - count));
  if (now != count) return true;
  auto last = driver().user_objects.remove(this);
  destroy_(object_);
  return true;
}

UserReferences::UserReferences(const UserReferences& other) : held_(other.held_) {
  for (const auto& [object, count] : held_) object->retain(count);
}

UserReferences::~UserReferences() {
  for (const auto& [object, count] : held_) object->release(count);
}

void UserReferences::take(const std::shared_ptr<UserObject>& object, std::uint64_t count) {
  held_[object] += count;
}

CUresult UserReferences::release(const std::shared_ptr<UserObject>& object, std::uint64_t count) {
  auto at = held_.find(object);
  if (at == held_.end() || at->second < count) return CUDA_ERROR_INVALID_VALUE;
  at->second -= count;
  if (at->second == 0) held_.erase(at);
  object->release(count);
  return CUDA_SUCCESS;
}

}  // namespace farcall::softgpu
