// How it works: the input is tried as a deny list as it stands, which ends at its signature; then
// as the DER of a list that is signed again, by an authority of this fuzzer's, so that what stands
// behind the signature is reached as well. A list that is taken must answer for its own entries.
#include <openssl/pem.h>
#include <openssl/x509.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <span>
#include <string>

#include "security/ca.h"
#include "security/ca_parts.h"
#include "security/deny_list.h"

using namespace farcall;
using namespace farcall::security;

namespace {

void require(bool holds) {
  if (!holds) std::abort();
}

constexpr std::int64_t kNow = 1'800'000'000;  // a list's dates count from here

const IssuedIdentity& authority_files() {
  static const IssuedIdentity* const files = [] {
    Result<IssuedIdentity> made = create_ca({.pool = "fuzz"});
    require(made.ok());
    return new IssuedIdentity(std::move(made).value());
  }();
  return *files;
}

const Authority& authority() {
  static const Authority* const read = [] {
    Result<Authority> made = Authority::read(authority_files());
    require(made.ok());
    return new Authority(std::move(made).value());
  }();
  return *read;
}

void parse(std::span<const std::byte> pem, std::int64_t now) {
  Result<DeniedByIssuer> lists =
      parse_deny_list(pem, bytes_of(authority_files().certificate_pem), now);
  if (!lists.ok()) return;
  for (const auto& [issuer, one] : lists.value()) {
    for (const auto& [serial, denial] : one.serials) {
      PeerIdentity who;
      who.serial = serial;
      who.issuer = issuer;
      require(find_denial(lists.value(), who).has_value());
      static_cast<void>(explain_denial(denial));
    }
  }
}

void sign_and_parse(const std::uint8_t* data, std::size_t size) {
  const unsigned char* at = data;
  CrlPtr list(d2i_X509_CRL(nullptr, &at, static_cast<long>(size)));
  if (!list) return;
  const bool made = X509_CRL_set_issuer_name(
                        list.get(), X509_get_subject_name(authority().certificate.get())) == 1 &&
                    X509_CRL_sign(list.get(), authority().key.get(), EVP_sha256()) != 0;
  if (!made) return;
  BioPtr text(BIO_new(BIO_s_mem()));
  if (PEM_write_bio_X509_CRL(text.get(), list.get()) != 1) return;
  char* bytes = nullptr;
  const long length = BIO_get_mem_data(text.get(), &bytes);
  const auto pem = std::as_bytes(std::span(bytes, static_cast<std::size_t>(length)));
  parse(pem, kNow);
  // And at a time that its own dates allow.
  parse(pem, unix_seconds(X509_CRL_get0_lastUpdate(list.get())));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  parse(std::as_bytes(std::span(data, size)), kNow);
  sign_and_parse(data, size);
  return 0;
}
