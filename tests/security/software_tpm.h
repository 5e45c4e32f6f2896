// SoftwareTpm: what a TPM answers, by a key and numbers of the test's own.
//
//   SoftwareTpm tpm;
//   tpm.extend(8, "another kernel");
//   Attester attester = [&](QuoteBinding binding) { return Result(tpm.quote(binding)); };
//
// That real ones answer like this is what recorded_quote.h and tests/e2e/attestation.py are for.
// Threads: one.
#pragma once
#include <doctest/doctest.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/ecdsa.h>
#include <openssl/evp.h>

#include <algorithm>
#include <array>
#include <memory>
#include <string_view>
#include <vector>

#include "security/digest.h"
#include "security/file.h"
#include "security/quote.h"

namespace farcall::testing {

class SoftwareTpm {
 public:
  SoftwareTpm() : key_(EVP_EC_gen("P-256"), &EVP_PKEY_free) {
    REQUIRE(key_ != nullptr);
    pcrs.mask = 0x1ff;
  }
  security::PcrValues pcrs;
  security::QuoteClock clock{.ms = 1'000, .resets = 3, .restarts = 0};

  void extend(std::size_t index, std::string_view with) {
    std::array<std::byte, 64> both{};
    std::ranges::copy(pcrs.values[index], both.begin());
    std::ranges::copy(security::sha256(security::bytes_of(with)), both.begin() + 32);
    pcrs.values[index] = security::sha256(both);
  }

  std::vector<std::byte> quote(const security::QuoteBinding& binding) const {
    security::Quote quote;
    quote.manifest = binding.manifest;
    quote.pcrs = pcrs;
    quote.attest = attest(security::qualifying_data(binding));
    std::array<unsigned char, 65> point{};
    std::size_t written = 0;
    REQUIRE(EVP_PKEY_get_octet_string_param(key_.get(), OSSL_PKEY_PARAM_PUB_KEY, point.data(),
                                            point.size(), &written) == 1);
    std::ranges::copy(std::as_bytes(std::span(point)).subspan(1), quote.key.begin());
    sign(quote);
    return encode_quote(quote);
  }

 private:
  std::vector<std::byte> attest(const security::Sha256& qualifying) const {
    std::vector<std::byte> bytes;
    const auto number = [&](std::uint64_t value, int size) {
      for (int i = size - 1; i >= 0; --i) bytes.push_back(std::byte(value >> 8 * i & 0xff));
    };
    const auto add = [&](const security::Sha256& value) {
      number(value.size(), 2);
      bytes.insert(bytes.end(), value.begin(), value.end());
    };
    std::vector<std::byte> values;
    for (std::size_t i = 0; i < security::kPcrs; ++i) {
      if (pcrs.has(i)) values.insert(values.end(), pcrs.values[i].begin(), pcrs.values[i].end());
    }
    number(0xff544347, 4);
    number(0x8018, 2);
    number(0, 2);  // the signer's name
    add(qualifying);
    number(clock.ms, 8);
    number(clock.resets, 4);
    number(clock.restarts, 4);
    number(1, 1);
    number(7, 8);       // firmware
    number(1, 4);       // one bank,
    number(0x000b, 2);  // of SHA-256
    number(3, 1);
    for (int i = 0; i < 3; ++i) number(pcrs.mask >> 8 * i & 0xff, 1);
    add(security::sha256(values));
    return bytes;
  }
  void sign(security::Quote& quote) const {
    std::array<unsigned char, 80> der{};
    std::size_t bytes = der.size();
    std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> context(EVP_MD_CTX_new(),
                                                                    &EVP_MD_CTX_free);
    REQUIRE(EVP_DigestSignInit(context.get(), nullptr, EVP_sha256(), nullptr, key_.get()) == 1);
    REQUIRE(EVP_DigestSign(context.get(), der.data(), &bytes,
                           reinterpret_cast<const unsigned char*>(quote.attest.data()),
                           quote.attest.size()) == 1);
    const unsigned char* at = der.data();
    std::unique_ptr<ECDSA_SIG, decltype(&ECDSA_SIG_free)> pair(
        d2i_ECDSA_SIG(nullptr, &at, static_cast<long>(bytes)), &ECDSA_SIG_free);
    auto* room = reinterpret_cast<unsigned char*>(quote.signature.data());
    BN_bn2binpad(ECDSA_SIG_get0_r(pair.get()), room, 32);
    BN_bn2binpad(ECDSA_SIG_get0_s(pair.get()), room + 32, 32);
  }
  std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)> key_;
};

}  // namespace farcall::testing
