#include "gpu_server/share_arbiter.h"

#include <algorithm>

#include "transport/base/limits_share.h"

namespace farcall::server {

void ShareArbiter::join(Name lease, unsigned percent) {
  leases_[lease].percent = std::clamp(percent, 1U, kNoShare);
}

void ShareArbiter::leave(Name lease) { leases_.erase(lease); }

Turn ShareArbiter::turn(Name lease) const {
  auto found = leases_.find(lease);
  return found == leases_.end() ? Turn::kShut : found->second.turn;
}

std::int64_t ShareArbiter::used_ns(Name lease) const {
  auto found = leases_.find(lease);
  return found == leases_.end() ? 0 : found->second.used_ns;
}

// Among those that are there: who is away leaves its share to them.
void ShareArbiter::weigh() {
  double given = 0, without = 0;
  for (const auto& [name, lease] : leases_) {
    if (!lease.is_in && !lease.drains) continue;
    if (lease.percent == kNoShare) ++without;
    if (lease.percent != kNoShare) given += lease.percent;
  }
  const double rest = without == 0 ? 0 : std::max((100 - given) / without, 1.0);
  const double all = given + rest * without;
  for (auto& [name, lease] : leases_) {
    const double parts = lease.percent == kNoShare ? std::max(rest, 1.0) : lease.percent;
    lease.weight = parts / std::max(all, parts);
  }
}

void ShareArbiter::book(std::int64_t now_ns) {
  for (auto& [name, lease] : leases_) {
    if (lease.turn == Turn::kShut && !lease.drains) continue;
    std::int64_t until_ns = now_ns;
    if (lease.drains) {
      until_ns = std::min(now_ns, lease.changed_ns + limits::kShareOverrunNsMax);
    }
    const std::int64_t took_ns = std::max<std::int64_t>(0, until_ns - lease.since_ns);
    lease.used_ns += took_ns;
    lease.owes += static_cast<double>(took_ns) / lease.weight;
    lease.since_ns = now_ns;
  }
}

void ShareArbiter::note(Name name, Word word, std::int64_t now_ns) {
  auto found = leases_.find(name);
  if (found == leases_.end()) return;
  book(now_ns);
  Lease& lease = found->second;
  if (word.is_done) lease.drains = false;
  if (word.is_in == lease.is_in) return;
  lease.is_in = word.is_in;
  lease.has_come = word.is_in;
  lease.was_in = true;
  lease.left_ns = now_ns;
  if (!word.is_in) return;
  const Lease* least = nullptr;
  for (const auto& [other, each] : leases_) {
    if (other == name || !each.is_in) continue;
    if (least == nullptr || each.owes < least->owes) least = &each;
  }
  constexpr auto kSaved = static_cast<double>(limits::kShareRoundNs);
  if (least != nullptr) lease.owes = std::max(lease.owes, least->owes - kSaved);
}

std::int64_t ShareArbiter::lingers_ns(const Lease& lease) {
  return lease.was_in ? lease.left_ns + limits::kShareQuietNs : 0;
}

bool ShareArbiter::is_contended(std::int64_t now_ns) const {
  std::size_t in = 0, there = 0;
  bool has_share = false;
  for (const auto& [name, lease] : leases_) {
    if (!lease.is_in && lingers_ns(lease) <= now_ns) continue;
    ++there;
    in += lease.is_in;
    has_share |= lease.percent != kNoShare;
  }
  return in > 0 && there > 1 && has_share;
}

void ShareArbiter::open_to_all() {
  for (auto& [name, lease] : leases_) {
    lease.turn = lease.is_in ? Turn::kOpen : Turn::kShut;
    if (lease.is_in) lease.drains = false;
  }
}

void ShareArbiter::shut(Lease& lease, std::int64_t now_ns) {
  lease.turn = Turn::kShut;
  lease.drains = lease.is_in;
  lease.changed_ns = now_ns;
}

ShareArbiter::Lease* ShareArbiter::holder() {
  for (auto& [name, lease] : leases_) {
    if (lease.turn == Turn::kTurn) return &lease;
  }
  return nullptr;
}

// Of several that owe the same, who has waited longest.
ShareArbiter::Lease* ShareArbiter::first() {
  Lease* best = nullptr;
  for (auto& [name, lease] : leases_) {
    if (!lease.is_in) continue;
    const bool is_better = best == nullptr || lease.owes < best->owes ||
                           (lease.owes == best->owes && lease.changed_ns < best->changed_ns);
    if (is_better) best = &lease;
  }
  return best;
}

std::int64_t ShareArbiter::turn_ns(const Lease& lease) const {
  const auto part_ns =
      static_cast<std::int64_t>(lease.weight * static_cast<double>(limits::kShareRoundNs));
  return std::max(part_ns, limits::kShareTurnLeastNs);
}

void ShareArbiter::keep_or_shut(Lease& holder, std::int64_t now_ns) {
  if (!holder.is_in) return shut(holder, now_ns);
  for (auto& [name, lease] : leases_) {
    if (!lease.has_come || lease.owes >= holder.owes) continue;
    turn_ends_ns_ = std::min(turn_ends_ns_, holder.changed_ns + limits::kShareTurnLeastNs);
  }
  if (now_ns < turn_ends_ns_) return;
  if (first() != &holder) return shut(holder, now_ns);
  turn_ends_ns_ = now_ns + turn_ns(holder);  // it owes least even so: the others go on paying back
}

void ShareArbiter::tick(std::int64_t now_ns) {
  book(now_ns);
  weigh();
  next_ns_ = INT64_MAX;
  if (!is_contended(now_ns)) {
    open_to_all();
    for (auto& [name, lease] : leases_) lease.since_ns = now_ns, lease.has_come = false;
    return;
  }
  for (auto& [name, lease] : leases_) {
    if (lease.turn == Turn::kOpen) shut(lease, now_ns);
  }
  if (Lease* now = holder(); now != nullptr) keep_or_shut(*now, now_ns);
  for (auto& [name, lease] : leases_) {
    lease.has_come = false;
    const std::int64_t patience_ns = lease.changed_ns + limits::kShareDrainNs;
    if (lease.drains && now_ns < patience_ns) next_ns_ = std::min(next_ns_, patience_ns);
  }
  if (holder() == nullptr && next_ns_ == INT64_MAX) {
    Lease& next = *first();
    next.turn = Turn::kTurn;
    next.drains = false;
    next.since_ns = next.changed_ns = now_ns;
    turn_ends_ns_ = now_ns + turn_ns(next);
  }
  if (holder() != nullptr) next_ns_ = std::min(next_ns_, turn_ends_ns_);
}

}  // namespace farcall::server
