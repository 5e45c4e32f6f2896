// LeaseLimits: how much of a server one lease may have.
//
//   Result<LeaseLimits> limits = parse_lease_limits("memory=20GiB,sessions=4,handles=100000");
//   if (!limits.ok()) tell(limits.status().text());
//   to_string(limits.value());            // "memory=20GiB,sessions=4,handles=100000"
//
// A lease is what a client process's session belongs to: a lease token says which, or, in a pool
// without tokens, the user of the certificate does. Its sessions share what it has. Beyond these
// stand the limits of every session, in transport/base/limits.h, which no lease can raise.
// Owner: a plain value.  Threads: any.  Never says who may have a lease, nor for how long.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>

#include "transport/base/status.h"

namespace farcall::server {

// No limit beyond that of every session.
inline constexpr std::uint64_t kNoLimit = 0;

struct LeaseLimits {
  std::uint64_t memory_bytes = kNoLimit;     // of each device, over all sessions
  std::uint32_t compute_percent = 100;       // 1 … 100: of each device, while others want it too
  std::uint32_t sessions_max = kNoLimit;     // client processes at a time
  std::uint32_t threads_max = kNoLimit;      // client threads of a session, over its life
  std::uint32_t handles_max = kNoLimit;      // live driver objects of a session
  std::uint64_t image_bytes_max = kNoLimit;  // of code loaded at a time, over all sessions
  std::uint64_t in_flight_bytes_max = kNoLimit;  // of host memory for copies under way, likewise

  bool operator==(const LeaseLimits&) const = default;
};

// "memory=20GiB,compute=30,sessions=4,threads=64,handles=100000,images=2GiB,in-flight=64MiB", in
// any order, each at most once; what is left out has no limit. An empty text: no limits at all.
// Errors: kUnsupported, naming the word and what may stand there.
Result<LeaseLimits> parse_lease_limits(std::string_view text);
// The same text again: only what is limited. Empty when nothing is.
std::string to_string(const LeaseLimits& limits);
// What --help says of the text.
std::string lease_limits_help();

// "512MiB", "20GiB", "1.5G" (binary as well), "4096": bytes, 1 … 2^60.
// Errors: kUnsupported, naming the word.
Result<std::uint64_t> parse_bytes(std::string_view word);
// The shortest text that parse_bytes reads as the same number: "20GiB", "1000".
std::string bytes_text(std::uint64_t bytes);

}  // namespace farcall::server
