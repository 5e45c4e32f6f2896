// Attestation: whether a server may have its next certificate, by its TPM's quote.
//
//   Attestation gate({.need = AttestNeed::kRequire, .golden_path = …, .attested_path = …});
//   Result<Attested> one = gate.look({.host = "gpu7", .quote = …, .tls_key = …, .nonce = …});
//   if (one.ok() && one->server) …  // attested: register *one->server, and let it live seconds_max
//
// Looked at: that the quote is for this connection (the nonce is of its TLS keys, so it is fresh
// and cannot be used elsewhere) and the TLS key that the certificate is for; that the key that
// signed is the one registered for the server, or that it joins now; that its PCRs are among the
// golden ones. Who needs none and brings none is as before.
// What is altered is so kept out within the life of an attested certificate, which is minutes:
// nothing has to reach anybody for that, and who repairs machine or golden set goes on at once.
// Owner: the authority's service.  Threads: any; reads files and keeps nothing.
#pragma once
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "security/attested.h"
#include "security/quote.h"
#include "transport/base/status.h"

namespace farcall::security {

// kKnown: of servers that have an attestation key registered. kRequire: of every server.
enum class AttestNeed : std::uint8_t { kOff, kKnown, kRequire };
// "off", "known", "require".  Errors: kUnsupported.
Result<AttestNeed> parse_attest_need(std::string_view word);

// Attested certificates live this long, unless told otherwise; renewed at half of it.
inline constexpr std::int64_t kAttestedSeconds = 900;

// The exporter's label (TLS 1.3, RFC 8446 section 7.5) of the nonce for a quote.
inline constexpr const char* kQuoteNonceLabel = "EXPERIMENTAL-farcall quote v1";

// What became of a quote.
struct Attested {
  std::optional<AttestedServer> server{};  // none: no quote was needed
  std::int64_t seconds_max = 0;            // the certificate's life at most; 0: no bound by this
  std::string note{};                      // for the audit log; empty: no quote
};

class Attestation {
 public:
  struct Settings {
    AttestNeed need = AttestNeed::kOff;
    std::string golden_path{};
    std::string attested_path{};
    std::int64_t life_seconds = kAttestedSeconds;
  };
  struct Question {
    std::string host;
    std::span<const std::byte> quote;  // borrowed; empty: none came
    Sha256 tls_key{};                  // that the certificate is for
    Sha256 nonce{};
    bool joins = false;  // it may register a key
    std::int64_t now = 0;
  };
  explicit Attestation(Settings settings) : settings_(std::move(settings)) {}

  // Is all there that is needed?  Errors: those of load_golden and AttestedServers::find.
  Status check() const;
  // Errors: kMalformed and kDenied with what is wrong and what to do, kSystem for the authority's
  // own files.
  Result<Attested> look(const Question& question) const;

 private:
  Settings settings_;
};

}  // namespace farcall::security
