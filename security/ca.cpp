#include "security/ca.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <openssl/pem.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <ctime>

#include "security/crypto.h"
#include "security/identity.h"
#include "security/x509.h"
#include "transport/base/unique.h"

namespace farcall::security {
namespace {

constexpr std::int64_t kDaySeconds = 86'400;
constexpr std::int64_t kClockSlackSeconds = 60;
constexpr std::size_t kNamesMax = 32;
constexpr std::size_t kDnsNameBytesMax = 253;
constexpr int kCaDaysMax = 36'500;

using NumberPtr = std::unique_ptr<BIGNUM, FreeWith<&BN_free>>;
using ExtensionPtr = std::unique_ptr<X509_EXTENSION, FreeWith<&X509_EXTENSION_free>>;

Status library_failure(const char* doing) {
  return {Code::kSystem, std::string(doing) + ": " + take_crypto_error()};
}

struct Extension {
  int nid;
  std::string value;
};

struct Plan {
  std::string common_name;
  std::int64_t from = 0;
  std::int64_t until = 0;
  std::vector<Extension> extensions;
};

Result<KeyPtr> make_key() {
  KeyPtr key(EVP_EC_gen("P-256"));
  if (!key) return library_failure("make a P-256 key");
  return key;
}

Status set_serial(X509* certificate) {
  std::array<std::byte, 16> random{};
  fill_random(random);
  random[0] &= std::byte{0x7f};  // positive
  random[0] |= std::byte{0x40};  // and never short
  NumberPtr number(BN_bin2bn(reinterpret_cast<unsigned char*>(random.data()),
                             static_cast<int>(random.size()), nullptr));
  const bool set =
      number && BN_to_ASN1_INTEGER(number.get(), X509_get_serialNumber(certificate)) != nullptr;
  return set ? ok() : library_failure("choose a serial number");
}

// Signs `plan` for `key`. issuer and issuer_key null: self-signed.
Result<X509Ptr> sign(const Plan& plan, EVP_PKEY* key, X509* issuer, EVP_PKEY* issuer_key) {
  X509Ptr certificate(X509_new());
  if (!certificate) return library_failure("make a certificate");
  if (Status done = set_serial(certificate.get()); !done.ok()) return done;
  X509_NAME* subject = X509_get_subject_name(certificate.get());
  const auto* name = reinterpret_cast<const unsigned char*>(plan.common_name.data());
  const bool filled =
      X509_set_version(certificate.get(), X509_VERSION_3) == 1 &&
      X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_UTF8, name,
                                 static_cast<int>(plan.common_name.size()), -1, 0) == 1 &&
      X509_set_issuer_name(certificate.get(), issuer ? X509_get_subject_name(issuer) : subject) ==
          1 &&
      ASN1_TIME_set(X509_getm_notBefore(certificate.get()), plan.from) != nullptr &&
      ASN1_TIME_set(X509_getm_notAfter(certificate.get()), plan.until) != nullptr &&
      X509_set_pubkey(certificate.get(), key) == 1;
  if (!filled) return library_failure("fill in a certificate");
  X509V3_CTX context{};
  X509V3_set_ctx(&context, issuer ? issuer : certificate.get(), certificate.get(), nullptr, nullptr,
                 0);
  for (const Extension& extension : plan.extensions) {
    ExtensionPtr made(
        X509V3_EXT_conf_nid(nullptr, &context, extension.nid, extension.value.c_str()));
    if (!made || X509_add_ext(certificate.get(), made.get(), -1) != 1) {
      return library_failure("add to a certificate");
    }
  }
  if (X509_sign(certificate.get(), issuer_key ? issuer_key : key, EVP_sha256()) == 0) {
    return library_failure("sign a certificate");
  }
  return certificate;
}

Result<IssuedIdentity> to_pem(X509* certificate, EVP_PKEY* key) {
  BioPtr text(BIO_new(BIO_s_mem()));
  BioPtr secret(BIO_new(BIO_s_mem()));  // OpenSSL wipes a memory BIO when it frees it
  if (PEM_write_bio_X509(text.get(), certificate) != 1 ||
      PEM_write_bio_PKCS8PrivateKey(secret.get(), key, nullptr, nullptr, 0, nullptr, nullptr) !=
          1) {
    return library_failure("write PEM");
  }
  IssuedIdentity issued;
  char* at = nullptr;
  long bytes = BIO_get_mem_data(text.get(), &at);
  issued.certificate_pem.assign(at, static_cast<std::size_t>(bytes));
  bytes = BIO_get_mem_data(secret.get(), &at);
  Result<SecureBuffer> kept = SecureBuffer::make(static_cast<std::size_t>(bytes));
  if (!kept.ok()) return kept.status();
  std::memcpy(kept->data(), at, kept->size());
  issued.key_pem = std::move(kept).value();
  return issued;
}

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

Status check(const LeafOptions& options) {
  if (options.days < 1 || options.days > kLeafDaysMax) {
    return {Code::kUnsupported, "a leaf lives 1 to " + std::to_string(kLeafDaysMax) +
                                    " days, not " + std::to_string(options.days)};
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
  std::string names = "URI:" + identity_uri(who);
  if (server) {
    for (const std::string& name : options.names) {
      names += (is_address(name) ? ",IP:" : ",DNS:") + name;
    }
  }
  Plan plan;
  plan.common_name = server ? options.host : options.user;
  plan.from =
      options.valid_from != 0 ? options.valid_from : std::time(nullptr) - kClockSlackSeconds;
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

// Creates the file, which must not exist; a half-written one is taken away again.
Status write_new_file(const std::string& path, std::span<const std::byte> bytes, mode_t mode) {
  Fd fd(::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, mode));
  if (!fd && errno == EEXIST) {
    return {Code::kDenied, path + " exists already; move it away first"};
  }
  if (!fd) return Status::system("create " + path);
  while (!bytes.empty()) {
    const ssize_t written = ::write(fd.get(), bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) {
      Status why = Status::system("write " + path);
      ::unlink(path.c_str());
      return why;
    }
    bytes = bytes.subspan(static_cast<std::size_t>(written));
  }
  return ok();
}

std::span<const std::byte> bytes_of(const std::string& text) {
  return std::as_bytes(std::span(text.data(), text.size()));
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
  PeerIdentity who;
  who.kind = IdentityKind::kAuthority;
  who.pool = options.pool;
  Plan plan;
  plan.common_name = "Farcall CA " + options.pool.substr(0, 48);  // X.520 allows 64 characters
  plan.from = std::time(nullptr) - kClockSlackSeconds;
  plan.until = plan.from + options.days * kDaySeconds;
  plan.extensions = {
      {NID_basic_constraints, "critical,CA:TRUE,pathlen:0"},
      {NID_key_usage, "critical,keyCertSign,cRLSign"},
      {NID_subject_key_identifier, "hash"},
      {NID_subject_alt_name, "URI:" + identity_uri(who)},
  };
  Result<X509Ptr> certificate = sign(plan, key.value().get(), nullptr, nullptr);
  if (!certificate.ok()) return certificate.status();
  return to_pem(certificate.value().get(), key.value().get());
}

Result<IssuedIdentity> issue(const IssuedIdentity& ca, const LeafOptions& options) {
  init_crypto();
  if (Status sound = check(options); !sound.ok()) return sound;
  Result<X509Ptr> issuer = parse_certificate(bytes_of(ca.certificate_pem), "the CA certificate");
  if (!issuer.ok()) return issuer.status();
  Result<KeyPtr> issuer_key = parse_key(ca.key_pem.bytes(), "the CA key");
  if (!issuer_key.ok()) return issuer_key.status();
  Result<PeerIdentity> authority = identity_of(issuer.value().get());
  if (!authority.ok() || authority->kind != IdentityKind::kAuthority ||
      X509_check_ca(issuer.value().get()) == 0 ||
      X509_check_private_key(issuer.value().get(), issuer_key.value().get()) != 1) {
    take_crypto_error();
    return Status(Code::kDenied, "what was given is no pool's CA with its key");
  }
  if (authority->not_after < std::time(nullptr)) {
    return Status(Code::kDenied, "the CA expired on " + date_text(authority->not_after));
  }
  Result<KeyPtr> key = make_key();
  if (!key.ok()) return key.status();
  Result<X509Ptr> certificate = sign(leaf_plan(options, authority->pool), key.value().get(),
                                     issuer.value().get(), issuer_key.value().get());
  if (!certificate.ok()) return certificate.status();
  return to_pem(certificate.value().get(), key.value().get());
}

Status save(const IssuedIdentity& identity, const std::string& certificate_path,
            const std::string& key_path) {
  FARCALL_TRY(write_new_file(key_path, identity.key_pem.bytes(), 0600));
  Status written = write_new_file(certificate_path, bytes_of(identity.certificate_pem), 0644);
  if (!written.ok()) ::unlink(key_path.c_str());
  return written;
}

Result<IssuedIdentity> load(const std::string& certificate_path, const std::string& key_path) {
  Result<SecureBuffer> certificate = read_file(certificate_path);
  if (!certificate.ok()) return certificate.status();
  Result<SecureBuffer> key = read_file(key_path);
  if (!key.ok()) return key.status();
  IssuedIdentity identity;
  identity.certificate_pem.assign(reinterpret_cast<const char*>(certificate->data()),
                                  certificate->size());
  identity.key_pem = std::move(key).value();
  return identity;
}

}  // namespace farcall::security
