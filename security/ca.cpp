#include "security/ca.h"

#include <arpa/inet.h>

#include <algorithm>
#include <array>
#include <ctime>

#include "security/ca_parts.h"
#include "security/crypto.h"
#include "security/identity.h"

namespace farcall::security {
namespace {

constexpr std::size_t kNamesMax = 32;
constexpr std::size_t kDnsNameBytesMax = 253;
constexpr int kCaDaysMax = 36'500;

bool is_dns_name(const std::string& name) {
  const auto allowed = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
           c == '-';
  };
  return !name.empty() && name.size() <= kDnsNameBytesMax && name.front() != '-' &&
         name.front() != '.' && std::all_of(name.begin(), name.end(), allowed);
}

bool is_address(const std::string& name) {
  std::array<unsigned char, 16> room{};
  return ::inet_pton(AF_INET, name.c_str(), room.data()) == 1 ||
         ::inet_pton(AF_INET6, name.c_str(), room.data()) == 1;
}

Status life_refused(int days) {
  return {Code::kUnsupported, "a leaf lives 1 to " + std::to_string(kLeafDaysMax) + " days, not " +
                                  std::to_string(days)};
}

Status check(const LeafOptions& options) {
  if (options.days < 1 || options.days > kLeafDaysMax) return life_refused(options.days);
  for (const std::string* word : {&options.zone, &options.role}) {
    if (!word->empty() && !is_identity_word(*word)) {
      return {Code::kUnsupported,
              "\"" + *word + "\" is no zone or role: 1 to 64 of A-Z a-z 0-9 . _ -"};
    }
  }
  if (options.use == Use::kClient) {
    if (is_identity_word(options.tenant) && is_identity_word(options.user)) return ok();
    return {Code::kUnsupported,
            "a client needs a tenant and a user, each 1 to 64 of A-Z a-z 0-9 . _ -"};
  }
  if (!is_identity_word(options.host)) {
    return {Code::kUnsupported, "a server needs a host, 1 to 64 of A-Z a-z 0-9 . _ -"};
  }
  if (options.names.empty() || options.names.size() > kNamesMax) {
    return {Code::kUnsupported, "a server needs 1 to 32 DNS names or addresses that clients dial"};
  }
  for (const std::string& name : options.names) {
    if (!is_address(name) && !is_dns_name(name)) {
      return {Code::kUnsupported, "\"" + name + "\" is neither a DNS name nor an IP address"};
    }
  }
  return ok();
}

Plan leaf_plan(const LeafOptions& options, const std::string& pool) {
  const bool server = options.use == Use::kServer;
  PeerIdentity who;
  who.kind = server ? IdentityKind::kServer : IdentityKind::kClient;
  who.pool = pool;
  who.tenant = options.tenant;
  who.user = options.user;
  who.host = options.host;
  who.zone = options.zone;
  who.role = options.role;
  std::string names = "URI:" + identity_uri(who);
  if (server) {
    for (const std::string& name : options.names) {
      names += (is_address(name) ? ",IP:" : ",DNS:") + name;
    }
  }
  Plan plan;
  plan.common_name = server ? options.host : options.user;
  plan.from = options.valid_from != 0 ? options.valid_from : std::time(nullptr) - kEarlierSeconds;
  plan.until = plan.from + options.days * kDaySeconds;
  plan.extensions = {
      {NID_basic_constraints, "critical,CA:FALSE"},
      {NID_key_usage, "critical,digitalSignature"},
      {NID_ext_key_usage, server ? "critical,serverAuth" : "critical,clientAuth"},
      {NID_subject_key_identifier, "hash"},
      {NID_authority_key_identifier, "keyid"},
      {NID_subject_alt_name, names},
  };
  return plan;
}

// The certificate behind `text`, if one of these authorities signed it.
Result<X509Ptr> signed_by_one(const std::string& text, const std::vector<std::string>& signers) {
  Result<X509Ptr> certificate = parse_certificate(bytes_of(text), "what is to be renewed");
  if (!certificate.ok()) return certificate;
  for (const std::string& signer : signers) {
    Result<X509Ptr> authority = parse_certificate(bytes_of(signer), "the CA certificate");
    if (!authority.ok()) return authority;
    const bool is = X509_verify(certificate.value().get(), X509_get0_pubkey(authority->get())) == 1;
    take_crypto_error();
    if (is) return certificate;
  }
  return Status(Code::kDenied, "this certificate was not issued here");
}

// What stays of a certificate when it is renewed.
Result<Plan> renewal_plan(X509* former, int days) {
  Result<PeerIdentity> who = identity_of(former);
  if (!who.ok()) return who.status();
  if (who->kind == IdentityKind::kAuthority) {
    return Status(Code::kDenied, "an authority is made anew, not renewed");
  }
  Plan plan;
  plan.common_name = who->kind == IdentityKind::kServer ? who->host : who->user;
  plan.from = std::time(nullptr) - kEarlierSeconds;
  plan.until = plan.from + days * kDaySeconds;
  plan.extensions = {{NID_subject_key_identifier, "hash"}, {NID_authority_key_identifier, "keyid"}};
  for (int nid : {NID_basic_constraints, NID_key_usage, NID_ext_key_usage, NID_subject_alt_name}) {
    const X509_EXTENSION* kept = X509_get_ext(former, X509_get_ext_by_NID(former, nid, -1));
    if (kept == nullptr) return Status(Code::kDenied, "this certificate is no member's of a pool");
    plan.copied.push_back(kept);
  }
  return plan;
}

// Of an authority; length: how many authorities may stand below it.
Plan authority_plan(const std::string& name, const std::string& pool, int days, int length) {
  PeerIdentity who;
  who.kind = IdentityKind::kAuthority;
  who.pool = pool;
  Plan plan;
  plan.common_name = name + " " + pool.substr(0, 48);  // X.520 allows 64 characters
  plan.from = std::time(nullptr) - kEarlierSeconds;
  plan.until = plan.from + days * kDaySeconds;
  plan.extensions = {
      {NID_basic_constraints, "critical,CA:TRUE,pathlen:" + std::to_string(length)},
      {NID_key_usage, "critical,keyCertSign,cRLSign"},
      {NID_subject_key_identifier, "hash"},
      {NID_subject_alt_name, "URI:" + identity_uri(who)},
  };
  return plan;
}

// What stands behind the leaf in its file: the authority, unless it is the root that everybody has.
Result<std::string> chain_above(const Authority& authority) {
  if (authority.is_root) return std::string();
  return certificate_to_pem(authority.certificate.get());
}

}  // namespace

