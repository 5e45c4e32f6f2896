// Files of leases: tokens as their holder keeps them, and the list of those that were taken back.
//
//   Result<std::vector<LeaseBytes>> tokens = load_leases("job.lease");
//   Result<RevokedLeases> list = load_revoked("revoked.leases", keys);
//   if (list->holds(lease.id)) …
//
// PEM armour around the bytes: a file of several tokens is made with cat. A list is signed as
// tokens are, and counts up, so that an older one cannot take the place of a newer one.
// Files of leases are not secret (lease_token.h) and may have any mode.
// Owner: plain values.  Threads: any.  Parsers take hostile bytes.
#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "security/lease_keys.h"
#include "security/lease_token.h"
#include "transport/base/status.h"

namespace farcall::security {

// At least one.  Errors: kNotFound, kDenied (no token in it), kOverQuota (more than
// limits::kLeasesPerFileMax).
Result<std::vector<LeaseBytes>> load_leases(const std::string& path);
// Errors: kDenied when the file exists, kSystem.
Status save_lease(std::span<const std::byte> token, const std::string& path);

struct RevokedLeases {
  struct Entry {
    LeaseId id;
    std::int64_t until = 0;  // Unix seconds, from which on the list may forget it
    friend bool operator==(const Entry&, const Entry&) = default;
  };
  std::uint32_t number = 0;    // of this list; grows with each that is written
  std::vector<Entry> entries;  // by id, each once
  LeaseKeyId key_id{};         // filled in by sign_revoked

  bool holds(const LeaseId& id) const;
  // Keeps the later `until` of a lease that is there already.
  void add(const Entry& entry);
  // Errors: kOverQuota when more than limits::kRevokedLeasesMax are left.
  Status forget_before(std::int64_t now_s);
};
// Errors: kUnsupported (more than fits), kSystem.
Result<std::vector<std::byte>> sign_revoked(RevokedLeases list, const LeaseKey& key);
// What a list says, signature unseen.  Errors: kMalformed.
Result<RevokedLeases> read_revoked(std::span<const std::byte> bytes);
// Errors: kMalformed, kDenied.
Result<RevokedLeases> verify_revoked(std::span<const std::byte> bytes, const LeaseKeys& keys);

// Errors: kNotFound, kDenied, kMalformed.
Result<RevokedLeases> load_revoked(const std::string& path, const LeaseKeys& keys);
// Replaces the file in one step.  Errors: kSystem.
Status save_revoked(std::span<const std::byte> list, const std::string& path);

}  // namespace farcall::security
