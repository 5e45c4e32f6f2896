#include "security/identity.h"

#include <algorithm>
#include <array>
#include <vector>

#include "security/crypto.h"
#include "security/x509.h"

namespace farcall::security {
namespace {

constexpr std::string_view kScheme = "spiffe://";
constexpr std::size_t kWordBytesMax = 64;
// pool, tenant, <t>, user, <u>, zone, <z>, role, <r>; and one more, which is one too many.
constexpr std::size_t kWordsMax = 10;

std::vector<std::string_view> split(std::string_view text) {
  std::vector<std::string_view> words;
  for (;;) {
    const std::size_t slash = text.find('/');
    words.push_back(text.substr(0, slash));
    if (slash == std::string_view::npos || words.size() == kWordsMax) return words;
    text.remove_prefix(slash + 1);
  }
}

// The word behind `label` where the two are the last; they are taken off.
std::string_view take_last(std::vector<std::string_view>& words, std::string_view label) {
  if (words.size() < 3 || words[words.size() - 2] != label) return {};
  const std::string_view word = words.back();
  words.resize(words.size() - 2);
  return word;
}

std::string name_text(const X509_NAME* name) {
  BioPtr bio(BIO_new(BIO_s_mem()));
  X509_NAME_print_ex(bio.get(), name, 0, XN_FLAG_ONELINE & ~ASN1_STRFLGS_ESC_MSB);
  char* text = nullptr;
  const long bytes = BIO_get_mem_data(bio.get(), &text);
  return std::string(text, static_cast<std::size_t>(bytes));
}

}  // namespace

bool is_identity_word(std::string_view word) {
  const auto allowed = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
           c == '_' || c == '-';
  };
  return !word.empty() && word.size() <= kWordBytesMax &&
         std::all_of(word.begin(), word.end(), allowed);
}

Result<PeerIdentity> parse_identity_uri(std::string_view uri) {
  const Status wrong(Code::kDenied, "the certificate's URI name is none of a pool's identities");
  if (!uri.starts_with(kScheme)) return wrong;
  std::vector<std::string_view> words = split(uri.substr(kScheme.size()));
  if (words.size() == kWordsMax || words.size() % 2 == 0) return wrong;
  if (!std::all_of(words.begin(), words.end(), is_identity_word)) return wrong;
  PeerIdentity who;
  who.role = take_last(words, "role");
  who.zone = take_last(words, "zone");
  who.pool = words[0];
  if (words.size() == 1 && who.role.empty() && who.zone.empty()) {
    who.kind = IdentityKind::kAuthority;
  } else if (words.size() == 3 && words[1] == "server") {
    who.kind = IdentityKind::kServer;
    who.host = words[2];
  } else if (words.size() == 5 && words[1] == "tenant" && words[3] == "user") {
    who.kind = IdentityKind::kClient;
    who.tenant = words[2];
    who.user = words[4];
  } else {
    return wrong;
  }
  return who;
}

std::string identity_uri(const PeerIdentity& who) {
  std::string uri = std::string(kScheme) + who.pool;
  if (who.kind == IdentityKind::kClient) uri += "/tenant/" + who.tenant + "/user/" + who.user;
  if (who.kind == IdentityKind::kServer) uri += "/server/" + who.host;
  if (!who.zone.empty()) uri += "/zone/" + who.zone;
  if (!who.role.empty()) uri += "/role/" + who.role;
  return uri;
}

Result<CertificateFacts> describe_certificate(const std::string& certificate_path) {
  Result<SecureBuffer> pem = read_file(certificate_path);
  if (!pem.ok()) return pem.status();
  Result<X509Ptr> parsed = parse_certificate(pem->bytes(), certificate_path);
  if (!parsed.ok()) return parsed.status();
  X509* certificate = parsed.value().get();
  Result<PeerIdentity> who = identity_of(certificate);
  if (!who.ok()) return who.status();
  CertificateFacts facts;
  facts.who = std::move(who).value();
  facts.subject = name_text(X509_get_subject_name(certificate));
  facts.issuer = name_text(X509_get_issuer_name(certificate));
  facts.not_before = unix_seconds(X509_get0_notBefore(certificate));
  facts.not_after = unix_seconds(X509_get0_notAfter(certificate));
  facts.for_server = allows(certificate, IdentityKind::kServer);
  facts.for_client = allows(certificate, IdentityKind::kClient);
  facts.key_id = key_id_text(X509_get0_subject_key_id(certificate));
  return facts;
}

}  // namespace farcall::security
