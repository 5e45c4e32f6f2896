#include "security/lease_token.h"

#include <algorithm>
#include <ctime>
#include <string_view>

#include "security/crypto.h"
#include "security/lease_bytes.h"
#include "security/lease_keys.h"
#include "security/x509.h"

namespace farcall::security {
namespace {

constexpr std::array<char, 4> kMagic = {'F', 'C', 'L', 'T'};
constexpr std::uint8_t kVersion = 1;
constexpr std::size_t kKeyIdAt = kMagic.size() + 1;

Status malformed(const std::string& what) {
  return {Code::kMalformed, "this is no lease token of this version: " + what};
}

bool is_purpose(std::string_view text) {
  return text.size() <= limits::kLeasePurposeBytesMax &&
         std::all_of(text.begin(), text.end(), [](char c) { return c >= 0x20 && c <= 0x7e; });
}

// A number, or what UUIDs of devices are written with.
bool is_device(std::string_view text) {
  return !text.empty() && text.size() <= limits::kTokenDeviceBytesMax &&
         std::all_of(text.begin(), text.end(), [](char c) {
           return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
                  c == '-';
         });
}

bool are_devices(const std::vector<std::string>& devices) {
  if (devices.size() > limits::kTokenDevicesMax) return false;
  for (std::size_t i = 0; i < devices.size(); ++i) {
    if (!is_device(devices[i])) return false;
    // CUDA shows no device at all where one is named twice.
    if (std::count(devices.begin(), devices.end(), devices[i]) != 1) return false;
  }
  return true;
}

// What is wrong with a token, or null.
const char* wrong_field(const LeaseToken& lease) {
  if (lease.serial == 0) return "serial";
  if (!is_identity_word(lease.pool)) return "pool";
  if (!is_identity_word(lease.tenant)) return "tenant";
  if (!is_identity_word(lease.user)) return "user";
  if (!lease.role.empty() && !is_identity_word(lease.role)) return "role";
  if (!lease.project.empty() && !is_identity_word(lease.project)) return "project";
  if (!is_identity_word(lease.server)) return "server";
  if (!lease.zone.empty() && !is_identity_word(lease.zone)) return "zone";
  if (!is_purpose(lease.purpose)) return "purpose";
  if (!are_devices(lease.devices)) return "devices";
  if (lease.compute_percent < 1 || lease.compute_percent > 100) return "compute share";
  if (lease.sessions == 0) return "sessions";
  if ((lease.families & 1) == 0) return "families";
  if (lease.cipher_floor < CipherFloor::kAes128Gcm || lease.cipher_floor > CipherFloor::kAes256Gcm)
    return "cipher floor";
  if (lease.data_class < DataClass::kPublic || lease.data_class > DataClass::kRestricted)
    return "data class";
  const bool is_span = lease.not_before >= 0 && lease.not_before < lease.expires &&
                       lease.expires <= INT64_MAX / 4 &&
                       lease.expires - lease.not_before <= limits::kLeaseSecondsMax;
  return is_span ? nullptr : "times";
}

std::vector<std::byte> encode(const LeaseToken& lease) {
  Put out;
  out.value(kMagic);
  out.value(kVersion);
  out.value(lease.key_id);
  out.value(lease.id.bytes);
  out.value(lease.serial);
  out.value(lease.holder);
  out.value(lease.not_before);
  out.value(lease.expires);
  out.value(lease.memory_bytes);
  out.value(lease.image_bytes);
  out.value(lease.in_flight_bytes);
  out.value(lease.threads);
  out.value(lease.handles);
  out.value(lease.families);
  out.value(lease.sessions);
  out.value(lease.compute_percent);
  out.value(static_cast<std::uint8_t>(lease.cipher_floor));
  out.value(static_cast<std::uint8_t>(lease.data_class));
  for (const std::string* word : {&lease.pool, &lease.tenant, &lease.user, &lease.role,
                                  &lease.project, &lease.server, &lease.zone, &lease.purpose}) {
    out.text(*word);
  }
  out.value(static_cast<std::uint8_t>(lease.devices.size()));
  for (const std::string& device : lease.devices) out.text(device);
  return out.take();
}

}  // namespace

LeaseId make_lease_id() {
  LeaseId id;
  fill_random(id.bytes);
  return id;
}

std::string to_string(const LeaseId& id) { return to_hex(id.bytes); }

Result<LeaseId> parse_lease_id(std::string_view text) {
  LeaseId id;
  constexpr std::string_view kDigits = "0123456789abcdef";
  bool good = text.size() == 2 * id.bytes.size();
  for (std::size_t i = 0; good && i < text.size(); ++i) {
    const std::size_t digit = kDigits.find(text[i]);
    good = digit != std::string_view::npos;
    if (good) id.bytes[i / 2] = (id.bytes[i / 2] << 4) | static_cast<std::byte>(digit);
  }
  if (good) return id;
  return Status(Code::kUnsupported, "a lease's id is 32 hexadecimal digits: farcall lease show");
}

const char* name_of(CipherFloor floor) {
  return floor == CipherFloor::kAes128Gcm ? "aes-128-gcm" : "aes-256-gcm";
}

const char* name_of(DataClass data_class) {
  switch (data_class) {
    case DataClass::kPublic: return "public";
    case DataClass::kInternal: return "internal";
    case DataClass::kConfidential: return "confidential";
    default: return "restricted";
  }
}

Result<LeaseBytes> sign_lease(LeaseToken lease, const LeaseKey& key) {
  lease.key_id = key.id();
  if (const char* wrong = wrong_field(lease)) {
    return Status(Code::kUnsupported, std::string("no lease can have these ") + wrong);
  }
  LeaseBytes token = encode(lease);
  FARCALL_TRY(key.sign(kLeaseLabel, &token));
  if (token.size() > limits::kLeaseBytesMax) {
    return Status(Code::kUnsupported, "the lease's texts are too long in all");
  }
  return token;
}

Result<LeaseToken> read_lease(std::span<const std::byte> token) {
  if (token.size() > limits::kLeaseBytesMax) return malformed("too long");
  if (token.size() < kSignatureBytes) return malformed("cut short");
  Taken in(token.first(token.size() - kSignatureBytes));
  if (in.get<std::array<char, 4>>() != kMagic) return malformed("it begins with something else");
  if (in.get<std::uint8_t>() != kVersion) return malformed("it is of another version");
  LeaseToken lease;
  lease.key_id = in.get<LeaseKeyId>();
  lease.id.bytes = in.get<std::array<std::byte, 16>>();
  lease.serial = in.get<std::uint32_t>();
  lease.holder = in.get<KeyHash>();
  lease.not_before = in.get<std::int64_t>();
  lease.expires = in.get<std::int64_t>();
  lease.memory_bytes = in.get<std::uint64_t>();
  lease.image_bytes = in.get<std::uint64_t>();
  lease.in_flight_bytes = in.get<std::uint64_t>();
  lease.threads = in.get<std::uint32_t>();
  lease.handles = in.get<std::uint32_t>();
  lease.families = in.get<std::uint64_t>();
  lease.sessions = in.get<std::uint16_t>();
  lease.compute_percent = in.get<std::uint8_t>();
  lease.cipher_floor = static_cast<CipherFloor>(in.get<std::uint8_t>());
  lease.data_class = static_cast<DataClass>(in.get<std::uint8_t>());
  for (std::string* word : {&lease.pool, &lease.tenant, &lease.user, &lease.role, &lease.project,
                            &lease.server, &lease.zone, &lease.purpose}) {
    *word = in.text();
  }
  const auto devices = in.get<std::uint8_t>();
  if (devices > limits::kTokenDevicesMax) return malformed("more devices than a lease can have");
  for (std::size_t i = 0; i < devices; ++i) lease.devices.push_back(in.text());
  if (in.failed()) return malformed("cut short");
  if (!in.done()) return malformed("more bytes than it says");
  if (const char* wrong = wrong_field(lease)) {
    return malformed(std::string("no lease can have these ") + wrong);
  }
  return lease;
}

// The signature first: what it does not cover is not looked at any further.
Result<LeaseToken> verify_lease(std::span<const std::byte> token, const LeaseKeys& keys) {
  if (token.size() > limits::kLeaseBytesMax) return malformed("too long");
  if (token.size() < kKeyIdAt + sizeof(LeaseKeyId) + kSignatureBytes) return malformed("cut short");
  LeaseKeyId id;
  std::copy_n(token.begin() + kKeyIdAt, id.size(), id.begin());
  FARCALL_TRY(keys.check(kLeaseLabel, id, token));
  return read_lease(token);
}

Status check_use(const LeaseToken& lease, const LeaseUse& use) {
  const auto denied = [](const std::string& why) { return Status(Code::kDenied, why); };
  if (lease.pool != use.pool) {
    return denied("the lease is for pool " + lease.pool + ", this is pool " + use.pool);
  }
  if (lease.server != use.server) {
    return denied("the lease is for server " + lease.server + ", this is " + use.server +
                  "; ask for a lease of this server, or dial that one");
  }
  if (lease.tenant != use.who.tenant || lease.user != use.who.user) {
    return denied("the lease is user " + lease.user + "'s of tenant " + lease.tenant +
                  ", the certificate user " + use.who.user + "'s of tenant " + use.who.tenant +
                  "; use the certificate that the lease was issued for");
  }
  if (lease.holder != use.key) {
    return denied(
        "the lease was issued for another certificate of this user: it holds for one private key; "
        "use that one, or ask for a lease for this certificate");
  }
  if (use.now_s < lease.not_before) {
    return denied("the lease is not valid before " + time_text(lease.not_before) +
                  ", and the server's clock says " + time_text(use.now_s) +
                  "; wait, or set the clocks right");
  }
  if (use.now_s >= lease.expires) {
    return denied("the lease has expired at " + time_text(lease.expires) +
                  ", and the server's clock says " + time_text(use.now_s) + "; ask for a new one");
  }
  if (!lease.zone.empty() && lease.zone != use.zone) {
    return denied("the lease is for zone " + lease.zone + ", this server is in " +
                  (use.zone.empty() ? "none that it knows of" : "zone " + use.zone));
  }
  return ok();
}

std::string time_text(std::int64_t unix_seconds) {
  const std::time_t when = static_cast<std::time_t>(unix_seconds);
  std::tm parts{};
  std::array<char, 40> text{};
  if (::gmtime_r(&when, &parts) == nullptr) return "a time out of all calendars";
  std::strftime(text.data(), text.size(), "%Y-%m-%d %H:%M:%S UTC", &parts);
  return text.data();
}

Result<KeyHash> key_hash_of(const std::string& certificate_path) {
  Result<SecureBuffer> pem = read_file(certificate_path);
  if (!pem.ok()) return pem.status();
  Result<X509Ptr> certificate = parse_certificate(pem->bytes(), certificate_path);
  if (!certificate.ok()) return certificate.status();
  return hash_of_key(certificate.value().get());
}

}  // namespace farcall::security
