// Unique<T, close>: sole owner of a small handle such as a file descriptor.
//
//   Fd listener(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
//   if (!listener) return Status::system("socket");
//   pass_on(listener.release());
//
// Threads: external lock.  Never closes the empty value, never closes twice.
#pragma once
#include <unistd.h>

#include <utility>

namespace farcall {

template <class T, auto kClose, T kEmpty>
class Unique {
 public:
  Unique() = default;
  explicit Unique(T held) : held_(held) {}
  Unique(Unique&& other) noexcept : held_(other.release()) {}
  Unique& operator=(Unique&& other) noexcept {
    if (this != &other) reset(other.release());
    return *this;
  }
  ~Unique() { reset(); }
  T get() const { return held_; }
  T release() { return std::exchange(held_, kEmpty); }
  void reset(T next = kEmpty) {
    if (T old = std::exchange(held_, next); old != kEmpty) kClose(old);
  }
  explicit operator bool() const { return held_ != kEmpty; }

 private:
  T held_ = kEmpty;
};

using Fd = Unique<int, ::close, -1>;

}  // namespace farcall
