// The authority's index: what it has issued, renewed and revoked, for lists, reports and audits.
//
//   FARCALL_TRY(append_to_index("ca/index", {.at = now, .event = IndexEvent::kIssued, …}));
//   Result<std::vector<IndexLine>> lines = read_index("ca/index");
//   for (const Issued& one : issued_of(lines.value())) …
//
// A text file to which one line is added for each event and from which nothing is ever taken; after
// the first, "farcall-ca-index 1":
//   2026-11-22T03:10:00Z issued SERIAL ISSUER 2026-11-29T03:09:00Z spiffe://lab/server/gpu1 -
// Time, event, serial number, issuer's key identifier, end of life, identity, and a note: of a
// renewal the serial number of the predecessor, of a revocation the reason, else "-".
// Text, and no database: a pool issues some ten thousand a year, one process writes at a time, and
// whoever audits reads it with any tool, years later, and sees with diff that nothing was taken
// out. A line is on the disk before what it tells of leaves the authority; a line that a crash cut
// short tells of nothing that left, and makes room for the next. Threads: one; CaFolder's lock
// keeps other processes out.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "security/identity.h"
#include "transport/base/status.h"

namespace farcall::security {

enum class IndexEvent : std::uint8_t { kIssued, kRenewed, kRevoked };

struct IndexLine {
  std::int64_t at = 0;  // Unix seconds
  IndexEvent event = IndexEvent::kIssued;
  PeerIdentity who;  // with serial, issuer and not_after; where a revocation knew no more, a pool's
  std::string note;  // a serial number, a reason, or empty
};

// Errors: kDenied with the line's number.
Result<std::vector<IndexLine>> parse_index(std::string_view text);
std::string index_line(const IndexLine& line);  // with its line feed

// A file that is not there is an empty index.  Errors: kDenied (with the line's number, or longer
// than limits::kIndexBytesMax), kSystem.
Result<std::vector<IndexLine>> read_index(const std::string& path);
// Brings it to the disk.  Errors: kSystem, kDenied.
Status append_to_index(const std::string& path, const IndexLine& line);

// What became of one certificate.
struct Issued {
  PeerIdentity who;
  std::int64_t at = 0;          // it was issued; 0: before there was an index
  bool renewal = false;         // of an earlier one
  std::string renewed_by;       // serial number of its successor; empty: none
  std::int64_t revoked_at = 0;  // 0: it was not
  std::string reason;
};
enum class Standing : std::uint8_t {
  kGood,
  kDue,      // past half its life, and not renewed
  kRenewed,  // good as yet, with a successor
  kExpired,
  kRevoked
};
const char* word(Standing standing);
Standing standing_of(const Issued& one, std::int64_t now);
// When half of its life is over; 0 where the index does not know its beginning.
std::int64_t due_at(const Issued& one);
// In the order they were issued.
std::vector<Issued> issued_of(const std::vector<IndexLine>& lines);

}  // namespace farcall::security
