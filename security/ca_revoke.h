// Revoking: the authority's side of deny_list.h.
//
//   Revocation gone{.serial = who.serial, .at = now, .reason = "key-compromise"};
//   Result<std::string> list = add_to_deny_list(issuing.value(), before, std::span(&gone, 1), 30);
//   FARCALL_TRY(replace_file("ca/deny.crl", …));
//
// Owner: plain values.  Threads: any.
#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "security/ca.h"
#include "transport/base/status.h"

namespace farcall::security {

// A list is good for this long unless told otherwise: until then everything that it must hold has
// expired by itself. A server that starts with an older one is refused service by its own file.
inline constexpr int kDenyListDays = kLeafDaysMax;

struct Revocation {
  std::string serial;   // hexadecimal, as PeerIdentity has it
  std::int64_t at = 0;  // Unix seconds
  std::string reason;   // one of revocation_reasons(); empty: none given
};
// "key-compromise", "superseded", …: RFC 5280's in words.
const std::vector<std::string>& revocation_reasons();

// A new list of `authority` for the file whose text was `before` (empty: there was none): what it
// denied until now and `more`; the lists of other authorities stay as they are. Entries are left
// out once whatever they deny has expired; a root keeps its own for ever, because authorities live
// long.
//   days  the list is good for, 1 … kCaDays
// Errors: kDenied (`before` is damaged or not of this authority's key, `authority` is none),
// kUnsupported (serial, reason, days), kOverQuota (too many), kSystem.
Result<std::string> add_to_deny_list(const IssuedIdentity& authority, const std::string& before,
                                     std::span<const Revocation> more, int days = kDenyListDays);

}  // namespace farcall::security
