// Reader: takes values out of bytes a peer sent, and never reads past them.
//
//   Reader in(body);
//   auto address = in.get<std::uint64_t>();
//   auto name = in.bytes(in.get<std::uint32_t>());
//   if (!in.done()) return malformed;              // one check at the end is enough
//
// Sticky: after the first failure every get() is zero and every bytes() empty, so a decoder may run
// to its end and ask once.  Owner: borrows the bytes.  Threads: one.
// Never allocates, never copies a blob: bytes() points into the input.
#pragma once
#include <cstddef>
#include <cstring>
#include <span>
#include <type_traits>

namespace farcall::wire {

class Reader {
 public:
  explicit Reader(std::span<const std::byte> in) : in_(in) {}

  // The next sizeof(T) bytes; T{} when they are not there.
  template <class T>
  T get() {
    static_assert(std::is_trivially_copyable_v<T> && !std::is_pointer_v<T>,
                  "only values without pointers cross the wire");
    T value{};
    if (auto taken = bytes(sizeof(T)); !taken.empty()) {
      std::memcpy(static_cast<void*>(&value), taken.data(), sizeof(T));
    }
    return value;
  }
  // The next `count` bytes in place; empty and failed when there are fewer.
  std::span<const std::byte> bytes(std::size_t count) {
    if (failed_ || count > in_.size()) {
      failed_ = true;
      return {};
    }
    auto taken = in_.first(count);
    in_ = in_.subspan(count);
    return taken;
  }
  // Everything that is left; nothing after a failure.
  std::span<const std::byte> rest() { return bytes(failed_ ? 0 : in_.size()); }

  std::size_t left() const { return failed_ ? 0 : in_.size(); }
  bool done() const { return !failed_ && in_.empty(); }
  bool failed() const { return failed_; }
  // For a decoder that found a value out of range.
  void fail() { failed_ = true; }

 private:
  std::span<const std::byte> in_;
  bool failed_ = false;
};

}  // namespace farcall::wire
