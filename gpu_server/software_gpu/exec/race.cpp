#include "gpu_server/software_gpu/exec/race.h"

#include <algorithm>
#include <cstring>

namespace farcall::softgpu {

RaceBook::RaceBook(unsigned warps, std::uint32_t shared_bytes, unsigned cell_log2)
    : warps_(warps), cell_log2_(cell_log2), cells_((shared_bytes >> cell_log2) + 1), rows_(warps) {
  for (Rows& rows : rows_) {
    for (auto& row : rows) row.fill(0);
  }
  barrier();
}

bool RaceBook::is_ordered(const Access& access, const Who& who) const {
  const unsigned warp = access.thread / kLanesOfWarp, lane = access.thread % kLanesOfWarp;
  if (access.time < known_[who.warp][warp]) return true;
  if (warp != who.warp) return false;
  return lane == who.lane || access.time < rows_[warp][who.lane][lane];
}

std::optional<RaceBook::Other> RaceBook::read(const Who& who, std::uint32_t offset,
                                              std::uint32_t bytes, bool strong) {
  std::optional<Other> other;
  const std::size_t last = (offset + bytes - 1) >> cell_log2_;
  for (std::size_t c = offset >> cell_log2_; c <= last && c < cells_.size(); ++c) {
    Cell& cell = cells_[c];
    for (const Access* write : {&cell.write, &cell.strong_write}) {
      if (strong && write == &cell.strong_write) continue;
      if (races(*write, who)) other = Other{write->thread, write->at, true};
    }
    remember_read(cell, who, strong);
  }
  return other;
}

// An entry that the new reader knows of is not needed: who races with it races with the new one.
void RaceBook::remember_read(Cell& cell, const Who& who, bool strong) {
  const bool first = cell.reads[0].at == nullptr || is_ordered(cell.reads[0], who);
  Access& chosen = strong ? cell.strong_read : first ? cell.reads[0] : cell.reads[1];
  const auto thread = static_cast<std::uint16_t>(who.warp * kLanesOfWarp + who.lane);
  chosen = Access{who.at, now_[who.warp], 0, thread, false};
}

std::optional<RaceBook::Other> RaceBook::write(const Who& who, std::uint32_t offset,
                                               std::uint32_t bytes, const std::byte* value,
                                               bool strong) {
  std::optional<Other> other;
  const auto thread = static_cast<std::uint16_t>(who.warp * kLanesOfWarp + who.lane);
  const std::size_t first = offset >> cell_log2_, last = (offset + bytes - 1) >> cell_log2_;
  const std::size_t cell_bytes = std::size_t{1} << cell_log2_;
  for (std::size_t c = first; c <= last && c < cells_.size(); ++c) {
    Cell& cell = cells_[c];
    Access mine{who.at, now_[who.warp], 0, thread, value != nullptr};
    if (value != nullptr) std::memcpy(&mine.value, value + (c - first) * cell_bytes, cell_bytes);
    const bool same = mine.known_value && cell.write.known_value && mine.value == cell.write.value;
    if (!same && races(cell.write, who)) other = Other{cell.write.thread, cell.write.at, true};
    for (const Access& read : cell.reads) {
      if (races(read, who)) other = Other{read.thread, read.at, false};
    }
    if (!strong && races(cell.strong_write, who)) {
      other = Other{cell.strong_write.thread, cell.strong_write.at, true};
    }
    if (!strong && races(cell.strong_read, who)) {
      other = Other{cell.strong_read.thread, cell.strong_read.at, false};
    }
    (strong ? cell.strong_write : cell.write) = mine;
  }
  return other;
}

void RaceBook::sync_lanes(unsigned warp, std::uint32_t lanes, std::uint32_t live) {
  const std::uint32_t time = ++now_[warp];
  if ((live & ~lanes) == 0) {
    known_[warp][warp] = time;
    return;
  }
  Rows& rows = rows_[warp];
  std::array<std::uint32_t, kLanesOfWarp> joined{};
  for (std::uint32_t m = lanes; m != 0; m &= m - 1) {
    const auto& row = rows[static_cast<unsigned>(__builtin_ctz(m))];
    for (unsigned lane = 0; lane < kLanesOfWarp; ++lane) {
      joined[lane] = std::max(joined[lane], row[lane]);
    }
  }
  for (std::uint32_t m = lanes; m != 0; m &= m - 1) {
    joined[static_cast<unsigned>(__builtin_ctz(m))] = time;
  }
  for (std::uint32_t m = lanes; m != 0; m &= m - 1) {
    rows[static_cast<unsigned>(__builtin_ctz(m))] = joined;
  }
}

RaceBook::Times& RaceBook::object(std::uint64_t address) {
  if (objects_.size() < kObjectsMax) return objects_[address];
  const auto found = objects_.find(address);
  return found != objects_.end() ? found->second : objects_[~std::uint64_t{0}];
}

void RaceBook::release(unsigned warp, std::uint64_t address) {
  Times& times = object(address);
  const std::uint32_t time = ++now_[warp];
  for (unsigned v = 0; v < warps_; ++v) {
    if (v != warp) times[v] = std::max(times[v], known_[warp][v]);
  }
  times[warp] = time;
}

void RaceBook::acquire(unsigned warp, std::uint64_t address) {
  const Times& times = object(address);
  for (unsigned v = 0; v < warps_; ++v) known_[warp][v] = std::max(known_[warp][v], times[v]);
}

void RaceBook::barrier() {
  for (unsigned w = 0; w < warps_; ++w) ++now_[w];
  for (unsigned w = 0; w < warps_; ++w) known_[w] = now_;
  objects_.clear();
}

}  // namespace farcall::softgpu
