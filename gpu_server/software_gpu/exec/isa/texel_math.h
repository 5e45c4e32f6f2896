// Reading images for a whole warp, once per instruction set.
//
//   TexelRows texels;
//   texel_math(launch.isa).sample(levels[0], lanes, texels);   // 32 filtered reads
//
// What a view asks for is settled ahead (TexelLevel); indices, weights and conversions are then
// computed for all lanes together, and only the texels themselves are fetched one by one. Every
// lane reads, whether it runs or not: no coordinate leads outside of the level's memory.
// Data only: what includes this is compiled for several instruction sets and shares no code.
// Owner: whoever calls.  Threads: any.
// Source: CUDA C++ Programming Guide 13.0, Texture Fetching.
#pragma once
#include <cstdint>

namespace farcall::softgpu {

enum class Channel : std::uint8_t { kU8, kS8, kU16, kS16, kU32, kS32, kF16, kF32 };
enum class EdgeRule : std::uint8_t { kWrap, kClamp, kMirror, kBorder };

// One level of an image, and how it is read.
struct TexelLevel {
  std::uint64_t base;
  std::uint64_t step_bytes[3];  // from a texel, row, slice to the next
  std::int32_t extent[3];       // 1 …
  std::uint32_t channels;       // 1, 2 or 4
  Channel channel;
  EdgeRule edge[3];  // the rules that apply: a mirrored or wrapped image is normalized
  bool normalized;
  bool linear;              // sample() mixes neighbours
  bool as_float;            // channels are read as floats
  const float* srgb;        // what the 256 values of a colour stand for, or null
  std::uint32_t border[4];  // as it is read
};

// Rows of 32 lanes.
struct TexelLanes {
  const void* at[3];           // coordinates: floats, or whole numbers for fetch()
  std::uint32_t dimensions;    // 1 … 3
  const std::uint32_t* slice;  // in range; where there are fewer than three dimensions
};
struct TexelRows {
  alignas(64) std::uint32_t channel[4][32];  // bits of floats or integers
};

struct TexelMath {
  void (*sample)(const TexelLevel& level, const TexelLanes& lanes, TexelRows& to);
  // The texel at whole numbers, unfiltered.
  void (*fetch)(const TexelLevel& level, const TexelLanes& lanes, TexelRows& to);
  // One channel of the four texels that a linear filter of two dimensions would mix: lower left,
  // lower right, upper right, upper left.
  void (*gather)(const TexelLevel& level, const TexelLanes& lanes, std::uint32_t channel,
                 TexelRows& to);
};

}  // namespace farcall::softgpu
