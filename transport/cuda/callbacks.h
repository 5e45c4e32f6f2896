// Callbacks<F>: the functions of one kind that a program has registered with its driver.
//
//   static Callbacks<CUlogsCallback> callbacks;
//   CUresult made = callbacks.add(function, data, 0, &handle);
//   callbacks.each([](CUlogsCallback function, void* data) { … });
//
// A handle is a number that is never used again, so one that is gone is told from a live one.
// Owner: whoever declares it.  Threads: any; functions are called without a lock held.
#pragma once
#include <algorithm>
#include <vector>

#include "transport/base/guarded.h"
#include "transport/base/program_limits.h"
#include "transport/cuda/cuda_abi.h"

namespace farcall::cuda {

template <class Function, class Handle>
class Callbacks {
 public:
  // of: what it is registered for, a device for instance.
  // Errors: CUDA_ERROR_INVALID_VALUE (null function), CUDA_ERROR_OUT_OF_MEMORY (too many).
  CUresult add(Function function, void* data, int of, Handle* handle) {
    if (function == nullptr) return CUDA_ERROR_INVALID_VALUE;
    auto state = state_.lock();
    if (state->entries.size() >= limits::kCallbacksMax) return CUDA_ERROR_OUT_OF_MEMORY;
    auto made = reinterpret_cast<Handle>(static_cast<std::uintptr_t>(++state->last * 16));
    state->entries.push_back({made, function, data, of});
    if (handle != nullptr) *handle = made;
    return CUDA_SUCCESS;
  }
  // Errors: CUDA_ERROR_INVALID_VALUE (no such registration).
  CUresult remove(Handle handle, int of) {
    auto state = state_.lock();
    auto is_it = [&](const Entry& each) { return each.handle == handle && each.of == of; };
    return std::erase_if(state->entries, is_it) == 0 ? CUDA_ERROR_INVALID_VALUE : CUDA_SUCCESS;
  }
  template <class Visit>
  void each(const Visit& visit) {
    std::vector<Entry> now = state_.lock()->entries;
    for (const Entry& entry : now) visit(entry.function, entry.data);
  }

 private:
  struct Entry {
    Handle handle;
    Function function;
    void* data;
    int of;
  };
  struct State {
    std::vector<Entry> entries;
    std::uintptr_t last = 0;
  };
  Guarded<State> state_;
};

}  // namespace farcall::cuda
