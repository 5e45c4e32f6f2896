#include "transport/cuda/image_trim.h"

#include <algorithm>
#include <iterator>
#include <map>

namespace farcall::cuda {
namespace {

constexpr std::uint32_t kSmMin = 20, kSmMax = 999;  // outside: a version we cannot read

// sm_101 was renamed sm_110 in CUDA 13: one architecture under two numbers.
std::uint32_t canonical(std::uint32_t sm) { return sm == 101 ? 110 : sm; }

// Of Tegra (K1, X1, X2, Xavier, Orin, Thor), and sm_88, of which no device is known: code for them
// is promised to run on themselves only (CUDA C++ Programming Guide, "Binary Compatibility").
bool is_embedded(std::uint32_t sm) {
  constexpr std::uint32_t kEmbedded[] = {32, 53, 62, 72, 87, 88, 110};
  return std::find(std::begin(kEmbedded), std::end(kEmbedded), sm) != std::end(kEmbedded);
}

bool is_plain(const FatbinEntry& entry) { return !entry.arch_specific && !entry.family_specific; }

bool is_known(const FatbinEntry& entry) {
  return entry.kind != EntryKind::kOther && entry.sm >= kSmMin && entry.sm <= kSmMax;
}

bool code_runs(const FatbinEntry& entry, std::uint32_t device) {
  const std::uint32_t sm = canonical(entry.sm);
  if (entry.arch_specific) return sm == device;
  return sm / 10 == device / 10 && sm <= device;
}

// "sm_90a" text on 12.0 is for the software GPU, which takes it.
bool text_compiles(const FatbinEntry& entry, std::uint32_t device) {
  return canonical(entry.sm) <= device;
}

bool runs(const FatbinEntry& entry, std::uint32_t device) {
  return entry.kind == EntryKind::kElf ? code_runs(entry, device) : text_compiles(entry, device);
}

class Choice {
 public:
  Choice(std::span<const FatbinEntry> entries, TrimRule rule)
      : entries_(entries), rule_(rule), used_(entries.size()) {}

  void for_device(std::uint32_t device) {
    keep_runnable(EntryKind::kElf, device);
    if (!keep_runnable(EntryKind::kPtx, device)) keep_oldest_text();
  }
  // Entries that tell us too little, and one of those that fit nowhere.
  std::vector<char> finish() {
    for (std::size_t i = 0; i < entries_.size(); ++i) {
      if (!is_known(entries_[i])) used_[i] = 1;
    }
    if (std::find(used_.begin(), used_.end(), 1) == used_.end() && !used_.empty()) {
      auto smallest = std::min_element(entries_.begin(), entries_.end(),
                                       [](const FatbinEntry& a, const FatbinEntry& b) {
                                         return a.stored.size() < b.stored.size();
                                       });
      used_[static_cast<std::size_t>(smallest - entries_.begin())] = 1;
    }
    return std::move(used_);
  }

 private:
  template <class Test>
  bool keep_if(const Test& test) {
    bool any = false;
    for (std::size_t i = 0; i < entries_.size(); ++i) {
      if (!is_known(entries_[i]) || !test(entries_[i])) continue;
      used_[i] = 1;
      any = true;
    }
    return any;
  }
  // The nearest plain entries of each version (there may be several to be linked, or one with
  // debug information), nearer ones that may not run, and all that are made for one architecture
  // in particular.
  bool keep_runnable(EntryKind kind, std::uint32_t device) {
    std::map<std::uint32_t, std::uint32_t> best;  // version -> architecture
    for (const FatbinEntry& entry : entries_) {
      if (entry.kind != kind || !is_known(entry) || !is_plain(entry) || !runs(entry, device)) {
        continue;
      }
      const std::uint32_t target = canonical(entry.sm);
      if (is_embedded(target) && target != device) continue;
      std::uint32_t& sm = best[entry.version];
      sm = std::max(sm, target);
    }
    return keep_if([&](const FatbinEntry& entry) {
      if (entry.kind != kind || !runs(entry, device)) return false;
      return rule_ == TrimRule::kLinked || !is_plain(entry) ||
             canonical(entry.sm) >= best[entry.version];
    });
  }
  // Newer than the device: NVIDIA's driver refuses it, the software GPU makes do with it.
  void keep_oldest_text() {
    std::uint32_t oldest = kSmMax + 1;
    for (const FatbinEntry& entry : entries_) {
      if (entry.kind == EntryKind::kPtx && is_known(entry)) oldest = std::min(oldest, entry.sm);
    }
    keep_if([&](const FatbinEntry& entry) {
      return entry.kind == EntryKind::kPtx && (rule_ == TrimRule::kLinked || entry.sm == oldest);
    });
  }

  const std::span<const FatbinEntry> entries_;
  const TrimRule rule_;
  std::vector<char> used_;
};

}  // namespace

std::vector<char> usable_entries(std::span<const FatbinEntry> entries,
                                 std::span<const std::uint32_t> sms, TrimRule rule) {
  if (sms.empty()) return std::vector<char>(entries.size(), 1);
  Choice choice(entries, rule);
  for (std::uint32_t sm : sms) choice.for_device(canonical(sm));
  return choice.finish();
}

}  // namespace farcall::cuda
