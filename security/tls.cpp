#include "security/tls.h"

#include <openssl/ssl.h>

#include <algorithm>
#include <utility>

#include "security/crypto.h"
#include "security/x509.h"

namespace farcall::security {

// What a context asks of its peers, within reach of OpenSSL's callback.
struct PeerRules {
  TlsContext::Side side;
  PeerPolicy policy;
  CertificateHash root{};  // kJoiner's
};

namespace {

using Side = TlsContext::Side;
using ContextPtr = std::unique_ptr<SSL_CTX, FreeWith<&SSL_CTX_free>>;

Status refused(const std::string& what) {
  return {Code::kDenied, what + ": " + take_crypto_error()};
}

const char* word(TlsContext::Side side) {
  return side == TlsContext::Side::kClient ? "client" : "server";
}

const PeerRules& rules_of(const SSL* ssl) {
  return *static_cast<const PeerRules*>(SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl)));
}

// Every certificate of the chain: the authority in the middle may have been revoked, too.
bool is_denied(X509* certificate, const SSL* ssl) {
  const DenyList* list = rules_of(ssl).policy.deny_list.get();
  if (list == nullptr) return false;
  Result<PeerIdentity> who = identity_of(certificate);
  const std::optional<Denial> denial = who.ok() ? list->find(who.value()) : std::nullopt;
  if (!denial) return false;
  if (auto* seen = static_cast<SeenCertificate*>(SSL_get_app_data(ssl)); seen != nullptr) {
    seen->denial = explain_denial(*denial);
  }
  return true;
}

bool is_of_good_zone(const PeerIdentity& who, const SSL* ssl) {
  const std::vector<std::string>& zones = rules_of(ssl).policy.client_zones;
  return who.kind != IdentityKind::kClient || zones.empty() ||
         std::find(zones.begin(), zones.end(), who.zone) != zones.end();
}

int refuse(X509_STORE_CTX* verification, int error) {
  X509_STORE_CTX_set_error(verification, error);
  return 0;
}

// After OpenSSL found the chain good: the purpose must be stated, not merely not forbidden, and the
// name must be one of this pool's. A client talks to servers, a server to clients.
int check_peer(int good, X509_STORE_CTX* verification) {
  const auto* ssl = static_cast<SSL*>(
      X509_STORE_CTX_get_ex_data(verification, SSL_get_ex_data_X509_STORE_CTX_idx()));
  X509* certificate = X509_STORE_CTX_get_current_cert(verification);
  if (auto* seen = static_cast<SeenCertificate*>(SSL_get_app_data(ssl)); seen != nullptr) {
    seen->not_after = unix_seconds(X509_get0_notAfter(certificate));
    if (is_other_name(X509_STORE_CTX_get_error(verification))) seen->names = names_of(certificate);
  }
  if (good == 1 && is_denied(certificate, ssl)) {
    return refuse(verification, X509_V_ERR_CERT_REVOKED);
  }
  if (X509_STORE_CTX_get_error_depth(verification) != 0) return good;
  Result<PeerIdentity> who = identity_of(certificate);
  // OpenSSL wants a client's purpose of whoever connects; another server has a server's.
  const Side side = rules_of(ssl).side;
  const bool is_server = who.ok() && who->kind == IdentityKind::kServer &&
                         (side == Side::kServerOfPeers || side == Side::kAuthority);
  if (good != 1) {
    const int error = X509_STORE_CTX_get_error(verification);
    if (!is_server || error != X509_V_ERR_INVALID_PURPOSE) return good;
    X509_STORE_CTX_set_error(verification, X509_V_OK);
  }
  const IdentityKind wanted =
      SSL_is_server(ssl) != 0 && !is_server ? IdentityKind::kClient : IdentityKind::kServer;
  if (!allows(certificate, wanted)) return refuse(verification, X509_V_ERR_INVALID_PURPOSE);
  if (side == Side::kJoiner) {  // which has no name, and knows whom it wants
    const bool is_authority = who.ok() && who->kind == wanted && who->role == kAuthorityRole;
    return is_authority ? 1 : refuse(verification, X509_V_ERR_APPLICATION_VERIFICATION);
  }
  Result<PeerIdentity> own = identity_of(SSL_get_certificate(ssl));
  if (!who.ok() || !own.ok() || who->kind != wanted || who->pool != own->pool) {
    return refuse(verification, X509_V_ERR_APPLICATION_VERIFICATION);
  }
  if (!is_of_good_zone(who.value(), ssl)) {
    return refuse(verification, X509_V_ERR_PERMITTED_VIOLATION);
  }
  return 1;
}