Result<IssuedIdentity> create_ca(const CaOptions& options) {
  init_crypto();
  if (!is_identity_word(options.pool)) {
    return Status(Code::kUnsupported, "a pool's name is 1 to 64 of A-Z a-z 0-9 . _ -");
  }
  if (options.days < 1 || options.days > kCaDaysMax) {
    return Status(Code::kUnsupported, "a CA lives 1 to 36500 days");
  }
  Result<KeyPtr> key = make_key();
  if (!key.ok()) return key.status();
  Result<X509Ptr> certificate =
      sign(authority_plan("Farcall CA", options.pool, options.days, 1), key.value().get(), nullptr);
  if (!certificate.ok()) return certificate.status();
  return to_pem(certificate.value().get(), key.value().get());
}

Result<IssuedIdentity> create_issuing(const IssuedIdentity& root, int days) {
  Result<Authority> above = Authority::read(root);
  if (!above.ok()) return above.status();
  if (!above->is_root) {
    return Status(Code::kDenied, "an issuing authority is made by the root, which this is not");
  }
  if (days < 1 || days > kCaDaysMax) {
    return Status(Code::kUnsupported, "an authority lives 1 to 36500 days");
  }
  Plan plan = authority_plan("Farcall issuing CA", above->who.pool, days, 0);
  plan.until = std::min(plan.until, above->who.not_after);
  plan.extensions.push_back({NID_authority_key_identifier, "keyid"});
  Result<KeyPtr> key = make_key();
  if (!key.ok()) return key.status();
  Result<X509Ptr> certificate = sign(plan, key.value().get(), &above.value());
  if (!certificate.ok()) return certificate.status();
  return to_pem(certificate.value().get(), key.value().get());
}

Result<IssuedIdentity> renew(const IssuedIdentity& ca, const RenewOptions& options) {
  if (options.days < 1 || options.days > kLeafDaysMax) return life_refused(options.days);
  Result<Authority> authority = Authority::read(ca);
  if (!authority.ok()) return authority.status();
  Result<X509Ptr> former = signed_by_one(options.certificate_pem, options.signers);
  if (!former.ok()) return former.status();
  Result<Plan> plan = renewal_plan(former->get(), options.days);
  if (!plan.ok()) return plan.status();
  plan->until = std::min(plan->until, authority->who.not_after);
  Result<KeyPtr> fresh = KeyPtr();
  if (options.new_key) fresh = make_key();
  if (!fresh.ok()) return fresh.status();
  EVP_PKEY* key = options.new_key ? fresh->get() : X509_get0_pubkey(former->get());
  Result<X509Ptr> certificate = sign(plan.value(), key, &authority.value());
  if (!certificate.ok()) return certificate.status();
  Result<std::string> chain = chain_above(authority.value());
  if (!chain.ok()) return chain.status();
  if (options.new_key) return to_pem(certificate->get(), key, chain.value());
  Result<std::string> text = certificate_to_pem(certificate->get());
  if (!text.ok()) return text.status();
  return IssuedIdentity{text.value() + chain.value(), {}};
}

Result<IssuedIdentity> issue(const IssuedIdentity& ca, const LeafOptions& options) {
  if (Status sound = check(options); !sound.ok()) return sound;
  Result<Authority> authority = Authority::read(ca);
  if (!authority.ok()) return authority.status();
  Result<KeyPtr> key = make_key();
  if (!key.ok()) return key.status();
  Result<std::string> chain = chain_above(authority.value());
  if (!chain.ok()) return chain.status();
  Plan plan = leaf_plan(options, authority->who.pool);
  plan.until = std::min(plan.until, authority->who.not_after);
  Result<X509Ptr> certificate = sign(plan, key.value().get(), &authority.value());
  if (!certificate.ok()) return certificate.status();
  return to_pem(certificate.value().get(), key.value().get(), chain.value());
}

}  // namespace farcall::security
