#include "security/quote.h"

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/ecdsa.h>
#include <openssl/param_build.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <string_view>

#include "security/bytes_left.h"
#include "security/crypto.h"
#include "security/digest.h"
#include "security/x509.h"
#include "transport/base/limits_quote.h"

namespace farcall::security {
namespace {

constexpr std::string_view kMagic = "FCTQ";
constexpr std::uint8_t kVersion = 1;
constexpr std::string_view kLabel{"farcall quote 1\0", 16};

// TPM 2.0 Library, part 2: 6.2, 6.9, 6.3, and 10.6.1 for the size of a selection on a PC.
constexpr std::uint64_t kTpmMagic = 0xff544347;
constexpr std::uint64_t kAttestQuote = 0x8018;
constexpr std::uint64_t kAlgSha256 = 0x000b;
constexpr std::uint64_t kSelectBytes = 3;
// A name is a hash's number and the hash, at most of SHA-512.
constexpr std::size_t kNameBytesMax = 2 + 64;

Status malformed(const char* what) { return {Code::kMalformed, std::string("the quote ") + what}; }

Status denied(const char* what) { return {Code::kDenied, std::string("the quote ") + what}; }

// Numbers as TPMs write them.
class Reader : public BytesLeft {
 public:
  using BytesLeft::BytesLeft;
  std::uint64_t number(std::size_t bytes) {
    std::uint64_t value = 0;
    for (const std::byte one : take(bytes)) value = value << 8 | std::to_integer<unsigned>(one);
    return value;
  }
  template <std::size_t kBytes>
  void fill(std::array<std::byte, kBytes>& room) {
    std::ranges::copy(take(kBytes), room.begin());
  }
};

// TPML_PCR_SELECTION with one bank, that of SHA-256.
bool read_selection(Reader& reader, std::uint32_t* mask) {
  if (reader.number(4) != 1 || reader.number(2) != kAlgSha256 || reader.number(1) != kSelectBytes) {
    return false;
  }
  for (std::size_t i = 0; i < kSelectBytes; ++i) {
    *mask |= static_cast<std::uint32_t>(reader.number(1)) << 8 * i;
  }
  return !reader.is_bad() && *mask != 0;
}

// TPMS_ATTEST, which the quote holds in `attest`.
Status read_attest(Quote* quote) {
  Reader reader(quote->attest);
  if (reader.number(4) != kTpmMagic || reader.number(2) != kAttestQuote) {
    return malformed("is no quote of a TPM 2.0");
  }
  const std::uint64_t name_bytes = reader.number(2);
  if (name_bytes > kNameBytesMax) return malformed("names its key at too great length");
  reader.take(name_bytes);
  if (reader.number(2) != quote->qualifying.size()) {
    return malformed("answers no question of 32 bytes");
  }
  reader.fill(quote->qualifying);
  quote->clock.ms = reader.number(8);
  quote->clock.resets = static_cast<std::uint32_t>(reader.number(4));
  quote->clock.restarts = static_cast<std::uint32_t>(reader.number(4));
  if (reader.number(1) > 1) return malformed("has a clock that is neither sure nor unsure");
  quote->firmware = reader.number(8);
  if (!read_selection(reader, &quote->pcrs.mask)) {
    return malformed("is not of PCRs of the SHA-256 bank");
  }
  if (reader.number(2) != quote->pcr_digest.size()) return malformed("has no digest of PCRs");
  reader.fill(quote->pcr_digest);
  return reader.is_done() ? ok() : malformed("is not as long as it says");
}

Result<KeyPtr> public_key(const std::array<std::byte, 64>& key) {
  std::array<std::byte, 65> point{std::byte{POINT_CONVERSION_UNCOMPRESSED}};
  std::ranges::copy(key, point.begin() + 1);
  std::array<char, 8> group{"P-256"};
  const std::array<OSSL_PARAM, 3> parameters{
      OSSL_PARAM_construct_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, group.data(), 0),
      OSSL_PARAM_construct_octet_string(OSSL_PKEY_PARAM_PUB_KEY, point.data(), point.size()),
      OSSL_PARAM_construct_end()};
  const std::unique_ptr<EVP_PKEY_CTX, FreeWith<&EVP_PKEY_CTX_free>> context(
      EVP_PKEY_CTX_new_from_name(nullptr, "EC", nullptr));
  EVP_PKEY* made = nullptr;
  const bool is_key = context && EVP_PKEY_fromdata_init(context.get()) == 1 &&
                      EVP_PKEY_fromdata(context.get(), &made, EVP_PKEY_PUBLIC_KEY,
                                        const_cast<OSSL_PARAM*>(parameters.data())) == 1;
  KeyPtr held(made);
  if (is_key) return held;
  take_crypto_error();
  return denied("is signed with what is no P-256 key");
}

// ECDSA of SHA-256; the signature is r and s.
bool is_signed_by(EVP_PKEY* key, std::span<const std::byte> bytes,
                  const std::array<std::byte, 64>& signature) {
  const auto* at = reinterpret_cast<const unsigned char*>(signature.data());
  const std::unique_ptr<ECDSA_SIG, FreeWith<&ECDSA_SIG_free>> pair(ECDSA_SIG_new());
  BIGNUM* r = BN_bin2bn(at, 32, nullptr);
  BIGNUM* s = BN_bin2bn(at + 32, 32, nullptr);
  if (!pair || r == nullptr || s == nullptr || ECDSA_SIG_set0(pair.get(), r, s) != 1) {
    BN_free(r);
    BN_free(s);
    return false;
  }
  std::array<unsigned char, 80> der{};
  unsigned char* end = der.data();
  const int der_bytes = i2d_ECDSA_SIG(pair.get(), &end);
  const std::unique_ptr<EVP_MD_CTX, FreeWith<&EVP_MD_CTX_free>> context(EVP_MD_CTX_new());
  const bool good =
      der_bytes > 0 && context &&
      EVP_DigestVerifyInit(context.get(), nullptr, EVP_sha256(), nullptr, key) == 1 &&
      EVP_DigestVerify(context.get(), der.data(), static_cast<std::size_t>(der_bytes),
                       reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size()) == 1;
  take_crypto_error();
  return good;
}

}  // namespace

