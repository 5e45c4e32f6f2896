// Textures: where the lanes' texels lie, what they hold, and filters.
#include "gpu_server/software_gpu/exec/fence.h"
#include "gpu_server/software_gpu/exec/isa/fill.h"
#include "gpu_server/software_gpu/exec/isa/halves.h"
#include "gpu_server/software_gpu/exec/isa/lanes.h"
#include "gpu_server/software_gpu/exec/isa/texel_math.h"

namespace farcall::softgpu {
namespace {

// Where one texel of each lane lies, from the start of the level; outside of it is the border.
struct Spots {
  alignas(64) u64 offset[kLanes];
  alignas(64) u32 inside[kLanes];  // all ones, or 0
};

// On one axis: the lower and the upper neighbour, and the weight of the upper one.
struct Neighbours {
  Spots spots[2];
  alignas(64) f32 upper[kLanes];
};

// Whole texels from a coordinate. Beyond this no image reaches, and the cast stays defined.
inline s32 whole(f32 x) {
  constexpr f32 kFar = 1 << 30;
  return x >= kFar ? 1 << 30 : x > -kFar ? static_cast<s32>(__builtin_floorf(x)) : -(1 << 30);
}

// Coordinates in texels.
inline void scale(const TexelLevel& v, u32 axis, f32* x) {
  if (!v.normalized) return;
  const f32 n = static_cast<f32>(v.extent[axis]);
  switch (v.edge[axis]) {
    case EdgeRule::kWrap: FARCALL_LANES x[l] = (x[l] - __builtin_floorf(x[l])) * n; break;
    case EdgeRule::kMirror:
      FARCALL_LANES {
        const f32 below = __builtin_floorf(x[l]), inside = x[l] - below;
        const bool forward = below - 2 * __builtin_floorf(below / 2) == 0;
        x[l] = (forward ? inside : 1 - inside) * n;
      }
      break;
    default: FARCALL_LANES x[l] *= n; break;
  }
}

// Where indices lie under the axis's rule: `spots` gains what this axis adds.
void place(const TexelLevel& v, u32 axis, s32* i, Spots& spots) {
  const s32 n = v.extent[axis];
  const u64 step = v.step_bytes[axis];
  if (v.edge[axis] == EdgeRule::kBorder) {
    FARCALL_LANES {
      const bool in = i[l] >= 0 && i[l] < n;
      spots.inside[l] = in ? ~0u : 0u;
      i[l] = in ? i[l] : 0;
    }
  } else {
    if (v.edge[axis] == EdgeRule::kWrap) {
      u32 far = 0;
      FARCALL_LANES {
        const s32 raised = i[l] + (i[l] < 0 ? n : 0);
        i[l] = raised - (raised >= n ? n : 0);
        far |= i[l] < 0 || i[l] >= n ? 1u : 0u;
      }
      for (int l = 0; far != 0 && l < kLanes; ++l) i[l] = ((i[l] % n) + n) % n;
    }
    // A mirrored image repeats its edge, too.
    FARCALL_LANES {
      const s32 low = i[l] < 0 ? 0 : i[l];
      i[l] = low < n ? low : n - 1;
      spots.inside[l] = ~0u;
    }
  }
  FARCALL_LANES spots.offset[l] = static_cast<u64>(static_cast<u32>(i[l])) * step;
}

inline void join(Spots& spots, const Spots& more) {
  FARCALL_LANES spots.offset[l] += more.offset[l];
  FARCALL_LANES spots.inside[l] &= more.inside[l];
}

inline void begin(const TexelLevel& v, const TexelLanes& lanes, Spots& spots) {
  const u64 step = v.step_bytes[2];
  FARCALL_LANES spots.inside[l] = ~0u;
  if (lanes.dimensions > 2) {
    FARCALL_LANES spots.offset[l] = 0;
  } else {
    // Of a 3D image a smaller level has fewer slices than the first, which the layer is in range
    // of.
    const u32 last = static_cast<u32>(v.extent[2]) - 1;
    FARCALL_LANES spots.offset[l] = (lanes.slice[l] < last ? lanes.slice[l] : last) * step;
  }
}

template <class T, u32 kChannels>
FARCALL_KERNEL_MEMORY void load_texels(u64 base, const u64* offset, TexelRows& to) {
  using M = typename RawAlias<T>::Type;
  for (int l = 0; l < kLanes; ++l) {
    const M* from = reinterpret_cast<const M*>(base + offset[l]);
    for (u32 c = 0; c < kChannels; ++c) to.channel[c][l] = static_cast<u32>(from[c]);
  }
}
template <class T>
void load_channels(const TexelLevel& v, const u64* offset, TexelRows& to) {
  switch (v.channels) {
    case 1: return load_texels<T, 1>(v.base, offset, to);
    case 2: return load_texels<T, 2>(v.base, offset, to);
    default: return load_texels<T, 4>(v.base, offset, to);
  }
}

// 0 … 1, or -1 … 1 of which the lowest value is -1 twice.
inline void normalize(u32* x, f32 largest) {
  FARCALL_LANES {
    const f32 value = static_cast<f32>(static_cast<s32>(x[l])) / largest;
    x[l] = __builtin_bit_cast(u32, value < -1.0f ? -1.0f : value);
  }
}

void convert(const TexelLevel& v, u32 c, u32* x) {
  if (!v.as_float) return;
  switch (v.channel) {
    case Channel::kU8:
      if (v.srgb != nullptr && c < 3) {
        for (int l = 0; l < kLanes; ++l) x[l] = __builtin_bit_cast(u32, v.srgb[x[l] & 255u]);
      } else {
        normalize(x, 255);
      }
      break;
    case Channel::kS8: normalize(x, 127); break;
    case Channel::kU16: normalize(x, 65535); break;
    case Channel::kS16: normalize(x, 32767); break;
    case Channel::kF16: FARCALL_LANES x[l] = half_to_bits(x[l]); break;
    default: break;
  }
}

// The texels at these spots, as they are read.
void read(const TexelLevel& v, const Spots& spots, TexelRows& to) {
  switch (v.channel) {
    case Channel::kU8: load_channels<u8>(v, spots.offset, to); break;
    case Channel::kS8: load_channels<s8>(v, spots.offset, to); break;
    case Channel::kU16:
    case Channel::kF16: load_channels<u16>(v, spots.offset, to); break;
    case Channel::kS16: load_channels<s16>(v, spots.offset, to); break;
    default: load_channels<u32>(v, spots.offset, to); break;
  }
  for (u32 c = 0; c < 4; ++c) {
    u32* const x = to.channel[c];
    if (c >= v.channels) {
      FARCALL_LANES x[l] = 0;
      continue;
    }
    convert(v, c, x);
    const u32 border = v.border[c];
    FARCALL_LANES x[l] = (x[l] & spots.inside[l]) | (border & ~spots.inside[l]);
  }
}

// The lower neighbour on an axis and the upper one's weight, which has eight bits.
void find_neighbours(const TexelLevel& v, u32 axis, const void* from, Neighbours& found) {
  alignas(64) f32 x[kLanes];
  alignas(64) s32 low[kLanes], high[kLanes];
  __builtin_memcpy(x, from, sizeof x);
  scale(v, axis, x);
  FARCALL_LANES {
    const f32 at = x[l] - 0.5f, fraction = at - __builtin_floorf(at);
    low[l] = whole(at);
    high[l] = low[l] + 1;
    const f32 weight = __builtin_floorf(fraction * 256.0f + 0.5f) / 256.0f;
    found.upper[l] = fraction >= 0 && fraction < 1 ? weight : 0;
  }
  place(v, axis, low, found.spots[0]);
  place(v, axis, high, found.spots[1]);
}

void find_nearest(const TexelLevel& v, const TexelLanes& lanes, Spots& spots, bool whole_numbers) {
  begin(v, lanes, spots);
  for (u32 axis = 0; axis < lanes.dimensions; ++axis) {
    alignas(64) s32 i[kLanes];
    if (whole_numbers) {
      __builtin_memcpy(i, lanes.at[axis], sizeof i);
    } else {
      alignas(64) f32 x[kLanes];
      __builtin_memcpy(x, lanes.at[axis], sizeof x);
      scale(v, axis, x);
      FARCALL_LANES i[l] = whole(x[l]);
    }
    Spots more;
    place(v, axis, i, more);
    join(spots, more);
  }
}

void mix_neighbours(const TexelLevel& v, const TexelLanes& lanes, TexelRows& to) {
  Neighbours axes[3];
  for (u32 axis = 0; axis < lanes.dimensions; ++axis) {
    find_neighbours(v, axis, lanes.at[axis], axes[axis]);
  }
  alignas(64) f32 sums[4][kLanes] = {};
  for (u32 n = 0; n < 1u << lanes.dimensions; ++n) {
    alignas(64) f32 share[kLanes];
    FARCALL_LANES share[l] = 1;
    Spots spots;
    begin(v, lanes, spots);
    for (u32 axis = 0; axis < lanes.dimensions; ++axis) {
      const u32 upper = n >> axis & 1u;
      const f32* const weight = axes[axis].upper;
      FARCALL_LANES share[l] *= upper != 0 ? weight[l] : 1 - weight[l];
      join(spots, axes[axis].spots[upper]);
    }
    // Reads at texels' centres need one of them.
    u32 any = 0;
    FARCALL_LANES any |= __builtin_bit_cast(u32, share[l]);
    if (any << 1 == 0) continue;
    TexelRows texels;
    read(v, spots, texels);
    for (u32 c = 0; c < v.channels; ++c) {
      const u32* const x = texels.channel[c];
      f32* const sum = sums[c];
      // What has no share does not count, not even when it is no number.
      FARCALL_LANES {
        const f32 more = sum[l] + share[l] * __builtin_bit_cast(f32, x[l]);
        sum[l] = share[l] != 0 ? more : sum[l];
      }
    }
  }
  __builtin_memcpy(to.channel, sums, sizeof sums);
}

void sample(const TexelLevel& v, const TexelLanes& lanes, TexelRows& to) {
  if (v.linear) return mix_neighbours(v, lanes, to);
  Spots spots;
  find_nearest(v, lanes, spots, false);
  read(v, spots, to);
}

void fetch(const TexelLevel& v, const TexelLanes& lanes, TexelRows& to) {
  Spots spots;
  find_nearest(v, lanes, spots, true);
  read(v, spots, to);
}

void gather(const TexelLevel& v, const TexelLanes& lanes, u32 channel, TexelRows& to) {
  Neighbours axes[2];
  for (u32 axis = 0; axis < 2; ++axis) find_neighbours(v, axis, lanes.at[axis], axes[axis]);
  constexpr u32 kAcross[4] = {0, 1, 1, 0}, kUp[4] = {1, 1, 0, 0};
  for (u32 n = 0; n < 4; ++n) {
    Spots spots;
    begin(v, lanes, spots);
    join(spots, axes[0].spots[kAcross[n]]);
    join(spots, axes[1].spots[kUp[n]]);
    TexelRows texels;
    read(v, spots, texels);
    __builtin_memcpy(to.channel[n], texels.channel[channel], sizeof to.channel[n]);
  }
}

const TexelMath kMath = {sample, fetch, gather};

}  // namespace

namespace FARCALL_ISA {
const TexelMath& texel_math() { return kMath; }
}  // namespace FARCALL_ISA

}  // namespace farcall::softgpu
