// Writer: puts values into a buffer of fixed size, which someone else owns and wipes.
//
//   Writer out(record.room());
//   out.put(address);
//   out.put(static_cast<std::uint32_t>(name.size()));
//   out.bytes(name.data(), name.size());
//   if (!out.ok()) return too_long;                // one check at the end is enough
//
// Sticky: what does not fit is not written at all, and nothing after it either; size() then says
// nothing useful.  Owner: borrows the buffer.  Threads: one.
// Never allocates: tenant bytes must not be left behind in a grown and freed vector.
#pragma once
#include <cstddef>
#include <cstring>
#include <span>
#include <type_traits>

namespace farcall::wire {

class Writer {
 public:
  explicit Writer(std::span<std::byte> out) : out_(out) {}

  template <class T>
  void put(const T& value) {
    static_assert(std::is_trivially_copyable_v<T> && !std::is_pointer_v<T>,
                  "only values without pointers cross the wire");
    bytes(&value, sizeof(T));
  }
  void bytes(const void* from, std::size_t count) {
    if (auto to = room(count); !to.empty()) std::memcpy(to.data(), from, count);
  }
  // Reserves the next `count` bytes for the caller to fill; empty when they do not fit.
  std::span<std::byte> room(std::size_t count) {
    if (failed_ || count > out_.size() - used_) {
      failed_ = true;
      return {};
    }
    auto taken = out_.subspan(used_, count);
    used_ += count;
    return taken;
  }

  // Takes back what was written after the first `count` bytes, and the failure with it: for a reply
  // that turns out not to fit and is replaced by an error.
  void rewind(std::size_t count) {
    if (count <= used_) used_ = count;
    failed_ = false;
  }

  std::size_t size() const { return used_; }
  std::size_t left() const { return failed_ ? 0 : out_.size() - used_; }
  std::span<const std::byte> view() const { return out_.first(used_); }
  bool ok() const { return !failed_; }
  void fail() { failed_ = true; }

 private:
  std::span<std::byte> out_;
  std::size_t used_ = 0;
  bool failed_ = false;
};

}  // namespace farcall::wire