// The root that a joiner trusts is the one of those shown that has the hash it was given.
int verify_for_joiner(X509_STORE_CTX* verification, void* rules) {
  const CertificateHash& wanted = static_cast<const PeerRules*>(rules)->root;
  STACK_OF(X509)* shown = X509_STORE_CTX_get0_untrusted(verification);
  STACK_OF(X509)* trusted = sk_X509_new_null();
  for (int i = 0; i < sk_X509_num(shown); ++i) {
    CertificateHash hash{};
    unsigned bytes = 0;
    X509* one = sk_X509_value(shown, i);
    if (X509_digest(one, EVP_sha256(), reinterpret_cast<unsigned char*>(hash.data()), &bytes) ==
            1 &&
        hash == wanted) {
      sk_X509_push(trusted, one);
    }
  }
  X509_STORE_CTX_set0_trusted_stack(verification, trusted);
  const int good = X509_verify_cert(verification);
  sk_X509_free(trusted);
  return good;
}

Status harden(SSL_CTX* context, Side side) {
  SSL_CTX_set_security_level(context, 2);
  SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
  SSL_CTX_set_options(context, SSL_OP_NO_TICKET | SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
  const int of_nobody = side == Side::kAuthority ? 0 : SSL_VERIFY_FAIL_IF_NO_PEER_CERT;
  SSL_CTX_set_verify(context, SSL_VERIFY_PEER | of_nobody, &check_peer);
  SSL_CTX_set_verify_depth(context, 4);
  const bool done = SSL_CTX_set_min_proto_version(context, TLS1_3_VERSION) == 1 &&
                    SSL_CTX_set_max_proto_version(context, TLS1_3_VERSION) == 1 &&
                    SSL_CTX_set_num_tickets(context, 0) == 1 &&
                    SSL_CTX_set_max_early_data(context, 0) == 1 &&
                    SSL_CTX_set_ciphersuites(context, "TLS_AES_256_GCM_SHA384") == 1 &&
                    SSL_CTX_set1_groups_list(context, "X25519:P-256") == 1;
  return done ? ok() : refused("set up TLS 1.3");
}

struct OwnPair {
  std::vector<X509Ptr> chain;
  KeyPtr key;
};

Result<OwnPair> read_pair(const IdentityFiles& files) {
  OwnPair pair;
  Result<std::vector<X509Ptr>> chain = read_certificates(files.certificate_path);
  if (!chain.ok()) return chain.status();
  Result<SecureBuffer> pem = read_file(files.key_path);
  if (!pem.ok()) return pem.status();
  Result<KeyPtr> first = parse_key(pem->bytes(), files.key_path);
  if (!first.ok()) return first.status();
  pair.chain = std::move(chain).value();
  Result<KeyPtr> key = key_of(pair.chain[0].get(), pem->bytes(), files.key_path);
  if (key.ok()) pair.key = std::move(key).value();
  return pair;
}

Status load_own(SSL_CTX* context, const IdentityFiles& files, X509** own) {
  Result<OwnPair> pair = read_pair(files);
  // Between the two files both may have been replaced.
  if (pair.ok() && !pair->key) pair = read_pair(files);
  if (!pair.ok()) return pair.status();
  if (SSL_CTX_use_certificate(context, pair->chain[0].get()) != 1) {
    return refused(files.certificate_path);
  }
  for (std::size_t i = 1; i < pair->chain.size(); ++i) {
    if (SSL_CTX_add1_chain_cert(context, pair->chain[i].get()) != 1) {
      return refused(files.certificate_path);
    }
  }
  if (!pair->key || SSL_CTX_use_PrivateKey(context, pair->key.get()) != 1 ||
      SSL_CTX_check_private_key(context) != 1) {
    take_crypto_error();
    return {Code::kDenied, files.key_path + " is not the key of " + files.certificate_path +
                               "; give the two files that were issued together"};
  }
  *own = SSL_CTX_get0_certificate(context);
  return ok();
}

// Finds our own mistakes here, where they have a path, rather than at the peer.
Status verify_own(SSL_CTX* context, X509* own, const IdentityFiles& files, const PeerRules& rules) {
  const bool server = rules.side != TlsContext::Side::kClient;
  const IdentityKind kind = server ? IdentityKind::kServer : IdentityKind::kClient;
  if (!allows(own, kind)) {
    return {Code::kDenied, files.certificate_path + " is no " + word(rules.side) +
                               " certificate; issue one with `farcall ca`"};
  }
  STACK_OF(X509)* chain = nullptr;
  SSL_CTX_get0_chain_certs(context, &chain);
  StoreContextPtr verification(X509_STORE_CTX_new());
  X509_STORE_CTX_init(verification.get(), SSL_CTX_get_cert_store(context), own, chain);
  X509_STORE_CTX_set_default(verification.get(), server ? "ssl_server" : "ssl_client");
  if (X509_verify_cert(verification.get()) != 1) {
    const int error = X509_STORE_CTX_get_error(verification.get());
    take_crypto_error();
    return {Code::kDenied, explain_verification(error, unix_seconds(X509_get0_notAfter(own)),
                                                files.certificate_path)};
  }
  return ok();
}

}  // namespace

