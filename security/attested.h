// The attestation keys that an authority trusts, one for each server, and what their TPMs counted
// when they were heard of last.
//
//   AttestedServers known("ca/attested");
//   Result<std::optional<AttestedServer>> before = known.find("gpu7");
//   FARCALL_TRY(known.put({.host = "gpu7", .key = attestation_key_name(quote.key), …}));
//
// Registered when a server joins, by its one-time token: whoever brought that there vouches for the
// machine, and the key does the rest. A server that gets another TPM joins anew, which replaces its
// line. A text file, for the authority's owner only, replaced as a whole; after
// "farcall-attested 1", by host:
//   HOST KEY RESETS RESTARTS CLOCK_MS UNIX_SECONDS
// Threads: one; CaFolder's lock keeps other processes out.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "security/quote.h"
#include "transport/base/status.h"

namespace farcall::security {

struct AttestedServer {
  std::string host;     // an identity word
  std::string key;      // attestation_key_name
  QuoteClock clock;     // of its last good quote
  std::int64_t at = 0;  // Unix seconds
  bool operator==(const AttestedServer&) const = default;
};

// Errors: kDenied with the line's number.
Result<std::vector<AttestedServer>> parse_attested(std::string_view text);
std::string attested_text(const std::vector<AttestedServer>& servers);

// What happened to a machine between two of its quotes, for people: "started 2 times since"; empty
// where nothing did.
std::string since_then(const QuoteClock& before, const QuoteClock& now);

class AttestedServers {
 public:
  explicit AttestedServers(std::string path) : path_(std::move(path)) {}
  // By host; none where there is no file.  Errors: kDenied, kSystem.
  Result<std::vector<AttestedServer>> all() const;
  Result<std::optional<AttestedServer>> find(const std::string& host) const;
  // Adds or replaces.  Errors: kDenied, kOverQuota, kSystem.
  Status put(const AttestedServer& server) const;

 private:
  std::string path_;
};

}  // namespace farcall::security
