// Summary: the figures of one session (FARCALL_STATS) as a person reads them.  Threads: one.
#pragma once
#include <string>

namespace farcall::cli {

// The report of client_shim/stats.h as lines with units; empty when there is none, for instance
// because the program never used CUDA.
std::string summarize(const std::string& stats_json_path);

// "1.5 MiB", "812 B"
std::string with_unit(double bytes);

}  // namespace farcall::cli
