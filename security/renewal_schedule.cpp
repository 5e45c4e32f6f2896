#include "security/renewal_schedule.h"

#include <algorithm>

#include "transport/base/limits_authority.h"

namespace farcall::security {

void RenewalSchedule::hold(std::int64_t not_before, std::int64_t not_after, std::int64_t now) {
  not_after_ = not_after;
  life_ = std::max<std::int64_t>(not_after - not_before, 1);
  pause_ = 0;
  const std::int64_t earlier_max = life_ * limits::kRenewalJitterPercent / 100;
  const auto range = static_cast<std::uint64_t>(earlier_max) + 1;
  next_ = not_before + life_ / 2 - static_cast<std::int64_t>(random_ % range);
  next_ = std::max(next_, now);
}

void RenewalSchedule::failed(std::int64_t now) {
  const std::int64_t pause_max =
      std::clamp(life_ / 16, limits::kRenewalRetrySeconds, limits::kRenewalRetrySecondsMax);
  pause_ = std::min(std::max(2 * pause_, limits::kRenewalRetrySeconds), pause_max);
  next_ = now + pause_;
}

bool RenewalSchedule::is_pressing(std::int64_t now) const {
  return left(now) * 100 < life_ * limits::kRenewalWarnPercent;
}

}  // namespace farcall::security
