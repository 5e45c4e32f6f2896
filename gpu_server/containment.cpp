#include "gpu_server/containment.h"

#include <algorithm>
#include <iterator>

#include "transport/base/limits_containment.h"

namespace farcall::server {
namespace {

constexpr std::string_view kNames[] = {"unknown_handles", "refused_calls",   "bytes_out",
                                       "allocations",     "allocated_bytes", "modules"};
static_assert(std::size(kNames) == kFeatures);

bool matches(const std::string& wanted, std::string_view has) {
  return wanted.empty() || wanted == has;
}

}  // namespace

std::string_view name_of(Feature feature) { return kNames[static_cast<std::size_t>(feature)]; }

std::optional<Feature> parse_feature(std::string_view name) {
  const auto* found = std::find(std::begin(kNames), std::end(kNames), name);
  if (found == std::end(kNames)) return std::nullopt;
  return static_cast<Feature>(found - std::begin(kNames));
}

FeatureValues features_of(const Tallies& t) {
  const std::uint64_t refused = t[Tally::kRefusedFamily] + t[Tally::kRefusedMemory] +
                                t[Tally::kRefusedThread] + t[Tally::kRefusedHandle];
  return {t[Tally::kUnknownHandles], refused,           t[Tally::kBytesOut], t[Tally::kAllocations],
          t[Tally::kAllocatedBytes], t[Tally::kModules]};
}

const ContainmentRule& ContainmentRules::rule_for(std::string_view zone,
                                                  std::string_view role) const {
  for (const ContainmentRule& rule : rules) {
    if (matches(rule.zone, zone) && matches(rule.role, role)) return rule;
  }
  return otherwise;
}

std::string ContainmentHit::to_text() const {
  return std::to_string(value) + " " + std::string(name_of(feature)) + " in " +
         std::to_string(window_s) + " s, more than " + std::to_string(most);
}

ContainmentWatch::ContainmentWatch(const ContainmentRule& rule, std::int64_t window_s)
    : rule_(rule), window_s_(window_s) {}

std::optional<ContainmentHit> ContainmentWatch::look(const Tallies& tallies, std::int64_t now_ms) {
  const std::int64_t window_ms = window_s_ * 1'000;
  const FeatureValues now = features_of(tallies);
  if (marks_.empty()) marks_.push_back({now_ms, {}});
  while (marks_.size() > 1 && marks_[1].at_ms <= now_ms - window_ms) marks_.pop_front();
  const FeatureValues& before = marks_.front().values;
  for (std::size_t i = 0; i < kFeatures; ++i) {
    // A worker may say anything, so the sum of its numbers may have wrapped.
    in_window_[i] = now[i] >= before[i] ? now[i] - before[i] : 0;
  }
  for (std::size_t i = 0; i < kFeatures; ++i) {
    const std::uint64_t value = in_window_[i];
    if (rule_.most[i] == 0 || value <= rule_.most[i]) continue;
    marks_.assign(1, {now_ms, now});
    return ContainmentHit{static_cast<Feature>(i), value, rule_.most[i], window_s_, rule_.action};
  }
  if (marks_.back().at_ms <= now_ms - window_ms / limits::kContainmentSlices) {
    marks_.push_back({now_ms, now});
  }
  return std::nullopt;
}

}  // namespace farcall::server
