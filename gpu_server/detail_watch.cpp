#include "gpu_server/detail_watch.h"

namespace farcall::server {

DetailTurn DetailWatch::look(const FeatureValues& in_window, std::int64_t now_ms) {
  bool grew = false;
  for (std::size_t i = 0; i < kFeatures; ++i) {
    const std::uint64_t half = most_[i] - most_[i] / 2;
    if (most_[i] == 0 || in_window[i] < half || in_window[i] <= last_[i]) continue;
    grew = true;
    feature_ = static_cast<Feature>(i);
    value_ = in_window[i];
  }
  last_ = in_window;
  if (grew) grew_ms_ = now_ms;
  if (grew && !is_detailed_) {
    is_detailed_ = true;
    since_ms_ = now_ms;
    return DetailTurn::kRises;
  }
  if (!is_detailed_ || now_ms - grew_ms_ < cool_ms_) return DetailTurn::kStays;
  is_detailed_ = false;
  return DetailTurn::kFalls;
}

}  // namespace farcall::server
