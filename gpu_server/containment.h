// Containment: does a session behave as one that is let go on?
//
//   ContainmentWatch watch(rules.rule_for(zone, role), rules.window_ms());
//   …                                            // twice a second
//   if (auto hit = watch.look(facts.tallies(), now_ms)) freeze(*hit);
//
// Counted is what a session did in the last window (60 s unless told otherwise), by the numbers its
// worker tells (facts.h); a number above its threshold is a hit. Pure logic: no clock, no process,
// no file. The defaults catch who tries the server's walls by machine; no program of ours that
// makes mistakes comes near them. What a session may take out, or how it allocates, only who runs
// the server knows: there is no threshold for that unless it is set.
// Owner: a session's thread.  Threads: one.
#pragma once
#include <array>
#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "gpu_server/facts.h"
#include "transport/base/limits_detail.h"

namespace farcall::server {

enum class Feature : std::uint8_t {
  kUnknownHandles,  // ids that name nothing
  kRefusedCalls,    // by the lease: families, memory, threads, handles
  kBytesOut,        // answers and payloads, in clear
  kAllocations,
  kAllocatedBytes,
  kModules,  // images to be loaded
  kEnd_,
};
inline constexpr std::size_t kFeatures = static_cast<std::size_t>(Feature::kEnd_);
std::string_view name_of(Feature feature);  // "unknown_handles"; as in the file
std::optional<Feature> parse_feature(std::string_view name);

using FeatureValues = std::array<std::uint64_t, kFeatures>;
FeatureValues features_of(const Tallies& tallies);

// What happens on a hit.
enum class ContainmentAction : std::uint8_t {
  kFreeze,  // quarantine.h
  kTell,    // the log and the audit log, nothing else
};

struct ContainmentRule {
  std::string zone{};  // of the client's certificate; empty: any
  std::string role{};  // the same
  // In one window; 0: no threshold.
  FeatureValues most = {1'000, 10'000, 0, 0, 0, 0};
  ContainmentAction action = ContainmentAction::kFreeze;
  bool operator==(const ContainmentRule&) const = default;
};

struct ContainmentRules {
  std::int64_t window_s = 60;
  std::int64_t detail_s = limits::kDetailCoolS;  // see detail_watch.h
  std::vector<ContainmentRule> rules{};          // the first that matches
  ContainmentRule otherwise{};

  const ContainmentRule& rule_for(std::string_view zone, std::string_view role) const;
};

struct ContainmentHit {
  Feature feature = Feature::kUnknownHandles;
  std::uint64_t value = 0;  // in the window
  std::uint64_t most = 0;
  std::int64_t window_s = 0;
  ContainmentAction action = ContainmentAction::kFreeze;
  // "1200 unknown_handles in 60 s, more than 1000"
  std::string to_text() const;
};

class ContainmentWatch {
 public:
  ContainmentWatch(const ContainmentRule& rule, std::int64_t window_s);

  // tallies: never less than before. A hit is told once: what led to it is forgiven then.
  std::optional<ContainmentHit> look(const Tallies& tallies, std::int64_t now_ms);
  // What was done in the window, as the last look found it.
  const FeatureValues& in_window() const { return in_window_; }
  const ContainmentRule& rule() const { return rule_; }

 private:
  struct Mark {
    std::int64_t at_ms;
    FeatureValues values;
  };
  const ContainmentRule rule_;
  const std::int64_t window_s_;
  // Oldest first; the first is the youngest that is a window old or more. Before any look a session
  // had done nothing.
  std::deque<Mark> marks_;
  FeatureValues in_window_{};
};

}  // namespace farcall::server
