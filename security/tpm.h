// This machine's TPM 2.0, asked for a quote (quote.h) by tpm2-tss.
//
//   Result<Quote> quote = make_quote("device:/dev/tpmrm0", {.nonce = nonce, .tls_key = key});
//   member.attest = attester_of("device:/dev/tpmrm0", manifest_path);
//
// The attestation key is a primary key of the endorsement hierarchy: the TPM derives it anew each
// time from its own seed and a fixed template, so nothing lies on the disk, nothing takes the TPM's
// room between two quotes, and it stays the same until the TPM's maker's seed is changed. In that
// hierarchy the counters of starts are told as they are. P-256, restricted: the TPM signs with it
// what it has made itself, and nothing else.
//
// A library of its own, which loads tpm2-tss when it is asked: programs start without that, too.
// Takes a TPM of flesh some hundred milliseconds.  Threads: any; a TPM without a resource manager
// (swtpm, /dev/tpm0) serves one at a time.
#pragma once
#include <cstddef>
#include <string>
#include <vector>

#include "security/quote.h"
#include "transport/base/status.h"

namespace farcall::security {

// What a quote is of: all PCRs that stay as they are while a machine runs. Not 10, which the
// kernel's integrity measurement extends with each file, nor 17 to 23, which are others' to reset.
inline constexpr std::uint32_t kQuotedPcrs = 0x1fbff;

//   tcti  how tpm2-tss reaches it: "device:/dev/tpmrm0", "swtpm:path=/run/tpm/sock"
// Errors, with what to do: kNotFound (tpm2-tss is not here), kSystem (no TPM there, or it refuses).
Result<Quote> make_quote(const std::string& tcti, const QuoteBinding& binding);

//   manifest_path  the signed manifest whose digest the quote says (manifest_file.h), read each
//                  time; empty: none
Attester attester_of(std::string tcti, std::string manifest_path);

}  // namespace farcall::security
