// Config: what the environment may choose about the software GPU, read once at cuInit.
//
//   Config config = Config::from(&getenv);     // tests pass their own lookup
//
// FARCALL_SOFTGPU_DEVICES  how many devices (default 1)
// FARCALL_SOFTGPU_CC       compute capability they report, "9.0" (default)
// FARCALL_SOFTGPU_MEMORY   memory of each in bytes, with K, M or G (default: half of RAM, at most
//                          4 GiB)
// FARCALL_SOFTGPU_THREADS  host threads that run blocks (default: every core)
// A value that cannot be understood counts as absent: a driver has nobody to tell.
// Owner: a plain value.  Threads: none of its own.  Never prints.
#pragma once
#include <cstddef>

namespace farcall::softgpu {

struct Config {
  int devices = 1;
  int cc_major = 9;
  int cc_minor = 0;
  std::size_t memory_bytes = 0;
  int threads = 1;

  static Config from(char* (*lookup)(const char* name));
};

inline constexpr int kDevicesMax = 16;
inline constexpr int kThreadsMax = 256;
// Less than this and not even a module's globals fit.
inline constexpr std::size_t kMemoryBytesMin = std::size_t{1} << 20;

}  // namespace farcall::softgpu
