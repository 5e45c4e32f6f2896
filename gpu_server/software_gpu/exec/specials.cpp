// Special registers that stay the same for a warp, a block or a launch: rows filled ahead.
#include <cstring>

#include "gpu_server/software_gpu/exec/runtime.h"

namespace farcall::softgpu {
namespace {

unsigned level_of(Special what) {
  if (what <= Special::kWarpId) return kWarpLevel;
  if (what <= Special::kClusterCtarank) return kBlockLevel;
  return kLaunchLevel;
}

template <class Value>
void fill(std::byte* regs, const SpecialRow& row, Value value) {
  if (row.wide) {
    auto* d = reinterpret_cast<std::uint64_t*>(regs + row.offset);
    for (unsigned l = 0; l < kLanes; ++l) d[l] = value(l);
  } else {
    auto* d = reinterpret_cast<std::uint32_t*>(regs + row.offset);
    for (unsigned l = 0; l < kLanes; ++l) d[l] = static_cast<std::uint32_t>(value(l));
  }
}

void fill_tid(std::byte* regs, const SpecialRow& row, const Warp& w) {
  const LaunchState& launch = *w.worker->launch;
  const unsigned nx = launch.block[0], ny = launch.block[1];
  const unsigned first = w.index * kLanes;
  if (launch.threads == nx) {  // one row of threads, the usual case
    const bool x = row.what == Special::kTidX;
    fill(regs, row, [=](unsigned l) { return x ? std::uint64_t{first} + l : 0; });
    return;
  }
  unsigned x = first % nx, y = first / nx % ny, z = first / nx / ny;
  std::uint32_t value[kLanes];
  for (unsigned l = 0; l < kLanes; ++l) {
    value[l] = row.what == Special::kTidX ? x : row.what == Special::kTidY ? y : z;
    if (++x == nx) {
      x = 0;
      if (++y == ny) {
        y = 0;
        ++z;
      }
    }
  }
  fill(regs, row, [&](unsigned l) { return std::uint64_t{value[l]}; });
}

std::uint64_t lane_mask(Special what, unsigned l) {
  const std::uint32_t equal = 1u << l, below = equal - 1;
  switch (what) {
    case Special::kLaneMaskEq: return equal;
    case Special::kLaneMaskLt: return below;
    case Special::kLaneMaskLe: return below | equal;
    case Special::kLaneMaskGt: return static_cast<std::uint32_t>(~(below | equal));
    default: return static_cast<std::uint32_t>(~below);
  }
}

std::uint64_t cluster_value(Special what, const Warp& w) {
  const LaunchState& launch = *w.worker->launch;
  const auto axis = [&](Special first) {
    return static_cast<unsigned>(what) - static_cast<unsigned>(first);
  };
  switch (what) {
    case Special::kClusteridX:
    case Special::kClusteridY:
    case Special::kClusteridZ: {
      const unsigned k = axis(Special::kClusteridX);
      return w.block->ctaid[k] / launch.cluster[k];
    }
    case Special::kClusterCtaidX:
    case Special::kClusterCtaidY:
    case Special::kClusterCtaidZ: {
      const unsigned k = axis(Special::kClusterCtaidX);
      return w.block->ctaid[k] % launch.cluster[k];
    }
    case Special::kClusterCtarank: return w.block->rank;
    case Special::kClusterNctaidX:
    case Special::kClusterNctaidY:
    case Special::kClusterNctaidZ: return launch.cluster[axis(Special::kClusterNctaidX)];
    case Special::kClusterNctarank: return launch.cluster_blocks;
    case Special::kNclusteridX:
    case Special::kNclusteridY:
    case Special::kNclusteridZ: {
      const unsigned k = axis(Special::kNclusteridX);
      return launch.grid[k] / launch.cluster[k];
    }
    case Special::kIsExplicitCluster: return launch.cluster_blocks > 1 ? 1 : 0;
    default: return 0;
  }
}

std::uint64_t launch_value(Special what, const Warp& w) {
  const LaunchState& launch = *w.worker->launch;
  switch (what) {
    case Special::kWarpId: return w.index;
    case Special::kCtaidX: return w.block->ctaid[0];
    case Special::kCtaidY: return w.block->ctaid[1];
    case Special::kCtaidZ: return w.block->ctaid[2];
    case Special::kNtidX: return launch.block[0];
    case Special::kNtidY: return launch.block[1];
    case Special::kNtidZ: return launch.block[2];
    case Special::kNctaidX: return launch.grid[0];
    case Special::kNctaidY: return launch.grid[1];
    case Special::kNctaidZ: return launch.grid[2];
    case Special::kNwarpId: return launch.warps;
    case Special::kSmId: return static_cast<std::uint64_t>(w.worker->number);
    case Special::kNsmId: return static_cast<std::uint64_t>(launch.workers.load());
    case Special::kGridId: return launch.grid_id;
    case Special::kEnvReg1: return launch.grid_workspace >> 32;
    case Special::kEnvReg2: return launch.grid_workspace & 0xffffffffu;
    case Special::kDynamicShared: return launch.dynamic_shared_bytes;
    case Special::kDynamicOffset: return launch.dynamic_offset;
    case Special::kReservedOffset: return launch.reserved_offset;
    case Special::kTotalShared: return launch.shared_bytes;
    default: return cluster_value(what, w);
  }
}

// A parameter as a load of its type would leave it in a register.
std::uint64_t param_value(const SpecialRow& row, const Warp& w) {
  const auto read = [&]<class T>(T value) {
    std::memcpy(&value, w.params + row.param, sizeof value);
    return static_cast<std::uint64_t>(static_cast<std::int64_t>(value));
  };
  switch (row.type) {
    case Ty::kU8: return read(std::uint8_t{});
    case Ty::kS8: return read(std::int8_t{});
    case Ty::kU16: return read(std::uint16_t{});
    case Ty::kS16: return read(std::int16_t{});
    case Ty::kS32: return read(std::int32_t{});
    case Ty::kU64:
    case Ty::kS64: return read(std::uint64_t{});
    default: return read(std::uint32_t{});
  }
}

}  // namespace

void fill_specials(std::byte* regs, const FunctionBody& body, const Warp& w, unsigned levels) {
  for (const SpecialRow& row : body.specials) {
    if ((level_of(row.what) & levels) == 0) continue;
    switch (row.what) {
      case Special::kTidX:
      case Special::kTidY:
      case Special::kTidZ: fill_tid(regs, row, w); break;
      case Special::kLaneId: fill(regs, row, [](unsigned l) { return std::uint64_t{l}; }); break;
      case Special::kLaneMaskEq:
      case Special::kLaneMaskLe:
      case Special::kLaneMaskLt:
      case Special::kLaneMaskGe:
      case Special::kLaneMaskGt:
        fill(regs, row, [&](unsigned l) { return lane_mask(row.what, l); });
        break;
      default: {
        const std::uint64_t value =
            row.what == Special::kParam ? param_value(row, w) : launch_value(row.what, w);
        fill(regs, row, [=](unsigned) { return value; });
      }
    }
  }
}

}  // namespace farcall::softgpu
