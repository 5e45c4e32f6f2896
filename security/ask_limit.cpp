#include "security/ask_limit.h"

#include "transport/base/limits_authority.h"

namespace farcall::security {

bool AskLimit::allow(const std::string& who, std::int64_t now) {
  auto counts = counts_.lock();
  if (counts->minute != now / 60) {
    counts->minute = now / 60;
    counts->asked.clear();
  }
  const bool is_counted = counts->asked.size() < limits::kAuthorityCountedMax ||
                          counts->asked.find(who) != counts->asked.end();
  int& asked = counts->asked[is_counted ? who : std::string()];
  if (asked >= a_minute_) return false;
  ++asked;
  return true;
}

}  // namespace farcall::security
