// A folder's authorities when the issuing one changes, and what the audit log is told of them.
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "security/ca_folder.h"
#include "security/ca_parts.h"
#include "security/file.h"

namespace farcall::security {
namespace {

// It is read to its end for each event, so its files are short.
constexpr std::uint64_t kCaAuditFileBytes = 1024 * 1024;

bool exists(const std::string& path) { return ::access(path.c_str(), F_OK) == 0; }

// Under another name, too; there already: by a run that a crash cut short.
Status link_as(const std::string& path, const std::string& also) {
  if (!exists(path) || ::link(path.c_str(), also.c_str()) == 0 || errno == EEXIST) return ok();
  return Status::system("keep " + path + " as " + also);
}

}  // namespace

CaFolder CaFolder::acting_for(Actor actor) const {
  CaFolder other = *this;
  other.actor_ = std::move(actor);
  return other;
}

Status CaFolder::set_aside_issuing() const {
  const Pair at{folder_ + "/issuing.crt", folder_ + "/issuing.key"};
  if (!exists(at.certificate)) return ok();
  Result<std::string> key_id = key_id_of(at);
  if (!key_id.ok()) return key_id.status();
  const std::string former = folder_ + "/former";
  if (::mkdir(former.c_str(), 0700) != 0 && errno != EEXIST)
    return Status::system("make " + former);
  FARCALL_TRY(link_as(at.key, former + "/" + key_id.value() + ".key"));
  return link_as(at.certificate, former + "/" + key_id.value() + ".crt");
}

Status CaFolder::make_issuing() const {
  Result<Fd> held = lock();
  if (!held.ok()) return held.status();
  const Pair at = root_pair();
  if (!exists(at.key)) {
    return {Code::kNotFound, "the root makes issuing authorities, and its key is not here: bring " +
                                 at.key + " back for as long as this takes"};
  }
  Result<IssuedIdentity> root = load(at.certificate, at.key);
  if (!root.ok()) return root.status();
  Result<IssuedIdentity> issuing = create_issuing(root.value());
  if (!issuing.ok()) return issuing.status();
  Result<PeerIdentity> who = who_in(issuing->certificate_pem);
  if (!who.ok()) return who.status();
  FARCALL_TRY(set_aside_issuing());
  FARCALL_TRY(note(IndexEvent::kIssued, who.value(), ""));
  FARCALL_TRY(record({.kind = audit::kCertificateIssue, .who = &who.value()}));
  // A crash between the two leaves a pair that does not fit and is refused; this mends it.
  FARCALL_TRY(replace_file(folder_ + "/issuing.key", issuing->key_pem.bytes(), 0600));
  const std::string& text = issuing->certificate_pem;
  FARCALL_TRY(replace_file(folder_ + "/issuing.crt", bytes_of(text), 0644));
  return exists(deny_list_path()) ? sign_deny_list({}, "", kDenyListDays) : ok();
}

Status CaFolder::record(const Event& event) const {
  Result<std::unique_ptr<AuditLog>> log = AuditLog::open({.folder = folder_ + "/ca-audit",
                                                          .server = "authority",
                                                          .file_bytes_max = kCaAuditFileBytes});
  if (!log.ok()) return log.status();
  AuditRecord record{
      .kind = std::string(event.kind), .outcome = event.outcome, .role = actor_.role};
  record.principal = actor_.principal;
  if (!actor_.from.empty()) record.details.push_back({"from", actor_.from});
  if (event.who != nullptr) {
    const PeerIdentity& who = *event.who;
    record.tenant = who.tenant;
    record.details.push_back({"identity", identity_uri(who)});
    if (!who.serial.empty()) record.details.push_back({"serial", who.serial});
    if (!who.issuer.empty()) record.details.push_back({"issuer", who.issuer});
    if (who.not_after != 0) record.details.push_back({"until", date_text(who.not_after)});
  }
  if (!event.name.empty()) record.details.push_back({event.name, event.value});
  return log.value()->record(record);
}

}  // namespace farcall::security
