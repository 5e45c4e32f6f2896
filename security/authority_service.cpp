#include "security/authority_service.h"

#include <unistd.h>

#include <algorithm>
#include <ctime>

#include "security/ca_parts.h"
#include "security/file.h"
#include "security/key_request.h"
#include "transport/base/limits_authority.h"

namespace farcall::security {
namespace {

// An address without its port, which changes with every connection.
std::string address_of(const std::string& from) { return from.substr(0, from.rfind(':')); }

bool knows(const std::vector<Issued>& all, const PeerIdentity& who) {
  return std::any_of(all.begin(), all.end(), [&](const Issued& one) {
    return one.who.serial == who.serial && one.who.issuer == who.issuer && one.at != 0;
  });
}

Attestation::Settings with_paths(Attestation::Settings settings, const CaFolder& folder,
                                 const std::string& path) {
  settings.attested_path = folder.attested_path();
  if (settings.golden_path.empty()) settings.golden_path = path + "/golden.toml";
  return settings;
}

Status denied(std::string why) { return {Code::kDenied, std::move(why)}; }

}  // namespace

AuthorityService::AuthorityService(Settings settings, CaFolder folder)
    : settings_(std::move(settings)),
      folder_(std::move(folder)),
      attestation_(with_paths(settings_.attestation, folder_, settings_.folder)),
      asks_(std::make_unique<AskLimit>(limits::kAuthorityAsksAMinute)),
      records_(std::make_unique<AskLimit>(limits::kAuthorityRecordsAMinute)) {}

Result<AuthorityService> AuthorityService::open(Settings settings) {
  Result<CaFolder> folder = CaFolder::open(settings.folder, settings.keys);
  if (!folder.ok()) return folder.status();
  if (Status there = folder->check_issuing(); !there.ok()) return there;
  AuthorityService service(std::move(settings), std::move(folder).value());
  Result<TlsContext> context = service.context();
  if (!context.ok()) return context.status();
  if (Status there = service.attestation_.check(); !there.ok()) return there;
  return service;
}

Result<TlsContext> AuthorityService::context() const {
  const IdentityFiles files{settings_.folder + "/service.crt", settings_.folder + "/service.key",
                            folder_.root_path()};
  Result<CertificateFacts> now = describe_certificate(files.certificate_path);
  const bool is_due =
      !now.ok() || std::time(nullptr) >= now->not_before + (now->not_after - now->not_before) / 2;
  if (is_due) {
    LeafOptions options;
    options.use = Use::kServer;
    options.host = settings_.names.empty() ? "authority" : settings_.names.front();
    options.names = settings_.names;
    options.role = kAuthorityRole;
    Result<IssuedIdentity> own = folder_.acting_for({.role = "server"}).issue(options);
    if (!own.ok()) return own.status();
    // Those who join know the root by its hash and must be shown it.
    Result<std::string> root = folder_.root_pem();
    if (!root.ok()) return root.status();
    const std::string chain = own->certificate_pem + root.value();
    Status put = replace_file(files.key_path, own->key_pem.bytes(), 0600);
    if (put.ok()) put = replace_file(files.certificate_path, bytes_of(chain), 0644);
    if (!put.ok()) return put;
  }
  return TlsContext::load(files, TlsContext::Side::kAuthority);
}

Result<std::int64_t> AuthorityService::issuing_until() const {
  const std::string issuing = settings_.folder + "/issuing.crt";
  Result<CertificateFacts> facts =
      describe_certificate(::access(issuing.c_str(), F_OK) == 0 ? issuing : folder_.root_path());
  if (!facts.ok()) return facts.status();
  return facts->not_after;
}

AuthorityReply AuthorityService::answer(const Asker& asker, std::span<const std::byte> request,
                                        std::int64_t now) {
  const std::string counted =
      asker.who != nullptr ? identity_uri(*asker.who) : address_of(asker.from);
  Result<AuthorityRequest> asked = parse_request(request);
  Status why = asked.status();
  if (!asks_->allow(counted, now)) {
    why = Status(Code::kBusy, "the authority was asked too often from there; it is asked " +
                                  std::to_string(limits::kAuthorityAsksAMinute) +
                                  " times a minute at most");
  }
  if (why.ok()) {
    Result<IssuedIdentity> granted = grant(asker, asked.value(), now);
    Result<std::string> root = folder_.root_pem();
    if (granted.ok() && root.ok()) {
      return {.refusal = ok(), .chain_pem = granted->certificate_pem, .root_pem = root.value()};
    }
    why = granted.ok() ? root.status() : granted.status();
  }
  const bool is_joining = asked.ok() && asked->kind == AuthorityAsk::kJoin;
  note(asker, is_joining ? "joining" : "renewal", why, now);
  // What went wrong in the authority's own house is for its log.
  if (why.code() == Code::kSystem || why.code() == Code::kNotFound) {
    why = Status(Code::kBusy, "the authority cannot sign now; its operator's log says why");
  }
  return {.refusal = why};
}

Result<IssuedIdentity> AuthorityService::grant(const Asker& asker, const AuthorityRequest& request,
                                               std::int64_t now) {
  if (request.kind == AuthorityAsk::kJoin) {
    const auto check = [&](const JoinGrant& grant) {
      return attest(asker, grant.who.host, request, now);
    };
    return folder_.acting_for({.role = "stranger", .from = asker.from})
        .join(request.name, request.key_request, check);
  }
  if (asker.who == nullptr) {
    return denied("a certificate is renewed for who shows it; this connection shows none");
  }
  return renewal(asker, request, now);
}

Result<Attested> AuthorityService::attest(const Asker& asker, const std::string& host,
                                          const AuthorityRequest& request, std::int64_t now) const {
  Result<Sha256> key = hash_of_requested_key(request.key_request);
  if (!key.ok()) return key.status();
  Result<Attested> attested = attestation_.look({.host = host,
                                                 .quote = request.quote,
                                                 .tls_key = key.value(),
                                                 .nonce = asker.nonce,
                                                 .joins = request.kind == AuthorityAsk::kJoin,
                                                 .now = now});
  if (!attested.ok()) return attested;
  const bool is_bounded = attested->seconds_max != 0;
  attested->seconds_max =
      is_bounded ? std::min(attested->seconds_max, settings_.life_seconds) : settings_.life_seconds;
  return attested;
}

Result<IssuedIdentity> AuthorityService::renewal(const Asker& asker,
                                                 const AuthorityRequest& request,
                                                 std::int64_t now) {
  const PeerIdentity& who = *asker.who;
  const std::string name = identity_uri(who);
  if (request.name != name) {
    return denied("a certificate is renewed for its own name, which is " + name);
  }
  Result<PeerIdentity> sent = who_in(request.certificate);
  if (!sent.ok() || sent->fingerprint != who.fingerprint) {
    return denied("the certificate to renew is not the one that this connection shows");
  }
  if (who.role == kAuthorityRole || who.kind == IdentityKind::kAuthority) {
    return denied("the authority's own certificates are not renewed this way");
  }
  if (who.not_after <= now) return denied("your certificate has expired: ask for a new one");
  Result<std::vector<Issued>> all = folder_.issued();
  if (!all.ok()) return all.status();
  // Who had an issuing key once could have made any name.
  if (!knows(all.value(), who)) {
    return denied(
        "this authority has not written down that it issued your certificate: ask for a "
        "new one");
  }
  const bool is_server = who.kind == IdentityKind::kServer;
  Attested attested{.seconds_max = settings_.life_seconds};
  if (is_server) {
    Result<Attested> looked = attest(asker, who.host, request, now);
    if (!looked.ok()) return looked.status();
    attested = std::move(looked).value();
  }
  RenewOptions how{.certificate_pem = request.certificate, .signers = {}};
  how.seconds = attested.seconds_max;
  if (request.life_seconds != 0) {
    how.seconds = std::clamp<std::int64_t>(request.life_seconds, kLeafSecondsMin, how.seconds);
  }
  how.request = request.key_request;
  if (attested.server) FARCALL_TRY(folder_.note_attested(*attested.server));
  return folder_
      .acting_for({.role = is_server ? "server" : "user",
                   .principal = name,
                   .from = asker.from,
                   .tpm = attested.note})
      .renew(std::move(how), "your certificate");
}

void AuthorityService::refused(const std::string& from, const Status& why, std::int64_t now) {
  note({nullptr, from}, "connection", why, now);
}

void AuthorityService::note(const Asker& asker, const char* asked, const Status& why,
                            std::int64_t now) {
  const bool is_known = asker.who != nullptr;
  if (!records_->allow(is_known ? identity_uri(*asker.who) : "", now)) return;
  CaFolder::Actor actor{.role = "stranger", .principal = {}, .from = asker.from};
  if (is_known) {
    actor.role = asker.who->kind == IdentityKind::kServer ? "server" : "user";
    actor.principal = identity_uri(*asker.who);
  }
  // What was refused stays refused, written down or not.
  static_cast<void>(folder_.acting_for(std::move(actor)).record_refusal(asked, why));
}

}  // namespace farcall::security
