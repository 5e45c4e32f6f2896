// HandleTable<T>: which opaque CUDA handles of one kind are alive.
//
//   CUevent handle = events.add<CUevent>(std::make_shared<Event>(context));
//   std::shared_ptr<Event> event = events.find(handle);     // null: never given out, or destroyed
//
// A handle is the object's address, so it costs no second number; but it is only ever looked up,
// never followed, because a program may pass anything. Objects are shared because a stream may
// still be working on one that the program has just destroyed.
// Owner: the driver state.  Threads: any.
#pragma once
#include <memory>
#include <unordered_map>
#include <utility>
#include <vector>

#include "transport/base/guarded.h"

namespace farcall::softgpu {

template <class T>
class HandleTable {
 public:
  template <class Handle>
  Handle add(std::shared_ptr<T> object) {
    void* key = object.get();
    live_.lock()->emplace(key, std::move(object));
    return reinterpret_cast<Handle>(key);
  }

  std::shared_ptr<T> find(const void* handle) {
    auto live = live_.lock();
    auto at = live->find(handle);
    return at == live->end() ? nullptr : at->second;
  }

  // Takes the handle out; the caller holds what may be the last reference.
  std::shared_ptr<T> remove(const void* handle) {
    auto live = live_.lock();
    auto at = live->find(handle);
    if (at == live->end()) return nullptr;
    std::shared_ptr<T> object = std::move(at->second);
    live->erase(at);
    return object;
  }

  // Visits a snapshot, so `visit` may use the table.
  template <class Visit>
  void for_each(Visit visit) {
    std::vector<std::shared_ptr<T>> all;
    {
      auto live = live_.lock();
      for (const auto& entry : *live) all.push_back(entry.second);
    }
    for (const auto& object : all) visit(*object);
  }

  // Takes out every object for which `chosen` holds. They die after the lock is released.
  template <class Chosen>
  std::vector<std::shared_ptr<T>> remove_if(Chosen chosen) {
    std::vector<std::shared_ptr<T>> taken;
    {
      auto live = live_.lock();
      for (auto at = live->begin(); at != live->end();) {
        if (!chosen(*at->second)) {
          ++at;
          continue;
        }
        taken.push_back(std::move(at->second));
        at = live->erase(at);
      }
    }
    return taken;
  }

 private:
  Guarded<std::unordered_map<const void*, std::shared_ptr<T>>> live_;
};

}  // namespace farcall::softgpu
