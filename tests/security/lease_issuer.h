// LeaseIssuer: a key pair in a folder of its own and leases of it, gone when it dies.
//
//   LeaseIssuer issuer;
//   LeaseBytes token = issuer.sign(LeaseIssuer::sample());
//   Result<LeaseToken> proven = verify_lease(token, issuer.keys());
//
// Threads: one.
#pragma once
#include <doctest/doctest.h>

#include <array>
#include <cstdlib>
#include <filesystem>
#include <optional>
#include <string>

#include "security/lease_file.h"
#include "security/lease_keys.h"
#include "security/lease_token.h"

namespace farcall::testing {

class LeaseIssuer {
 public:
  static constexpr std::int64_t kStart = 1'800'000'000;  // of the sample's hour

  LeaseIssuer() {
    std::array<char, 64> pattern{"/tmp/farcall-lease-XXXXXX"};
    REQUIRE(::mkdtemp(pattern.data()) != nullptr);
    folder_ = pattern.data();
    REQUIRE(security::make_lease_key(path("lease.key"), path("lease.pub")).ok());
    auto key = security::LeaseKey::load(path("lease.key"));
    REQUIRE_MESSAGE(key.ok(), key.status().to_string());
    key_.emplace(std::move(key).value());
    auto keys = security::LeaseKeys::load(path("lease.pub"));
    REQUIRE_MESSAGE(keys.ok(), keys.status().to_string());
    keys_.emplace(std::move(keys).value());
  }
  ~LeaseIssuer() {
    std::error_code ignored;
    std::filesystem::remove_all(folder_, ignored);
  }
  LeaseIssuer(const LeaseIssuer&) = delete;
  LeaseIssuer& operator=(const LeaseIssuer&) = delete;

  // An hour of server gpu1 for ann of acme, as tests/security/test_pool.h has them.
  static security::LeaseToken sample() {
    security::LeaseToken lease;
    lease.id = security::make_lease_id();
    lease.serial = 7;
    lease.pool = "lab";
    lease.tenant = "acme";
    lease.user = "ann";
    lease.role = "user";
    lease.project = "vision";
    lease.server = "gpu1";
    lease.purpose = "train, then test";
    lease.holder.fill(std::byte{0x5a});
    lease.devices = {"0", "GPU-66617263-616c-6c2d-736f-66746770751f"};
    lease.memory_bytes = std::uint64_t{20} << 30;
    lease.image_bytes = 3;
    lease.in_flight_bytes = 4;
    lease.threads = 5;
    lease.handles = 6;
    lease.compute_percent = 30;
    lease.sessions = 4;
    lease.families = 0x1234567;
    lease.data_class = security::DataClass::kConfidential;
    lease.not_before = kStart;
    lease.expires = kStart + 3600;
    return lease;
  }

  security::LeaseBytes sign(const security::LeaseToken& lease) const {
    auto token = security::sign_lease(lease, *key_);
    REQUIRE_MESSAGE(token.ok(), token.status().to_string());
    return std::move(token).value();
  }
  // Writes list `number` of revoked leases to revoked.leases.
  void revoke(std::uint32_t number, const std::vector<security::LeaseId>& ids) const {
    security::RevokedLeases list;
    list.number = number;
    for (const security::LeaseId& id : ids) list.add({id, kStart + 10 * 86'400});
    auto bytes = security::sign_revoked(list, *key_);
    REQUIRE(bytes.ok());
    REQUIRE(security::save_revoked(bytes.value(), path("revoked.leases")).ok());
  }

  const security::LeaseKey& key() const { return *key_; }
  const security::LeaseKeys& keys() const { return *keys_; }
  std::string path(const std::string& file) const { return folder_ + "/" + file; }
  const std::string& folder() const { return folder_; }

 private:
  std::string folder_;
  std::optional<security::LeaseKey> key_;
  std::optional<security::LeaseKeys> keys_;
};

}  // namespace farcall::testing