Sha256 qualifying_data(const QuoteBinding& binding) {
  std::array<std::byte, kLabel.size() + 3 * 32> all{};
  std::memcpy(all.data(), kLabel.data(), kLabel.size());
  auto at = all.begin() + kLabel.size();
  for (const Sha256* part : {&binding.nonce, &binding.tls_key, &binding.manifest}) {
    at = std::ranges::copy(*part, at).out;
  }
  return sha256(all);
}

Result<Quote> parse_quote(std::span<const std::byte> bytes) {
  if (bytes.size() > limits::kQuoteBytesMax) return malformed("is too long");
  Reader reader(bytes);
  const std::span<const std::byte> magic = reader.take(kMagic.size());
  if (reader.is_bad() || std::memcmp(magic.data(), kMagic.data(), kMagic.size()) != 0 ||
      reader.number(1) != kVersion) {
    return malformed("begins with other bytes");
  }
  Quote quote;
  if (reader.number(3) != 0) return malformed("has bits set that mean nothing");
  reader.fill(quote.key);
  reader.fill(quote.manifest);
  std::size_t attest_bytes = reader.number(1);
  attest_bytes |= reader.number(1) << 8;
  if (attest_bytes > limits::kQuoteAttestBytesMax) return malformed("is too long");
  const std::span<const std::byte> attest = reader.take(attest_bytes);
  quote.attest.assign(attest.begin(), attest.end());
  reader.fill(quote.signature);
  if (reader.is_bad()) return malformed("is cut short");
  if (Status read = read_attest(&quote); !read.ok()) return read;
  for (std::size_t i = 0; i < kPcrs; ++i) {
    if (quote.pcrs.has(i)) reader.fill(quote.pcrs.values[i]);
  }
  if (!reader.is_done()) return malformed("does not bring the PCRs that it is of");
  return quote;
}

std::vector<std::byte> encode_quote(const Quote& quote) {
  std::vector<std::byte> bytes(kMagic.size());
  std::memcpy(bytes.data(), kMagic.data(), kMagic.size());
  const auto add = [&bytes](std::span<const std::byte> more) {
    bytes.insert(bytes.end(), more.begin(), more.end());
  };
  bytes.push_back(std::byte{kVersion});
  bytes.resize(bytes.size() + 3);
  add(quote.key);
  add(quote.manifest);
  bytes.push_back(static_cast<std::byte>(quote.attest.size() & 0xff));
  bytes.push_back(static_cast<std::byte>(quote.attest.size() >> 8 & 0xff));
  add(quote.attest);
  add(quote.signature);
  for (std::size_t i = 0; i < kPcrs; ++i) {
    if (quote.pcrs.has(i)) add(quote.pcrs.values[i]);
  }
  return bytes;
}

bool has_its_pcrs(const Quote& quote) {
  std::vector<std::byte> all;
  for (std::size_t i = 0; i < kPcrs; ++i) {
    const Sha256& value = quote.pcrs.values[i];
    if (quote.pcrs.has(i)) all.insert(all.end(), value.begin(), value.end());
  }
  return sha256(all) == quote.pcr_digest;
}

Status check_quote(const Quote& quote, const QuoteBinding& binding) {
  init_crypto();
  Result<KeyPtr> key = public_key(quote.key);
  if (!key.ok()) return key.status();
  if (!is_signed_by(key->get(), quote.attest, quote.signature)) {
    return denied("is not signed by the key that it names: it was changed on the way");
  }
  if (!has_its_pcrs(quote)) {
    return denied("is of other PCR values than those that came with it");
  }
  QuoteBinding all = binding;
  all.manifest = quote.manifest;
  const Sha256 expected = qualifying_data(all);
  if (CRYPTO_memcmp(expected.data(), quote.qualifying.data(), expected.size()) != 0) {
    return denied("answers another question: it is an old one, or for another TLS key or manifest");
  }
  return ok();
}

std::string attestation_key_name(const std::array<std::byte, 64>& key) {
  return to_hex(sha256(key));
}

}  // namespace farcall::security
