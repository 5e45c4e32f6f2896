#include "security/attestation.h"

#include <utility>

#include "security/golden.h"

namespace farcall::security {
namespace {

Status denied(const std::string& why) { return {Code::kDenied, why}; }

// Of the authority's own files, which are no stranger's business.
Status own(const Status& why) { return {Code::kSystem, why.text()}; }

}  // namespace

Result<AttestNeed> parse_attest_need(std::string_view word) {
  if (word == "off") return AttestNeed::kOff;
  if (word == "known") return AttestNeed::kKnown;
  if (word == "require") return AttestNeed::kRequire;
  return Status(Code::kUnsupported, "attestation is off, known or require");
}

Status Attestation::check() const {
  if (settings_.need == AttestNeed::kOff) return ok();
  if (Result<GoldenSet> set = load_golden(settings_.golden_path); !set.ok()) return set.status();
  return AttestedServers(settings_.attested_path).find("").status();
}

Result<Attested> Attestation::look(const Question& question) const {
  const std::string& host = question.host;
  if (settings_.need == AttestNeed::kOff) return Attested{};
  auto before = AttestedServers(settings_.attested_path).find(host);
  if (!before.ok()) return own(before.status());
  const std::optional<AttestedServer>& known = before.value();
  if (question.quote.empty()) {
    if (settings_.need == AttestNeed::kKnown && !known) return Attested{};
    return denied(
        "a certificate for " + host +
        " is given against a quote of its TPM only: name that with --tpm (farcall ca join, "
        "farcall-server)");
  }
  Result<Quote> quote = parse_quote(question.quote);
  if (!quote.ok()) return quote.status();
  const std::string key = attestation_key_name(quote->key);
  if (!question.joins && !known) {
    return denied("no attestation key of " + host +
                  " is registered: let it join anew (farcall ca token; farcall ca join --tpm)");
  }
  if (!question.joins && known->key != key) {
    return denied("the quote is of another TPM (key " + key + ") than the one registered for " +
                  host + " (" + known->key + "); if it was replaced, let the server join anew");
  }
  FARCALL_TRY(check_quote(quote.value(), {.nonce = question.nonce, .tls_key = question.tls_key}));
  Result<GoldenSet> set = load_golden(settings_.golden_path);
  if (!set.ok()) return own(set.status());
  FARCALL_TRY(judge(set.value(), host, quote.value()));
  Attested good;
  good.server = AttestedServer{.host = host, .key = key, .clock = quote->clock, .at = question.now};
  good.seconds_max = settings_.life_seconds;
  good.note = "key " + key;
  const bool is_same = known && known->key == key;
  const std::string since = is_same ? since_then(known->clock, quote->clock) : "registered";
  if (!since.empty()) good.note += ", " + since;
  return good;
}

}  // namespace farcall::security
