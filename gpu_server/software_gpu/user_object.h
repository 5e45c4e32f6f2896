// UserObject: something of the program's that lives as long as the graphs that use it, and a
// function that ends it.
//
//   object->retain(2);  object->release(1);      // the last one calls the destructor
//
// Owner: whoever holds references, and the handle table as long as there are any.
// Threads: any; the destructor runs on the thread that gives the last reference back.
#pragma once
#include <atomic>
#include <map>
#include <memory>

#include "transport/cuda/cuda_abi.h"

namespace farcall::softgpu {

class UserObject {
 public:
  UserObject(void* object, CUhostFn destroy, unsigned references)
      : object_(object), destroy_(destroy), references_(references) {}
  void retain(std::uint64_t count) { references_.fetch_add(count); }
  // False: there are fewer.
  bool release(std::uint64_t count);

 private:
  void* const object_;
  const CUhostFn destroy_;
  std::atomic<std::uint64_t> references_;
};

// The references that one graph holds. Copies hold as many again.
class UserReferences {
 public:
  UserReferences() = default;
  UserReferences(const UserReferences& other);
  UserReferences& operator=(const UserReferences&) = delete;
  ~UserReferences();
  // These references are the graph's from now on.
  void take(const std::shared_ptr<UserObject>& object, std::uint64_t count);
  // Errors: CUDA_ERROR_INVALID_VALUE when it has fewer.
  CUresult release(const std::shared_ptr<UserObject>& object, std::uint64_t count);

 private:
  std::map<std::shared_ptr<UserObject>, std::uint64_t> held_;
};

}  // namespace farcall::softgpu
