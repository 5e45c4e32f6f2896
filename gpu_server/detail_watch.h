// DetailWatch: when a session is written down in detail, and when that ends.
//
//   DetailWatch watch(rule, rules.detail_s);
//   switch (watch.look(contained.in_window(), now_ms)) {   // as often as containment looks
//     case DetailTurn::kRises: …the calls that led to it…
//     case DetailTurn::kFalls: …
//     case DetailTurn::kStays: if (watch.is_detailed()) …the calls since…
//   }
//
// Logs are lean: a session has a few lines. One that has reached half of a threshold of containment
// (containment.h) is written down call by call, and no other is; without anything more of that kind
// for detail_s, also where the window still remembers the half, it is back to normal. Pure logic:
// no clock, no log.
// Owner: a session's thread.  Threads: one.
#pragma once
#include <cstdint>

#include "gpu_server/containment.h"

namespace farcall::server {

enum class DetailTurn : std::uint8_t { kStays, kRises, kFalls };

class DetailWatch {
 public:
  DetailWatch(const ContainmentRule& rule, std::int64_t detail_s)
      : most_(rule.most), cool_ms_(detail_s * 1'000) {}

  // in_window: what the session did in the window that ends now.
  DetailTurn look(const FeatureValues& in_window, std::int64_t now_ms);

  bool is_detailed() const { return is_detailed_; }
  // What it was last detailed for, and how much of it there was.
  Feature feature() const { return feature_; }
  std::uint64_t value() const { return value_; }
  std::uint64_t most() const { return most_[static_cast<std::size_t>(feature_)]; }
  // Since the rise.
  std::int64_t lasted_ms(std::int64_t now_ms) const { return now_ms - since_ms_; }

 private:
  const FeatureValues most_;
  const std::int64_t cool_ms_;
  FeatureValues last_{};
  bool is_detailed_ = false;
  Feature feature_ = Feature::kUnknownHandles;
  std::uint64_t value_ = 0;
  std::int64_t since_ms_ = 0;
  std::int64_t grew_ms_ = 0;  // when there was last more, beyond the half
};

}  // namespace farcall::server
