// Scratch: memory for the arguments of one call on the server, wiped when the call is over.
//
//   Scratch scratch(buffer.bytes());              // a SecureBuffer, once per executor or waiter
//   auto* nodes = scratch.array<CUgraphNode>(n);  // zeroed; null when there is no room
//   scratch.clear();                              // after the call
//
// Bounded: a client can make a call hold at most this much.  Owner: borrows the memory.
// Threads: one.
#pragma once
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

#include "transport/base/secure_arena.h"

namespace farcall::api {

class Scratch {
 public:
  explicit Scratch(std::span<std::byte> room) : room_(room) {}
  ~Scratch() { clear(); }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;

  // `bytes` zeroed bytes, aligned for any CUDA struct; null when there is no room. bytes may be 0.
  void* take(std::size_t bytes) {
    std::size_t start = (used_ + kAlign - 1) / kAlign * kAlign;
    if (start > room_.size() || bytes > room_.size() - start) return nullptr;
    used_ = start + bytes;
    void* at = room_.data() + start;
    if (bytes != 0) std::memset(at, 0, bytes);
    return at;
  }
  template <class T>
  T* array(std::size_t count) {
    static_assert(alignof(T) <= kAlign);
    if (count > room_.size() / sizeof(T)) return nullptr;
    return static_cast<T*>(take(count * sizeof(T)));
  }
  void clear() {
    if (used_ != 0) wipe(room_.first(used_));
    used_ = 0;
  }

 private:
  static constexpr std::size_t kAlign = 128;  // CUtensorMap asks for it
  std::span<std::byte> room_;
  std::size_t used_ = 0;
};

}  // namespace farcall::api
