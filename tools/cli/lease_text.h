// Leases for people to read, and lists of families as people write them.
//
//   std::fputs(describe(lease, now_s).c_str(), stdout);
//   Result<std::uint64_t> families = parse_families("memory,launch");
//
// Threads: any.  Plain functions.
#pragma once
#include <cstdint>
#include <string>

#include "security/lease_token.h"
#include "transport/base/status.h"

namespace farcall::cli {

// Everything the token says, a line each.
std::string describe(const security::LeaseToken& lease, std::int64_t now_s);

// Names with commas between into a set of families, with the session's own.
// Errors: kUnsupported, naming the families there are.
Result<std::uint64_t> parse_families(const std::string& text);
// "all", or names.
std::string families_text(std::uint64_t families);
std::string families_help();  // all names, with commas between

// "public", "internal", "confidential", "restricted".  Errors: kUnsupported.
Result<security::DataClass> parse_data_class(const std::string& text);

}  // namespace farcall::cli
