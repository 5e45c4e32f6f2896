// What is over moves out of an authority's index (ca_index.h), which renewals every few minutes
// would fill within months.
//
//   FARCALL_TRY(archive_index("ca/index", "ca/index-over", now));     // once a day
//
// Threads: one; CaFolder's lock keeps other processes out.
#pragma once
#include <cstdint>
#include <string>

#include "transport/base/status.h"

namespace farcall::security {

// Moves lines to the end of another index: of certificates that were never revoked and have been
// over for a day, and for as long as they lived. A crash in between leaves lines in both.
//   now  Unix seconds
// Errors: those of read_index, kSystem; then nothing is gone.
Status archive_index(const std::string& path, const std::string& archive, std::int64_t now);

}  // namespace farcall::security
