// LeaseToken: who may use what of which server, for how long; signed, and checked by the server
// without asking anyone.
//
//   LeaseToken lease;  lease.tenant = "acme";  …
//   Result<LeaseBytes> token = sign_lease(lease, key);                 // the issuer
//   Result<LeaseToken> proven = verify_lease(token.value(), keys);     // the server
//   FARCALL_TRY(check_use(proven.value(), {.who = …, .server = "gpu1", .now_s = …}));
//
// A token is no secret: it is bound to the public key of its holder's certificate, so that it is
// of no use to anyone without that private key. It is bound to the key and not to the certificate,
// because a certificate that is renewed with its key keeps the lease; and not to the name alone,
// because then every machine of that user could use it.
// The bytes are on one page in security/README.md. One token has one encoding: what parses encodes
// to the same bytes.  Threads: plain values.  Parsers take hostile bytes.
#pragma once
#include <array>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "security/identity.h"
#include "transport/base/limits_token.h"
#include "transport/base/status.h"

namespace farcall::security {

class LeaseKey;
class LeaseKeys;

using LeaseBytes = std::vector<std::byte>;
using KeyHash = std::array<std::byte, 32>;    // SHA-256 of a SubjectPublicKeyInfo
using LeaseKeyId = std::array<std::byte, 8>;  // the first bytes of the same, of an issuer's key

struct LeaseId {
  std::array<std::byte, 16> bytes{};  // random
  friend auto operator<=>(const LeaseId&, const LeaseId&) = default;
};
LeaseId make_lease_id();
std::string to_string(const LeaseId& id);  // 32 hexadecimal digits
// Errors: kUnsupported for anything else.
Result<LeaseId> parse_lease_id(std::string_view text);

// What the records of a session must be sealed with at least. Server and client choose above it,
// and each has a floor of its own: gpu_server/traffic_policy.h.
enum class CipherFloor : std::uint8_t { kAes128Gcm = 1, kAes256Gcm = 2 };
// From kConfidential on, payloads are not compressed: sizes would tell how well they pack.
enum class DataClass : std::uint8_t { kPublic = 1, kInternal, kConfidential, kRestricted };
const char* name_of(CipherFloor floor);
const char* name_of(DataClass data_class);

struct LeaseToken {
  LeaseId id;
  std::uint32_t serial = 1;  // of this token of the lease; a renewal has a higher one
  // Identity words. These may be empty: role, project, zone.
  std::string pool;
  std::string tenant;
  std::string user;
  std::string role;
  std::string project;
  std::string server;   // the host in its certificate's identity
  std::string zone;     // where the server must be
  std::string purpose;  // printable, at most limits::kLeasePurposeBytesMax; may be empty
  KeyHash holder{};
  // As CUDA_VISIBLE_DEVICES names them: numbers or whole UUIDs. Empty: all the server offers.
  std::vector<std::string> devices;
  // All sessions of the lease together; 0: no limit of the lease's own.
  std::uint64_t memory_bytes = 0;      // of each device
  std::uint64_t image_bytes = 0;       // of code loaded at a time
  std::uint64_t in_flight_bytes = 0;   // of host memory for copies under way
  std::uint8_t compute_percent = 100;  // 1 … 100, of each device
  std::uint16_t sessions = 1;          // client processes at a time, at least 1
  // Each session; 0: no limit of the lease's own.
  std::uint32_t threads = 0;
  std::uint32_t handles = 0;
  // Bit n: calls whose number has the high byte n (transport/api). Bit 0, the session, is needed.
  std::uint64_t families = ~std::uint64_t{0};
  CipherFloor cipher_floor = CipherFloor::kAes256Gcm;
  DataClass data_class = DataClass::kInternal;
  std::int64_t not_before = 0;  // Unix seconds
  std::int64_t expires = 0;     // Unix seconds; the first at which it does not hold any more
  LeaseKeyId key_id{};          // whose signature it is; filled in by sign_lease

  friend bool operator==(const LeaseToken&, const LeaseToken&) = default;
};

// Errors: kUnsupported with the field that is wrong, kSystem.
Result<LeaseBytes> sign_lease(LeaseToken lease, const LeaseKey& key);

// What a token says, signature unseen: for its holder to read and to choose by, never to believe.
// Errors: kMalformed.
Result<LeaseToken> read_lease(std::span<const std::byte> token);

// What it says, once the signature of one of `keys` was found good.
// Errors: kMalformed, kDenied (unknown key, or changed since it was signed).
Result<LeaseToken> verify_lease(std::span<const std::byte> token, const LeaseKeys& keys);

// Where and by whom a token is used.
struct LeaseUse {
  const PeerIdentity& who;  // proven by its certificate
  const KeyHash& key;       // of that certificate
  std::string pool;         // of the server
  std::string server;
  std::string zone;        // of the server; empty: none is known
  std::int64_t now_s = 0;  // Unix seconds
};
// May it be used so, now?  Errors: kDenied with the cause and what to do.
Status check_use(const LeaseToken& lease, const LeaseUse& use);

std::string time_text(std::int64_t unix_seconds);  // "2026-11-27 14:05:09 UTC"

// SHA-256 of the public key of a PEM certificate.  Errors: as describe_certificate.
Result<KeyHash> key_hash_of(const std::string& certificate_path);

}  // namespace farcall::security
