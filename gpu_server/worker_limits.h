// WorkerLimits: how much of the host each worker may have, whatever its client does to it.
//
//   Result<WorkerLimits> limits = parse_worker_limits("memory=8GiB,threads=512,cpu=400");
//
// Other than a lease's limits (lease_limits.h), which calls are refused by: these the kernel keeps,
// of a worker that has been taken over as well. Owner: a plain value.  Threads: any.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>

#include "transport/base/status.h"

namespace farcall::server {

struct WorkerLimits {
  std::uint64_t memory_bytes = 0;  // of host memory and page cache; 0: no limit, in all of these
  std::uint32_t threads_max = 0;   // of the process, its driver's and the link's included
  std::uint32_t cpu_percent = 0;   // of one processor: 400 are four

  bool none() const { return memory_bytes == 0 && threads_max == 0 && cpu_percent == 0; }
  bool operator==(const WorkerLimits&) const = default;
};

// In any order, each at most once; an empty text: no limits.
// Errors: kUnsupported, naming the word and what may stand there.
Result<WorkerLimits> parse_worker_limits(std::string_view text);
std::string to_string(const WorkerLimits& limits);
std::string worker_limits_help();

}  // namespace farcall::server
