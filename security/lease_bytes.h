// The bytes of leases, of their lists and of manifests, put and taken with bounds checked; for the
// .cpp files of this folder.
//
//   Taken in(bytes);  auto serial = in.get<std::uint32_t>();  if (!in.done()) return malformed;
//
// Little endian. Sticky: after the first failure everything taken is empty.  Threads: one.
#pragma once
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "security/bytes_left.h"

namespace farcall::security {

static_assert(std::endian::native == std::endian::little, "numbers are copied, never swapped");

class Put {
 public:
  template <class T>
  void value(const T& value) {
    static_assert(std::is_trivially_copyable_v<T>);
    const auto bytes = std::as_bytes(std::span(&value, 1));
    bytes_.insert(bytes_.end(), bytes.begin(), bytes.end());
  }
  // At most 255 bytes, behind their number.
  void text(std::string_view text) {
    value(static_cast<std::uint8_t>(text.size()));
    const auto bytes = std::as_bytes(std::span(text.data(), text.size()));
    bytes_.insert(bytes_.end(), bytes.begin(), bytes.end());
  }
  // At most 65535 bytes, behind their number.
  void long_text(std::string_view text) {
    value(static_cast<std::uint16_t>(text.size()));
    bytes(std::as_bytes(std::span(text.data(), text.size())));
  }
  void bytes(std::span<const std::byte> bytes) {
    bytes_.insert(bytes_.end(), bytes.begin(), bytes.end());
  }
  std::vector<std::byte> take() { return std::move(bytes_); }

 private:
  std::vector<std::byte> bytes_;
};

class Taken : private BytesLeft {
 public:
  using BytesLeft::BytesLeft;
  template <class T>
  T get() {
    static_assert(std::is_trivially_copyable_v<T>);
    T value{};
    const auto bytes = take(sizeof(T));
    if (!bytes.empty()) std::memcpy(&value, bytes.data(), sizeof(T));
    return value;
  }
  std::string text() { return text_of(take(get<std::uint8_t>())); }
  std::string long_text() { return text_of(take(get<std::uint16_t>())); }
  bool failed() const { return is_bad(); }
  bool done() const { return is_done(); }

 private:
  static std::string text_of(std::span<const std::byte> bytes) {
    return std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  }
};

}  // namespace farcall::security
