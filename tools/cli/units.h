// Sizes and times as people write them: "20G", "4h".
//
//   Result<std::uint64_t> bytes = parse_size("20G");          // 20 << 30
//   Result<std::int64_t> seconds = parse_duration("1h30m");   // 5400
//
// Threads: any.  Plain functions.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>

#include "transport/base/status.h"

namespace farcall::cli {

// A number, then K, M, G or T, or KiB … TiB: powers of 1024.  Errors: kUnsupported.
Result<std::uint64_t> parse_size(std::string_view text);
std::string size_text(std::uint64_t bytes);  // "20 GiB", "1536 MiB"

// Numbers with d, h, m or s behind each, 1 s … ten years.  Errors: kUnsupported.
Result<std::int64_t> parse_duration(std::string_view text);
std::string duration_text(std::int64_t seconds);  // "3 h 59 min", "12 s"

}  // namespace farcall::cli
