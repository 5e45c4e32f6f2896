// One record as it stands in a file: a line of JSON with all fields, always in this order.
//
//   {"seq":7,"time":"2026-11-22T02:45:23.123456789Z","kind":"session.start","outcome":"ok",
//    "role":"user","principal":"spiffe://lab/tenant/acme/user/ann","tenant":"acme","lease":"",
//    "server":"gpu1","details":{"from":"10.0.0.7:4711"},"hash":"<64 hexadecimal digits>"}
//
// (one line, no spaces). hash = SHA-256(hash of the line before, 32 bytes, and the line's bytes up
// to `,"hash":`). A checkpoint has `,"signature":"<128 digits>"` before that: Ed25519 over the text
// "farcall audit checkpoint 1\n" and the line's bytes up to `,"signature":`; its details name the
// log, the key and the hash before it.
// The reader takes what the writer could have written and nothing else, so one record is one text.
// Files are hostile to it.  Threads: any; values.
#pragma once
#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "security/audit.h"
#include "security/audit_key.h"
#include "transport/base/status.h"

namespace farcall::security {

using AuditHash = std::array<std::byte, 32>;

// "2026-11-22T02:45:23.123456789Z"; years 1970 … 2261, what 64 bits of nanoseconds hold.
std::string audit_time(std::int64_t unix_ns);

// The fields from kind to details, bounded and escaped: what does not depend on the line's place.
// Errors: kUnsupported for a kind, role or detail's name that must not be.
Result<std::string> encode_fields(const AuditRecord& record);

// Where a line stands in its log.
struct AuditPlace {
  std::uint64_t sequence = 1;
  AuditHash before{};  // hash of the line before; zeros before the first
};
// The line with its line feed; moves the place on to the next.
std::string encode_line(const std::string& time, const std::string& fields, AuditPlace* place);
// The same, signed. fields: of a record of kind audit.checkpoint.  Errors: kSystem.
Result<std::string> encode_checkpoint(const std::string& time, const std::string& fields,
                                      const AuditSigner& signer, AuditPlace* place);

struct AuditLine {
  std::uint64_t sequence = 0;
  std::string time;
  AuditRecord record;
  bool is_checkpoint = false;
  AuditSignature signature{};  // of a checkpoint
  AuditHash hash{};
  // Into the text that was parsed:
  std::string_view hashed;       // what the hash covers, beside the hash before
  std::string_view signed_text;  // of a checkpoint: beside the heading
};
// text: a line without its line feed; borrowed by the result.
// Errors: kMalformed, with what is wrong and the byte it is at.
Result<AuditLine> parse_line(std::string_view text);

// Is what a file ends in the rest of a write that was cut short? The beginning of a line, or blocks
// that were never written.
//   whole  it ends in a line feed
bool is_cut_short(std::string_view text, bool whole);

AuditHash next_hash(const AuditHash& before, std::string_view hashed);
bool is_signed(const AuditLine& checkpoint, const AuditVerifier& by);
// The value of a detail; empty when there is none.
std::string_view detail(const AuditRecord& record, std::string_view name);
// 64 hexadecimal digits.  Errors: kMalformed.
Result<AuditHash> parse_hash(std::string_view digits);

}  // namespace farcall::security
