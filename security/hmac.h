// HMAC-SHA-256 of a text that comes in pieces.
//
//   Result<Hmac> mac = Hmac::make(key);
//   mac->add(first);  mac->add(second);
//   std::array<std::byte, Hmac::kBytes> tag;
//   FARCALL_TRY(mac->finish(tag));
//
// Owner: values, move-only; the key is wiped with the object.  Threads: one.
// Source: RFC 2104.
#pragma once
#include <array>
#include <cstddef>
#include <memory>
#include <span>

#include "transport/base/status.h"

struct evp_mac_ctx_st;

namespace farcall::security {

class Hmac {
 public:
  static constexpr std::size_t kBytes = 32;
  // Errors: kSystem when the library refuses.
  static Result<Hmac> make(std::span<const std::byte> key);

  // A failure shows in finish().
  void add(std::span<const std::byte> text);
  // Once.  Errors: kSystem.
  Status finish(std::span<std::byte, kBytes> out);

 private:
  struct Free {
    void operator()(evp_mac_ctx_st* context) const;
  };
  using Context = std::unique_ptr<evp_mac_ctx_st, Free>;
  explicit Hmac(Context context) : context_(std::move(context)) {}
  Context context_;
  bool failed_ = false;
};

}  // namespace farcall::security
