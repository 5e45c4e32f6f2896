// LeaseClock: what time it is for leases, which nobody can stretch by setting the clock.
//
//   LeaseClock clock(machine_time());
//   std::int64_t now_s = clock.now_ns() / 1'000'000'000;       // to compare a token's times with
//   std::int64_t end_ns = clock.monotonic_ns() + left_ns;      // when a session ends
//
// Wall time says whether a token holds when it is shown; from then on only monotonic time counts,
// so a wall clock that jumps neither shortens nor lengthens what was granted. And a wall clock that
// is set back after this object was made does not let expired tokens in again: time goes on at
// least as fast as monotonic time has since. Setting it forward counts at once for new sessions.
// Owner: the supervisor's Admission.  Threads: any.
#pragma once
#include <algorithm>
#include <cstdint>

namespace farcall::server {

// Where time comes from; tests have their own.
struct TimeSource {
  virtual ~TimeSource() = default;
  virtual std::int64_t wall_ns() const = 0;       // since 1970
  virtual std::int64_t monotonic_ns() const = 0;  // counts on while the machine is suspended
};
// CLOCK_REALTIME and CLOCK_BOOTTIME; lives for ever.
const TimeSource& machine_time();

class LeaseClock {
 public:
  explicit LeaseClock(const TimeSource& source)
      : source_(source), wall_start_ns_(source.wall_ns()), start_ns_(source.monotonic_ns()) {}

  std::int64_t now_ns() const { return std::max(source_.wall_ns(), least_ns()); }
  std::int64_t monotonic_ns() const { return source_.monotonic_ns(); }
  // How far the wall clock was set back since this object was made; 0 when it was not.
  std::int64_t set_back_ns() const {
    return std::max<std::int64_t>(0, least_ns() - source_.wall_ns());
  }

 private:
  std::int64_t least_ns() const { return wall_start_ns_ + (source_.monotonic_ns() - start_ns_); }
  const TimeSource& source_;
  const std::int64_t wall_start_ns_;
  const std::int64_t start_ns_;
};

}  // namespace farcall::server
