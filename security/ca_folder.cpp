#include "security/ca_folder.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <ctime>
#include <filesystem>

#include "security/ca_index_archive.h"
#include "security/ca_parts.h"
#include "security/deny_list.h"
#include "security/file.h"
#include "transport/base/limits_identity.h"

namespace farcall::security {
namespace {

bool exists(const std::string& path) { return ::access(path.c_str(), F_OK) == 0; }

const Issued* find(const std::vector<Issued>& all, const std::string& serial) {
  const auto at = std::find_if(all.begin(), all.end(),
                               [&](const Issued& one) { return one.who.serial == serial; });
  return at == all.end() ? nullptr : &*at;
}

}  // namespace

Status CaFolder::create(const std::string& folder, const Plan& plan, KeyStorePtr keys) {
  const CaFolder made(folder, std::move(keys));
  if (::mkdir(folder.c_str(), 0700) != 0 && errno != EEXIST) {
    return Status::system("make " + folder);
  }
  Result<Fd> held = made.lock();
  if (!held.ok()) return held.status();
  const Pair at = made.root_pair();
  if (exists(at.certificate)) {  // before a key is made that nobody can take back
    return {Code::kDenied, at.certificate + " exists already; move it away first"};
  }
  Result<std::shared_ptr<HeldKey>> key = made.key_at(plan.keys.root, plan.keys.existing);
  if (!key.ok()) return key.status();
  Result<IssuedIdentity> root =
      create_ca({.pool = plan.pool, .days = plan.days, .key = std::move(key).value()});
  if (!root.ok()) return root.status();
  FARCALL_TRY(save_new_pair(root.value(), plan.keys.root, at));
  if (!plan.issuing) return ok();
  key = made.key_at(plan.keys.issuing, plan.keys.existing);
  if (!key.ok()) return key.status();
  Result<IssuedIdentity> issuing =
      create_issuing(root.value(), kIssuingDays, std::move(key).value());
  if (!issuing.ok()) return issuing.status();
  FARCALL_TRY(save_new_pair(issuing.value(), plan.keys.issuing,
                            {folder + "/issuing.crt", folder + "/issuing.key"}));
  Result<PeerIdentity> who = who_in(issuing->certificate_pem);
  if (!who.ok()) return who.status();
  FARCALL_TRY(made.note(IndexEvent::kIssued, who.value(), ""));
  return made.record({.kind = audit::kCertificateIssue, .who = &who.value()});
}

Result<CaFolder> CaFolder::open(const std::string& folder, KeyStorePtr keys) {
  CaFolder ca(folder, std::move(keys));
  if (exists(ca.root_path())) return ca;
  return Status(Code::kNotFound, "no authority in " + folder +
                                     ": make one with 'farcall ca init --dir " + folder + "'");
}

CaFolder::Pair CaFolder::issuing_pair() const {
  const std::string certificate = folder_ + "/issuing.crt";
  if (exists(certificate)) return {certificate, folder_ + "/issuing.key"};
  return root_pair();
}

std::vector<CaFolder::Pair> CaFolder::former_pairs() const {
  std::vector<Pair> pairs;
  std::error_code none;  // of a folder without predecessors
  for (const auto& entry : std::filesystem::directory_iterator(folder_ + "/former", none)) {
    const std::filesystem::path& path = entry.path();
    if (path.extension() != ".crt") continue;
    pairs.push_back({path.string(), std::filesystem::path(path).replace_extension(".key")});
  }
  return pairs;
}

std::vector<CaFolder::Pair> CaFolder::all_pairs() const {
  std::vector<Pair> pairs = former_pairs();
  pairs.insert(pairs.begin(), issuing_pair());
  pairs.push_back(root_pair());
  return pairs;
}

Result<IssuedIdentity> CaFolder::issuing() const { return load_pair(issuing_pair()); }

Result<std::string> CaFolder::key_id_of(const Pair& at) const {
  Result<CertificateFacts> facts = describe_certificate(at.certificate);
  if (!facts.ok()) return facts.status();
  return facts->key_id;
}

Result<IssuedIdentity> CaFolder::authority(const std::string& key_id) const {
  for (const Pair& at : all_pairs()) {
    Result<std::string> its = key_id_of(at);
    if (!its.ok()) return its.status();
    if (its.value() == key_id) return load_pair(at);
  }
  return Status(Code::kNotFound, "no authority in " + folder_ +
                                     " issued this certificate (its issuer's key is " + key_id +
                                     "); give the folder of the one that did with --dir");
}

Result<std::vector<IssuedIdentity>> CaFolder::authorities(
    const std::set<std::string>& key_ids) const {
  std::vector<IssuedIdentity> all;
  for (const std::string& key_id : key_ids) {
    Result<IssuedIdentity> one = authority(key_id);
    if (!one.ok()) return one.status();
    all.push_back(std::move(one).value());
  }
  return all;
}

Result<Fd> CaFolder::lock() const {
  const std::string path = folder_ + "/lock";
  Fd fd(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  if (!fd) return Status::system("open " + path);
  while (::flock(fd.get(), LOCK_EX) != 0) {
    if (errno != EINTR) return Status::system("lock " + path);
  }
  return fd;
}

Status CaFolder::note(IndexEvent event, const PeerIdentity& who, const std::string& note) const {
  return append_to_index(index_path(), {std::time(nullptr), event, who, note});
}

Result<IssuedIdentity> CaFolder::issue(const LeafOptions& options) const {
  Result<Fd> held = lock();
  if (!held.ok()) return held.status();
  return issue_now(options);
}

Result<IssuedIdentity> CaFolder::issue_now(const LeafOptions& options) const {
  Result<IssuedIdentity> by = issuing();
  if (!by.ok()) return by;
  Result<IssuedIdentity> issued = security::issue(by.value(), options);
  if (!issued.ok()) return issued;
  Result<PeerIdentity> who = who_in(issued->certificate_pem);
  if (!who.ok()) return who.status();
  if (Status noted = note(IndexEvent::kIssued, who.value(), ""); !noted.ok()) return noted;
  Status recorded = record({.kind = audit::kCertificateIssue, .who = &who.value()});
  if (!recorded.ok()) return recorded;
  return issued;
}

Result<IssuedIdentity> CaFolder::renew(const std::string& certificate_path, int days,
                                       bool new_key) const {
  Result<std::string> former = read_text(certificate_path, kPemBytesMax);
  if (!former.ok()) return former.status();
  return renew({.certificate_pem = former.value(), .signers = {}, .days = days, .new_key = new_key},
               certificate_path);
}

Result<IssuedIdentity> CaFolder::renew(RenewOptions how, const std::string& name) const {
  Result<Fd> held = lock();
  if (!held.ok()) return held.status();
  Result<PeerIdentity> before = who_in(how.certificate_pem);
  if (!before.ok()) return before.status();
  Result<std::vector<Issued>> all = issued();
  if (!all.ok()) return all.status();
  if (const Issued* known = find(all.value(), before->serial); known && known->revoked_at != 0) {
    return Status(Code::kDenied, name + " was revoked on " + date_text(known->revoked_at) +
                                     "; if its holder may have one again, issue one");
  }
  for (const Pair& at : all_pairs()) {
    Result<std::string> signer = read_text(at.certificate, kPemBytesMax);
    if (!signer.ok()) return signer.status();
    how.signers.push_back(std::move(signer).value());
  }
  Result<IssuedIdentity> by = issuing();
  if (!by.ok()) return by;
  Result<IssuedIdentity> renewed = security::renew(by.value(), how);
  if (!renewed.ok()) {
    return Status(renewed.status().code(), name + ": " + renewed.status().text());
  }
  Result<PeerIdentity> who = who_in(renewed->certificate_pem);
  if (!who.ok()) return who.status();
  Status noted = note(IndexEvent::kRenewed, who.value(), before->serial);
  if (noted.ok()) {
    noted = record({.kind = audit::kCertificateRenew,
                    .who = &who.value(),
                    .name = "predecessor",
                    .value = before->serial});
  }
  if (!noted.ok()) return noted;
  return renewed;
}

Status CaFolder::note_revoked(std::span<const PeerIdentity> who, const std::string& reason) const {
  Result<std::vector<Issued>> all = issued();
  if (!all.ok()) return all.status();
  Result<CertificateFacts> authority = describe_certificate(issuing_pair().certificate);
  if (!authority.ok()) return authority.status();
  for (PeerIdentity one : who) {
    const Issued* known = find(all.value(), one.serial);
    if (known != nullptr && known->revoked_at != 0) continue;
    if (known != nullptr) one = known->who;
    if (one.pool.empty()) {  // its number is all that is known of it
      const std::string serial = one.serial, issuer = one.issuer;
      one = {};
      one.kind = IdentityKind::kAuthority;
      one.pool = authority->who.pool;
      one.serial = serial;
      one.issuer = issuer;
      one.not_after = std::time(nullptr) + kLeafDaysMax * kDaySeconds;
    }
    if (one.issuer.empty()) one.issuer = authority->key_id;
    FARCALL_TRY(note(IndexEvent::kRevoked, one, reason));
    FARCALL_TRY(record({.kind = audit::kCertificateRevoke,
                        .who = &one,
                        .name = "why",
                        .value = reason.empty() ? "not given" : reason}));
  }
  return ok();
}

Result<std::vector<Revocation>> CaFolder::revoked_by(const std::string& key_id) const {
  Result<std::vector<Issued>> all = issued();
  if (!all.ok()) return all.status();
  std::vector<Revocation> revoked;
  for (const Issued& one : all.value()) {
    if (one.revoked_at == 0 || one.who.issuer != key_id) continue;
    if (one.who.not_after < std::time(nullptr)) continue;
    revoked.push_back({one.who.serial, one.revoked_at, one.reason});
  }
  return revoked;
}

Status CaFolder::revoke(std::span<const PeerIdentity> who, const std::string& reason,
                        int days) const {
  Result<Fd> held = lock();
  if (!held.ok()) return held.status();
  FARCALL_TRY(sign_deny_list(who, reason, days));
  // With nobody to revoke this is what is done once a day.
  return who.empty() ? archive_index(index_path(), index_path() + "-over", std::time(nullptr))
                     : ok();
}

Status CaFolder::sign_deny_list(std::span<const PeerIdentity> who, const std::string& reason,
                                int days) const {
  const std::vector<std::string>& reasons = revocation_reasons();
  if (!reason.empty() && std::find(reasons.begin(), reasons.end(), reason) == reasons.end()) {
    return {Code::kUnsupported, "\"" + reason + "\" is no reason that is known"};
  }
  Result<std::string> usual = key_id_of(issuing_pair());
  if (!usual.ok()) return usual.status();
  std::set<std::string> issuers;
  for (const PeerIdentity& one : who) {
    issuers.insert(one.issuer.empty() ? usual.value() : one.issuer);
  }
  if (issuers.empty()) issuers.insert(usual.value());
  // A predecessor's list would lapse, and with it the file.
  for (const Pair& at : former_pairs()) {
    Result<CertificateFacts> facts = describe_certificate(at.certificate);
    if (!facts.ok()) return facts.status();
    if (has_key(at) && facts->not_after > std::time(nullptr)) issuers.insert(facts->key_id);
  }
  // An authority that is revoked signs for the last time: by its list servers know what it issued.
  for (const Pair& at : all_pairs()) {
    Result<CertificateFacts> facts = describe_certificate(at.certificate);
    if (!facts.ok()) return facts.status();
    const bool is_revoked = std::ranges::any_of(
        who, [&](const PeerIdentity& one) { return one.serial == facts->who.serial; });
    if (is_revoked && has_key(at)) issuers.insert(facts->key_id);
  }
  Result<std::string> root = key_id_of(root_pair());
  if (!root.ok()) return root.status();
  Result<std::vector<IssuedIdentity>> signers = authorities(issuers);
  if (!signers.ok()) return signers.status();
  std::string list;
  if (exists(deny_list_path())) {
    Result<std::string> before = read_text(deny_list_path(), limits::kDenyListBytesMax);
    if (!before.ok()) return before.status();
    list = std::move(before).value();
  }
  FARCALL_TRY(note_revoked(who, reason));
  auto signer = signers->begin();
  for (const std::string& issuer : issuers) {
    Result<std::vector<Revocation>> revoked = revoked_by(issuer);
    if (!revoked.ok()) return revoked.status();
    // What a root denies is an authority, and its key is hard to come by.
    const int good_days = issuer == root.value() ? std::max(days, kIssuingDays) : days;
    Result<std::string> longer = add_to_deny_list(*signer++, list, revoked.value(), good_days);
    if (!longer.ok()) return longer.status();
    list = std::move(longer).value();
  }
  // Read as a server will.
  Result<std::string> trusted = read_text(root_path(), kPemBytesMax);
  if (!trusted.ok()) return trusted.status();
  Result<DeniedByIssuer> readable =
      parse_deny_list(bytes_of(list), bytes_of(trusted.value()), std::time(nullptr));
  if (!readable.ok()) {
    return {readable.status().code(),
            deny_list_path() + " cannot be built upon, move it away: " + readable.status().text()};
  }
  return replace_file(deny_list_path(), bytes_of(list), 0644);
}

Result<std::vector<Issued>> CaFolder::issued() const {
  Result<std::vector<IndexLine>> lines = read_index(index_path());
  if (!lines.ok()) return lines.status();
  return issued_of(lines.value());
}

Result<std::vector<std::string>> CaFolder::differences() const {
  Result<std::vector<Issued>> all = issued();
  if (!all.ok()) return all.status();
  DeniedByIssuer lists;
  if (exists(deny_list_path())) {
    Result<std::string> text = read_text(deny_list_path(), limits::kDenyListBytesMax);
    if (!text.ok()) return text.status();
    Result<std::string> root = read_text(root_path(), kPemBytesMax);
    if (!root.ok()) return root.status();
    Result<DeniedByIssuer> read =
        parse_deny_list(bytes_of(text.value()), bytes_of(root.value()), std::time(nullptr));
    if (!read.ok())
      return Status(read.status().code(), deny_list_path() + ": " + read.status().text());
    lists = std::move(read).value();
  }
  std::vector<std::string> found;
  for (const Issued& one : all.value()) {
    const bool alive = one.who.not_after > std::time(nullptr);
    const bool revoked = one.revoked_at != 0;
    const auto of_issuer = lists.find(one.who.issuer);
    // Its authority's line says it for all that it issued.
    const bool by_issuer = of_issuer != lists.end() && of_issuer->second.itself.has_value();
    if (alive && !by_issuer && revoked != find_denial(lists, one.who).has_value()) {
      found.push_back(one.who.serial + (revoked ? " is revoked, and not on the deny list"
                                                : " is on the deny list, and not revoked"));
    }
  }
  for (const auto& [issuer, list] : lists) {
    for (const auto& [serial, denial] : list.serials) {
      if (find(all.value(), serial) == nullptr) {
        found.push_back(serial + " is on the deny list, and not in the index");
      }
    }
  }
  return found;
}

}  // namespace farcall::security
