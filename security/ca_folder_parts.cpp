// A folder's authorities when the issuing one changes, who joins, and what the audit log is told.
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <ctime>

#include "security/ca_folder.h"
#include "security/ca_parts.h"
#include "security/file.h"
#include "security/key_request.h"

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

LeafOptions leaf_of(const JoinGrant& grant, std::int64_t seconds) {
  LeafOptions options;
  options.use = Use::kServer;
  options.host = grant.who.host;
  options.zone = grant.who.zone;
  options.role = grant.who.role;
  options.names = grant.names;
  options.seconds = seconds;
  return options;
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
  const std::string key = former + "/" + key_id.value() + ".key";
  FARCALL_TRY(link_as(at.key, key));
  FARCALL_TRY(link_as(at.key_uri(), key + "-uri"));
  return link_as(at.certificate, former + "/" + key_id.value() + ".crt");
}

Status CaFolder::make_issuing(const KeyPlaces& keys) const {
  Result<Fd> held = lock();
  if (!held.ok()) return held.status();
  const Pair at = root_pair();
  if (!has_key(at)) {
    return {Code::kNotFound, "the root makes issuing authorities, and its key is not here: bring " +
                                 at.key + " back for as long as this takes"};
  }
  const Pair to{folder_ + "/issuing.crt", folder_ + "/issuing.key"};
  if (keys.issuing.empty() && exists(to.key_uri())) {
    return {Code::kUnsupported,
            "the issuing key lies in a token, and the next one would lie in a file: name its "
            "place in a token (--issuing-key pkcs11:…)"};
  }
  Result<IssuedIdentity> root = load_pair(at);
  if (!root.ok()) return root.status();
  Result<std::shared_ptr<HeldKey>> key = key_at(keys.issuing, keys.existing);
  if (!key.ok()) return key.status();
  Result<IssuedIdentity> issuing =
      create_issuing(root.value(), kIssuingDays, std::move(key).value());
  if (!issuing.ok()) return issuing.status();
  Result<PeerIdentity> who = who_in(issuing->certificate_pem);
  if (!who.ok()) return who.status();
  FARCALL_TRY(set_aside_issuing());
  FARCALL_TRY(note(IndexEvent::kIssued, who.value(), ""));
  FARCALL_TRY(record({.kind = audit::kCertificateIssue, .who = &who.value()}));
  // A crash between the two leaves a pair that does not fit and is refused; this mends it.
  FARCALL_TRY(replace_key(issuing.value(), keys.issuing, to));
  const std::string& text = issuing->certificate_pem;
  FARCALL_TRY(replace_file(to.certificate, bytes_of(text), 0644));
  return exists(deny_list_path()) ? sign_deny_list({}, "", kDenyListDays) : ok();
}

Result<std::string> CaFolder::root_pem() const { return read_text(root_path()); }

Result<std::string> CaFolder::make_token(JoinGrant grant, std::int64_t valid_seconds) const {
  Result<Fd> held = lock();
  if (!held.ok()) return held.status();
  Result<std::string> root = root_pem();
  if (!root.ok()) return root.status();
  Result<CertificateHash> hash = hash_of_certificate(root.value());
  if (!hash.ok()) return hash.status();
  Result<PeerIdentity> pool = who_in(root.value());
  if (!pool.ok()) return pool.status();
  grant.who.kind = IdentityKind::kServer;
  grant.who.pool = pool->pool;
  if (grant.who.role == kAuthorityRole) {
    return Status(Code::kUnsupported, "the role \"authority\" is the authority's own");
  }
  if (Status sound = check_leaf(leaf_of(grant, grant.life_seconds)); !sound.ok()) return sound;
  const std::int64_t now = std::time(nullptr);
  grant.expires = now + valid_seconds;
  const PeerIdentity who = grant.who;
  Result<std::string> token =
      JoinTokens(folder_ + "/tokens").make(std::move(grant), hash.value(), now);
  if (!token.ok()) return token;
  Status recorded = record({.kind = audit::kTokenMake,
                            .who = &who,
                            .name = "token",
                            .value = parse_join_token(token.value())->id});
  if (!recorded.ok()) return recorded;
  return token;
}

Result<IssuedIdentity> CaFolder::join(std::string_view token, const std::vector<std::byte>& request,
                                      JoinCheck attest) const {
  // Before the token is spent for it.
  if (Status sound = check_key_request(request); !sound.ok()) return sound;
  Result<Fd> held = lock();
  if (!held.ok()) return held.status();
  const JoinTokens tokens(folder_ + "/tokens");
  Result<JoinGrant> grant = tokens.look(token, std::time(nullptr));
  if (!grant.ok()) return grant.status();
  Result<Attested> attested = attest(grant.value());
  if (!attested.ok()) return attested.status();
  grant = tokens.spend(token, std::time(nullptr));
  if (!grant.ok()) return grant.status();
  if (attested->server) {
    FARCALL_TRY(AttestedServers(attested_path()).put(*attested->server));
  }
  LeafOptions options =
      leaf_of(grant.value(), std::min(grant->life_seconds, attested->seconds_max));
  options.request = request;
  return acting_for({.role = "server",
                     .principal = identity_uri(grant->who),
                     .from = actor_.from + ", token " + grant->id,
                     .tpm = attested->note})
      .issue_now(options);
}

Status CaFolder::note_attested(const AttestedServer& server) const {
  Result<Fd> held = lock();
  if (!held.ok()) return held.status();
  return AttestedServers(attested_path()).put(server);
}

Status CaFolder::record_refusal(const std::string& asked, const Status& why) const {
  Result<Fd> held = lock();
  if (!held.ok()) return held.status();
  return record({.kind = audit::kCertificateRefused,
                 .outcome = AuditOutcome::kRefused,
                 .name = asked,
                 .value = why.to_string()});
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
  if (!actor_.tpm.empty()) record.details.push_back({"tpm", actor_.tpm});
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