TlsContext::TlsContext(ssl_ctx_st* context, std::unique_ptr<const PeerRules> rules,
                       PeerIdentity own)
    : context_(context), side_(rules->side), rules_(std::move(rules)), own_(std::move(own)) {}

TlsContext::TlsContext(TlsContext&& other) noexcept
    : context_(std::exchange(other.context_, nullptr)),
      side_(other.side_),
      rules_(std::move(other.rules_)),
      own_(std::move(other.own_)) {}

TlsContext& TlsContext::operator=(TlsContext&& other) noexcept {
  if (this == &other) return *this;
  SSL_CTX_free(context_);
  context_ = std::exchange(other.context_, nullptr);
  side_ = other.side_;
  rules_ = std::move(other.rules_);
  own_ = std::move(other.own_);
  return *this;
}

TlsContext::~TlsContext() { SSL_CTX_free(context_); }

Result<TlsContext> TlsContext::load(const IdentityFiles& files, Side side, PeerPolicy policy) {
  init_crypto();
  if (!policy.deny_list && !files.deny_list_path.empty()) {
    Result<std::shared_ptr<DenyList>> list = DenyList::open(files.deny_list_path, files.ca_path);
    if (!list.ok()) return list.status();
    policy.deny_list = std::move(list).value();
  }
  ContextPtr context(SSL_CTX_new(accepts_by(side) ? TLS_server_method() : TLS_client_method()));
  if (!context) return refused("set up TLS");
  auto rules = std::make_unique<const PeerRules>(PeerRules{side, std::move(policy), {}});
  SSL_CTX_set_app_data(context.get(), const_cast<PeerRules*>(rules.get()));
  if (Status done = harden(context.get(), side); !done.ok()) return done;
  Result<StorePtr> authorities = load_authorities(files.ca_path);
  if (!authorities.ok()) return authorities.status();
  SSL_CTX_set_cert_store(context.get(), authorities.value().release());
  X509* own = nullptr;
  if (Status done = load_own(context.get(), files, &own); !done.ok()) return done;
  Result<PeerIdentity> who = identity_of(own);
  if (!who.ok()) return Status(Code::kDenied, files.certificate_path + ": " + who.status().text());
  if (Status good = verify_own(context.get(), own, files, *rules); !good.ok()) return good;
  if (rules->policy.deny_list) {
    if (auto denial = rules->policy.deny_list->find(who.value())) {
      return Status(Code::kDenied, files.certificate_path + " " + explain_denial(*denial));
    }
  }
  return TlsContext(context.release(), std::move(rules), std::move(who).value());
}

Result<TlsContext> TlsContext::for_joining(const CertificateHash& root) {
  init_crypto();
  ContextPtr context(SSL_CTX_new(TLS_client_method()));
  if (!context) return refused("set up TLS");
  auto rules = std::make_unique<PeerRules>(PeerRules{Side::kJoiner, {}, root});
  SSL_CTX_set_app_data(context.get(), rules.get());
  SSL_CTX_set_cert_verify_callback(context.get(), &verify_for_joiner, rules.get());
  if (Status done = harden(context.get(), Side::kJoiner); !done.ok()) return done;
  return TlsContext(context.release(), std::move(rules), {});
}

}  // namespace farcall::security
