// RenewalSchedule: when a certificate is to be renewed, and when to try again.
//
//   RenewalSchedule schedule(random);
//   schedule.hold(facts.not_before, facts.not_after, now);     // at the start and once renewed
//   if (now >= schedule.next()) …                              // try
//   schedule.failed(now);  if (schedule.is_pressing(now)) warn();
//
// At half life, a little earlier by chance, so that members made in one minute do not all come in
// one. A failure is tried again after a second, then after twice as long, with an end to that.
// Pure: time comes as Unix seconds.  Owner: plain value.  Threads: one.
#pragma once
#include <cstdint>

namespace farcall::security {

class RenewalSchedule {
 public:
  // random: any number; decides how much earlier than at half life
  explicit RenewalSchedule(std::uint64_t random) : random_(random) {}

  void hold(std::int64_t not_before, std::int64_t not_after, std::int64_t now);
  std::int64_t next() const { return next_; }
  void failed(std::int64_t now);
  // Little of its life is left: somebody should be told.
  bool is_pressing(std::int64_t now) const;
  std::int64_t left(std::int64_t now) const { return not_after_ - now; }

 private:
  const std::uint64_t random_;
  std::int64_t not_after_ = 0;
  std::int64_t life_ = 0;
  std::int64_t next_ = 0;
  std::int64_t pause_ = 0;  // before the next try; 0: none has failed
};

}  // namespace farcall::security
