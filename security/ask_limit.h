// AskLimit: how often each of many may ask for something in a minute.
//
//   AskLimit limit(10);
//   if (!limit.allow("10.0.0.7", now)) refuse();
//
// Bounded, however many come: beyond kAuthorityCountedMax names in one minute all others share one
// count.  Owner: a service.  Threads: any.
#pragma once
#include <cstdint>
#include <string>
#include <unordered_map>

#include "transport/base/guarded.h"

namespace farcall::security {

class AskLimit {
 public:
  explicit AskLimit(int a_minute) : a_minute_(a_minute) {}
  // now: Unix seconds
  bool allow(const std::string& who, std::int64_t now);

 private:
  struct Counts {
    std::int64_t minute = -1;
    std::unordered_map<std::string, int> asked;
  };
  const int a_minute_;
  Guarded<Counts> counts_;
};

}  // namespace farcall::security
