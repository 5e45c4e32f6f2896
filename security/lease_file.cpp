#include "security/lease_file.h"

#include <algorithm>
#include <array>

#include "security/armour.h"
#include "security/file.h"
#include "security/lease_bytes.h"

namespace farcall::security {
namespace {

constexpr const char* kLeaseArmour = "FARCALL LEASE";
constexpr const char* kRevokedArmour = "FARCALL REVOKED LEASES";
constexpr std::array<char, 4> kMagic = {'F', 'C', 'L', 'R'};
constexpr std::uint8_t kVersion = 1;
constexpr std::size_t kKeyIdAt = kMagic.size() + 1;

bool is_before(const RevokedLeases::Entry& entry, const LeaseId& id) { return entry.id < id; }

}  // namespace

Result<std::vector<LeaseBytes>> load_leases(const std::string& path) {
  auto file = ArmourReader::open(path, kLeaseArmour);
  if (!file.ok()) return file.status();
  std::vector<LeaseBytes> all;
  for (LeaseBytes token; file->next(&token);) {
    if (all.size() == limits::kLeasesPerFileMax) {
      return Status(Code::kOverQuota, path + " holds more than " +
                                          std::to_string(limits::kLeasesPerFileMax) + " leases");
    }
    all.push_back(std::move(token));
  }
  if (!all.empty()) return all;
  return Status(Code::kDenied, path +
                                   " holds no lease: farcall lease issue, or the scheduler, "
                                   "writes one");
}

Status save_lease(std::span<const std::byte> token, const std::string& path) {
  Result<std::string> text = armoured(kLeaseArmour, token);
  if (!text.ok()) return text.status();
  return write_new_file(path, bytes_of(text.value()), 0644);
}

bool RevokedLeases::holds(const LeaseId& id) const {
  const auto at = std::lower_bound(entries.begin(), entries.end(), id, is_before);
  return at != entries.end() && at->id == id;
}

void RevokedLeases::add(const Entry& entry) {
  const auto at = std::lower_bound(entries.begin(), entries.end(), entry.id, is_before);
  if (at == entries.end() || at->id != entry.id) {
    entries.insert(at, entry);
  } else {
    at->until = std::max(at->until, entry.until);
  }
}

Status RevokedLeases::forget_before(std::int64_t now_s) {
  std::erase_if(entries, [now_s](const Entry& entry) { return entry.until <= now_s; });
  if (entries.size() <= limits::kRevokedLeasesMax) return ok();
  return {Code::kOverQuota, "more than " + std::to_string(limits::kRevokedLeasesMax) +
                                " leases are revoked and have not expired yet; take their key "
                                "from the servers' --lease-keys instead"};
}

Result<std::vector<std::byte>> sign_revoked(RevokedLeases list, const LeaseKey& key) {
  if (list.entries.size() > limits::kRevokedLeasesMax) {
    return Status(Code::kUnsupported, "a list of that many revoked leases");
  }
  Put out;
  out.value(kMagic);
  out.value(kVersion);
  out.value(key.id());
  out.value(list.number);
  out.value(static_cast<std::uint16_t>(list.entries.size()));
  for (const RevokedLeases::Entry& entry : list.entries) {
    out.value(entry.id.bytes);
    out.value(entry.until);
  }
  std::vector<std::byte> bytes = out.take();
  FARCALL_TRY(key.sign(kRevokedLabel, &bytes));
  return bytes;
}

Result<RevokedLeases> read_revoked(std::span<const std::byte> bytes) {
  const Status malformed(Code::kMalformed, "this is no list of revoked leases of this version");
  if (bytes.size() < kSignatureBytes) return malformed;
  Taken in(bytes.first(bytes.size() - kSignatureBytes));
  const bool is_list =
      in.get<std::array<char, 4>>() == kMagic && in.get<std::uint8_t>() == kVersion;
  RevokedLeases list;
  list.key_id = in.get<LeaseKeyId>();
  list.number = in.get<std::uint32_t>();
  const auto count = in.get<std::uint16_t>();
  if (!is_list || in.failed() || count > limits::kRevokedLeasesMax) return malformed;
  for (std::size_t i = 0; i < count; ++i) {
    RevokedLeases::Entry entry;
    entry.id.bytes = in.get<std::array<std::byte, 16>>();
    entry.until = in.get<std::int64_t>();
    if (in.failed() || (i != 0 && !(list.entries.back().id < entry.id))) return malformed;
    list.entries.push_back(entry);
  }
  if (!in.done()) return malformed;
  return list;
}

Result<RevokedLeases> verify_revoked(std::span<const std::byte> bytes, const LeaseKeys& keys) {
  if (bytes.size() < kKeyIdAt + sizeof(LeaseKeyId) + kSignatureBytes) return read_revoked({});
  LeaseKeyId id;
  std::copy_n(bytes.begin() + kKeyIdAt, id.size(), id.begin());
  FARCALL_TRY(keys.check(kRevokedLabel, id, bytes));
  return read_revoked(bytes);
}

Result<RevokedLeases> load_revoked(const std::string& path, const LeaseKeys& keys) {
  auto file = ArmourReader::open(path, kRevokedArmour);
  if (!file.ok()) return file.status();
  std::vector<std::byte> bytes;
  if (!file->next(&bytes)) {
    return Status(Code::kDenied, path +
                                     " holds no list of revoked leases: farcall lease revoke "
                                     "writes one");
  }
  Result<RevokedLeases> list = verify_revoked(bytes, keys);
  if (list.ok()) return list;
  return Status(list.status().code(), path + ": " + list.status().text());
}

Status save_revoked(std::span<const std::byte> list, const std::string& path) {
  Result<std::string> text = armoured(kRevokedArmour, list);
  if (!text.ok()) return text.status();
  return replace_file(path, bytes_of(text.value()), 0644);
}

}  // namespace farcall::security
