// Quote: what a TPM 2.0 has signed of how its machine was started (the values of its PCRs), for one
// question and one TLS key, and the check of it. OpenSSL is all this takes; making one is tpm.h.
//
//   Result<Quote> quote = parse_quote(bytes);                        // of a stranger
//   Status good = check_quote(quote.value(), {.nonce = …, .tls_key = …});
//   quote->pcrs.values[7] …; quote->clock.resets …                   // true, if the key is trusted
//
// What makes it fresh and its owner's: the TPM signs, beside the PCRs, 32 bytes of the asker's
// choice, here SHA-256("farcall quote 1", 0, nonce, SHA-256 of the TLS key, SHA-256 of the manifest
// of binaries, or zeros). A quote for another question, key or manifest is refused, and so is one
// of other PCR values than those that came with it.
// It says nothing of whether the key that signed lies in a TPM: whoever registers keys knows that
// (attested.h).  The bytes:
//   "FCTQ", u8 version 1, three zeros, attestation key (P-256, x and y, 64 bytes), 32 bytes
//   manifest, u16 n (little endian), n bytes TPMS_ATTEST as the TPM made it (TPM 2.0 Library part
//   2, 10.12.12: big endian), signature (r and s, 64 bytes), then 32 bytes for each PCR selected in
//   it
// One quote has one encoding.  Owner: plain values.  Threads: any.  The parser takes hostile bytes.
#pragma once
#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "transport/base/status.h"

namespace farcall::security {

using Sha256 = std::array<std::byte, 32>;

inline constexpr std::size_t kPcrs = 24;
struct PcrValues {
  std::uint32_t mask = 0;  // bit n: PCR n is among them
  std::array<Sha256, kPcrs> values{};
  bool has(std::size_t index) const { return index < kPcrs && (mask >> index & 1) != 0; }
  bool operator==(const PcrValues&) const = default;
};

// What a TPM counts. `resets`: starts of the machine; `restarts`: suspensions in between. Both and
// the clock begin anew when the TPM is cleared.
struct QuoteClock {
  std::uint64_t ms = 0;  // the TPM was on
  std::uint32_t resets = 0;
  std::uint32_t restarts = 0;
  bool operator==(const QuoteClock&) const = default;
};

struct Quote {
  std::array<std::byte, 64> key{};
  Sha256 manifest{};                // zeros: none
  std::vector<std::byte> attest{};  // as signed
  std::array<std::byte, 64> signature{};
  PcrValues pcrs{};  // as claimed, until check_quote
  // Of `attest`:
  Sha256 qualifying{};
  Sha256 pcr_digest{};
  QuoteClock clock{};
  std::uint64_t firmware = 0;  // of the TPM
};

// What a quote is asked for.
struct QuoteBinding {
  Sha256 nonce{};
  Sha256 tls_key{};   // of its SubjectPublicKeyInfo
  Sha256 manifest{};  // zeros: none
};
Sha256 qualifying_data(const QuoteBinding& binding);

// Makes a quote: encode_quote's bytes. Its maker fills in the manifest.
using Attester = std::function<Result<std::vector<std::byte>>(QuoteBinding)>;

// Errors: kMalformed with what is wrong.
Result<Quote> parse_quote(std::span<const std::byte> bytes);
// Of key, manifest, attest, signature and pcrs.
std::vector<std::byte> encode_quote(const Quote& quote);

// Are these the PCR values that the TPM has signed? A machine may change one while it is asked.
bool has_its_pcrs(const Quote& quote);

// binding.manifest is not looked at: the quote brings its own.
// Errors: kDenied with what does not fit.
Status check_quote(const Quote& quote, const QuoteBinding& binding);

// SHA-256 of the key's two numbers, hexadecimal: how people and files call it.
std::string attestation_key_name(const std::array<std::byte, 64>& key);

}  // namespace farcall::security
