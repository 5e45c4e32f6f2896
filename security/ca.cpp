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

// How long a leaf is to live: a life in days begins a minute ago, for clocks that differ, one in
// seconds now, or hardly anything of it would be left.
struct Life {
  int days = 0;
  std::int64_t seconds = 0;

  Status check() const {
    constexpr std::int64_t kSecondsMax = kLeafDaysMax * kDaySeconds;
    const std::int64_t all = seconds != 0 ? seconds : days * kDaySeconds;
    const bool whole_days = seconds != 0 || days >= 1;
    if (whole_days && all >= kLeafSecondsMin && all <= kSecondsMax) return ok();
    return {Code::kUnsupported,
            "a leaf lives " + std::to_string(kLeafSecondsMin) + " seconds to " +
                std::to_string(kLeafDaysMax) + " days, not " +
                (seconds != 0 ? std::to_string(seconds) + " seconds" : std::to_string(days))};
  }
  void fill(Plan* plan, std::int64_t from) const {
    const std::int64_t now = std::time(nullptr);
    if (seconds == 0) {
      plan->from = from != 0 ? from : now - kEarlierSeconds;
      plan->until = plan->from + days * kDaySeconds;
    } else {
      plan->from = from != 0 ? from : now - std::min(kEarlierSeconds, seconds / 10);
      plan->until = (from != 0 ? from : now) + seconds;
    }
  }
};

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
  Life{options.days, options.seconds}.fill(&plan, options.valid_from);
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
Result<Plan> renewal_plan(X509* former, const Life& life) {
  Result<PeerIdentity> who = identity_of(former);
  if (!who.ok()) return who.status();
  if (who->kind == IdentityKind::kAuthority) {
    return Status(Code::kDenied,
                  "an authority is made anew, not renewed: 'farcall ca init --issuing' makes one");
  }
  Plan plan;
  plan.common_name = who->kind == IdentityKind::kServer ? who->host : who->user;
  life.fill(&plan, 0);
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

Result<KeyPtr> key_or_new(const HeldKey* held) {
  if (held == nullptr) return make_key();
  return key_of_held(*held);
}

// A key that is held has no text.
Result<IssuedIdentity> authority_to_pem(X509* certificate, EVP_PKEY* key,
                                        const std::shared_ptr<HeldKey>& held) {
  if (held == nullptr) return to_pem(certificate, key);
  Result<std::string> text = certificate_to_pem(certificate);
  if (!text.ok()) return text.status();
  return IssuedIdentity{text.value(), {}, held};
}

}  // namespace

Status check_leaf(const LeafOptions& options) {
  FARCALL_TRY((Life{options.days, options.seconds}.check()));
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

Result<IssuedIdentity> create_ca(const CaOptions& options) {
  init_crypto();
  if (!is_identity_word(options.pool)) {
    return Status(Code::kUnsupported, "a pool's name is 1 to 64 of A-Z a-z 0-9 . _ -");
  }
  if (options.days < 1 || options.days > kCaDaysMax) {
    return Status(Code::kUnsupported, "a CA lives 1 to 36500 days");
  }
  Result<KeyPtr> key = key_or_new(options.key.get());
  if (!key.ok()) return key.status();
  Result<X509Ptr> certificate = sign(authority_plan("Farcall CA", options.pool, options.days, 1),
                                     key.value().get(), nullptr, options.key.get());
  if (!certificate.ok()) return certificate.status();
  return authority_to_pem(certificate->get(), key->get(), options.key);
}

Result<IssuedIdentity> create_issuing(const IssuedIdentity& root, int days,
                                      std::shared_ptr<HeldKey> held) {
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
  Result<KeyPtr> key = key_or_new(held.get());
  if (!key.ok()) return key.status();
  Result<X509Ptr> certificate = sign(plan, key.value().get(), &above.value());
  if (!certificate.ok()) return certificate.status();
  return authority_to_pem(certificate->get(), key->get(), held);
}

namespace {

// Signs `plan`, which never outlives its authority.
//   key  its own is in what is returned where `has_key`
Result<IssuedIdentity> sign_leaf(Plan plan, EVP_PKEY* key, bool has_key, const Authority& by) {
  plan.until = std::min(plan.until, by.who.not_after);
  Result<X509Ptr> certificate = sign(plan, key, &by);
  if (!certificate.ok()) return certificate.status();
  Result<std::string> chain = chain_above(by);
  if (!chain.ok()) return chain.status();
  if (has_key) return to_pem(certificate->get(), key, chain.value());
  Result<std::string> text = certificate_to_pem(certificate->get());
  if (!text.ok()) return text.status();
  return IssuedIdentity{text.value() + chain.value(), {}};
}

}  // namespace

Result<IssuedIdentity> renew(const IssuedIdentity& ca, const RenewOptions& options) {
  const Life life{options.days, options.seconds};
  if (Status sound = life.check(); !sound.ok()) return sound;
  Result<Authority> authority = Authority::read(ca);
  if (!authority.ok()) return authority.status();
  Result<X509Ptr> former = signed_by_one(options.certificate_pem, options.signers);
  if (!former.ok()) return former.status();
  Result<Plan> plan = renewal_plan(former->get(), life);
  if (!plan.ok()) return plan.status();
  Result<KeyPtr> fresh = KeyPtr();
  if (!options.request.empty()) {
    fresh = requested_key(options.request);
  } else if (options.new_key) {
    fresh = make_key();
  }
  if (!fresh.ok()) return fresh.status();
  EVP_PKEY* key = fresh.value() ? fresh->get() : X509_get0_pubkey(former->get());
  const bool has_key = options.request.empty() && options.new_key;
  return sign_leaf(std::move(plan).value(), key, has_key, authority.value());
}

Result<IssuedIdentity> issue(const IssuedIdentity& ca, const LeafOptions& options) {
  if (Status sound = check_leaf(options); !sound.ok()) return sound;
  Result<Authority> authority = Authority::read(ca);
  if (!authority.ok()) return authority.status();
  const bool is_requested = !options.request.empty();
  Result<KeyPtr> key = is_requested ? requested_key(options.request) : make_key();
  if (!key.ok()) return key.status();
  return sign_leaf(leaf_plan(options, authority->who.pool), key->get(), !is_requested,
                   authority.value());
}

}  // namespace farcall::security
