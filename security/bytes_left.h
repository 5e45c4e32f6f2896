// BytesLeft: what of a message has not been read yet, for the parsers of this folder.
//
//   class Reader : public BytesLeft { … number() … };     // each format has its own numbers
//   if (!reader.is_done()) return malformed;
//
// Sticky: after the first byte that is not there nothing is.  Views into the message.  Threads:
// one.
#pragma once
#include <cstddef>
#include <span>

namespace farcall::security {

class BytesLeft {
 public:
  explicit BytesLeft(std::span<const std::byte> bytes) : left_(bytes) {}
  // All of them, or none and never any again.
  std::span<const std::byte> take(std::size_t bytes) {
    if (bad_ || bytes > left_.size()) {
      bad_ = true;
      return {};
    }
    const std::span<const std::byte> taken = left_.first(bytes);
    left_ = left_.subspan(bytes);
    return taken;
  }
  bool is_bad() const { return bad_; }
  bool is_done() const { return !bad_ && left_.empty(); }
  bool has_more() const { return !bad_ && !left_.empty(); }

 private:
  std::span<const std::byte> left_;
  bool bad_ = false;
};

}  // namespace farcall::security
