// Clock and Deadline: time as an argument, so that tests own it.
//
//   Deadline deadline = Deadline::after(system_clock(), 5'000);   // ms
//   while (!deadline.passed()) …
//
// Threads: any.  Never reads wall time: certificates do that through their own functions.
#pragma once
#include <cstdint>

namespace farcall {

struct Clock {
  virtual ~Clock() = default;
  virtual std::int64_t now_ns() const = 0;  // monotonic, from an arbitrary start
};

// CLOCK_MONOTONIC; lives for ever.
const Clock& system_clock();

class Deadline {
 public:
  static Deadline never() { return Deadline(nullptr, INT64_MAX); }
  static Deadline after(const Clock& clock, std::int64_t ms) {
    return Deadline(&clock, clock.now_ns() + ms * 1'000'000);
  }
  bool is_never() const { return at_ns_ == INT64_MAX; }
  bool passed() const { return !is_never() && clock_->now_ns() >= at_ns_; }
  // Milliseconds left, rounded up, 0 when passed, -1 for never: what poll(2) takes.
  int left_ms() const {
    if (is_never()) return -1;
    std::int64_t left_ns = at_ns_ - clock_->now_ns();
    if (left_ns <= 0) return 0;
    std::int64_t ms = (left_ns + 999'999) / 1'000'000;
    return ms > INT32_MAX ? INT32_MAX : static_cast<int>(ms);
  }

 private:
  Deadline(const Clock* clock, std::int64_t at_ns) : clock_(clock), at_ns_(at_ns) {}
  const Clock* clock_;
  std::int64_t at_ns_;
};

}  // namespace farcall
