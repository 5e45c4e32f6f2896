// Reading images: addresses of texels, conversion to registers, filters.
#include "gpu_server/software_gpu/exec/image.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "gpu_server/software_gpu/exec/half.h"

namespace farcall::softgpu {
namespace {

// Whole texels from a coordinate. Beyond this no image reaches, and the cast stays defined.
std::int32_t whole(float x) {
  constexpr float kFar = 1 << 30;
  return x >= kFar ? 1 << 30 : x > -kFar ? static_cast<std::int32_t>(std::floor(x)) : -(1 << 30);
}

// Filter weights have eight bits after the point.
float weight(float fraction) { return std::floor(fraction * 256.0f + 0.5f) / 256.0f; }

std::uint32_t bits_of(float x) { return __builtin_bit_cast(std::uint32_t, x); }
float float_of(std::uint32_t x) { return __builtin_bit_cast(float, x); }

template <class T>
T read(std::uint64_t address) {
  T value;
  std::memcpy(&value, reinterpret_cast<const void*>(address), sizeof value);
  return value;
}

float normalized(std::int32_t x, float largest) {
  return std::max(static_cast<float>(x) / largest, -1.0f);
}

float from_srgb(float x) {
  return x <= 0.04045f ? x / 12.92f : std::pow((x + 0.055f) / 1.055f, 2.4f);
}

std::uint32_t read_channel(Channel channel, std::uint64_t at, bool as_float) {
  switch (channel) {
    case Channel::kU8: {
      const auto x = read<std::uint8_t>(at);
      return as_float ? bits_of(normalized(x, 255)) : x;
    }
    case Channel::kS8: {
      const auto x = read<std::int8_t>(at);
      return as_float ? bits_of(normalized(x, 127)) : static_cast<std::uint32_t>(x);
    }
    case Channel::kU16: {
      const auto x = read<std::uint16_t>(at);
      return as_float ? bits_of(normalized(x, 65535)) : x;
    }
    case Channel::kS16: {
      const auto x = read<std::int16_t>(at);
      return as_float ? bits_of(normalized(x, 32767)) : static_cast<std::uint32_t>(x);
    }
    case Channel::kF16: return bits_of(to_float<F16>(read<std::uint16_t>(at)));
    default: return read<std::uint32_t>(at);
  }
}

// One level of a view, for reads of single texels.
class Level {
 public:
  Level(const ImageView& view, std::uint32_t level, std::uint32_t slice)
      : view_(view), level_(view.image.levels[level]), slice_(slice) {
    extent_[0] = static_cast<std::int32_t>(level_.width);
    extent_[1] = static_cast<std::int32_t>(level_.height);
    extent_[2] = static_cast<std::int32_t>(level_.slices);
  }
  std::int32_t extent(std::uint32_t axis) const { return extent_[axis]; }

  // The texel of an axis that index `i` means: none is -1, the border.
  std::int32_t place(std::uint32_t axis, std::int32_t i) const {
    const std::int32_t n = extent_[axis];
    if (i >= 0 && i < n) return i;
    switch (edge(axis)) {
      case EdgeRule::kBorder: return -1;
      case EdgeRule::kWrap: return ((i % n) + n) % n;
      default: return i < 0 ? 0 : n - 1;  // a mirrored image repeats its edge, too
    }
  }

  // Where a coordinate lies, in texels.
  float scale(std::uint32_t axis, float x) const {
    if (!view_.sampler.normalized) return x;
    const auto n = static_cast<float>(extent_[axis]);
    const float below = std::floor(x);
    if (edge(axis) == EdgeRule::kWrap) return (x - below) * n;
    if (edge(axis) != EdgeRule::kMirror) return x * n;
    const bool backward = std::fmod(below, 2.0f) != 0;
    return (backward ? 1 - (x - below) : x - below) * n;
  }

  Texel at(std::int32_t x, std::int32_t y, std::int32_t z, std::uint32_t dimensions) const {
    const std::int32_t column = place(0, x);
    const std::int32_t row = dimensions > 1 ? place(1, y) : 0;
    const std::int32_t slice = dimensions > 2 ? place(2, z) : static_cast<std::int32_t>(slice_);
    if (column < 0 || row < 0 || slice < 0) return border();
    const Image& image = view_.image;
    const std::uint64_t address = level_.base +
                                  static_cast<std::uint64_t>(slice) * level_.slice_bytes +
                                  static_cast<std::uint64_t>(row) * level_.row_bytes +
                                  static_cast<std::uint64_t>(column) * image.texel_bytes();
    Texel texel;
    const bool as_float = view_.gives_floats();
    for (std::uint32_t c = 0; c < image.channels; ++c) {
      const std::uint64_t where = address + c * channel_bytes(image.channel);
      texel.channel[c] = read_channel(image.channel, where, as_float);
      if (view_.sampler.srgb && as_float && image.channel == Channel::kU8 && c < 3) {
        texel.channel[c] = bits_of(from_srgb(float_of(texel.channel[c])));
      }
    }
    return texel;
  }

 private:
  // Coordinates in texels know only an end: wrapping needs the whole to be 1.
  EdgeRule edge(std::uint32_t axis) const {
    if (view_.image.is_linear) return EdgeRule::kBorder;
    const EdgeRule wanted = view_.sampler.edge[axis];
    const bool repeats = wanted == EdgeRule::kWrap || wanted == EdgeRule::kMirror;
    return repeats && !view_.sampler.normalized ? EdgeRule::kClamp : wanted;
  }
  Texel border() const {
    Texel texel;
    if (view_.image.is_linear) return texel;
    for (std::uint32_t c = 0; c < view_.image.channels; ++c) {
      const float value = view_.sampler.border[c];
      texel.channel[c] =
          view_.gives_floats() ? bits_of(value) : static_cast<std::uint32_t>(whole(value));
    }
    return texel;
  }

  const ImageView& view_;
  const ImageLevel& level_;
  const std::uint32_t slice_;
  std::int32_t extent_[3];
};

Texel nearest(const Level& level, const Coordinates& where) {
  std::int32_t i[3] = {0, 0, 0};
  for (std::uint32_t axis = 0; axis < where.dimensions; ++axis) {
    i[axis] = whole(level.scale(axis, where.at[axis]));
  }
  return level.at(i[0], i[1], i[2], where.dimensions);
}

// The lower neighbour on each axis and the weight of the upper one.
struct Corner {
  std::int32_t i[3] = {0, 0, 0};
  float upper[3] = {0, 0, 0};
};

Corner corner_of(const Level& level, const Coordinates& where) {
  Corner corner;
  for (std::uint32_t axis = 0; axis < where.dimensions; ++axis) {
    const float x = level.scale(axis, where.at[axis]) - 0.5f;
    corner.i[axis] = whole(x);
    const float fraction = x - std::floor(x);
    corner.upper[axis] = fraction >= 0 && fraction < 1 ? weight(fraction) : 0;
  }
  return corner;
}

Texel mix_of_neighbours(const Level& level, const Coordinates& where) {
  const Corner corner = corner_of(level, where);
  float sum[4] = {0, 0, 0, 0};
  for (std::uint32_t n = 0; n < 1u << where.dimensions; ++n) {
    float share = 1;
    std::int32_t i[3] = {0, 0, 0};
    for (std::uint32_t axis = 0; axis < where.dimensions; ++axis) {
      const bool is_upper = (n >> axis & 1u) != 0;
      i[axis] = corner.i[axis] + (is_upper ? 1 : 0);
      share *= is_upper ? corner.upper[axis] : 1 - corner.upper[axis];
    }
    if (share == 0) continue;
    const Texel texel = level.at(i[0], i[1], i[2], where.dimensions);
    for (int c = 0; c < 4; ++c) sum[c] += share * float_of(texel.channel[c]);
  }
  Texel mixed;
  for (int c = 0; c < 4; ++c) mixed.channel[c] = bits_of(sum[c]);
  return mixed;
}

Texel sample_level(const ImageView& view, const Coordinates& where, std::uint32_t slice,
                   std::uint32_t level) {
  const Level texels(view, level, slice);
  const bool mixes = view.sampler.linear && view.gives_floats() && !view.image.is_linear;
  return mixes ? mix_of_neighbours(texels, where) : nearest(texels, where);
}

float clamped_lod(const ImageView& view, float lod) {
  const Sampler& sampler = view.sampler;
  const auto last = static_cast<float>(view.image.levels.size() - 1);
  const float wanted = std::min(std::max(lod + sampler.bias, sampler.min_level), sampler.max_level);
  return wanted > 0 ? std::min(wanted, last) : 0;
}

}  // namespace

bool ImageView::gives_floats() const {
  if (image.channel >= Channel::kF16) return true;
  return image.channel < Channel::kU32 && !sampler.as_integer;
}

Texel sample(const ImageView& view, const Coordinates& where, std::uint32_t slice, float lod) {
  if (view.image.levels.size() == 1) return sample_level(view, where, slice, 0);
  const float level = clamped_lod(view, lod);
  if (!view.sampler.mip_linear || !view.gives_floats()) {
    return sample_level(view, where, slice, static_cast<std::uint32_t>(level + 0.5f));
  }
  const auto lower = static_cast<std::uint32_t>(level);
  const float upper = weight(level - static_cast<float>(lower));
  Texel mixed = sample_level(view, where, slice, lower);
  if (upper == 0) return mixed;
  const Texel above = sample_level(view, where, slice, lower + 1);
  for (int c = 0; c < 4; ++c) {
    mixed.channel[c] =
        bits_of(float_of(mixed.channel[c]) * (1 - upper) + float_of(above.channel[c]) * upper);
  }
  return mixed;
}

Texel fetch(const ImageView& view, const std::int32_t (&at)[3], std::uint32_t dimensions,
            std::uint32_t slice, float lod) {
  const Level level(view, static_cast<std::uint32_t>(clamped_lod(view, lod) + 0.5f), slice);
  return level.at(at[0], at[1], at[2], dimensions);
}

Texel gather(const ImageView& view, const Coordinates& where, std::uint32_t slice, int channel) {
  const Level level(view, 0, slice);
  const Corner corner = corner_of(level, where);
  constexpr std::int32_t kAcross[4] = {0, 1, 1, 0}, kUp[4] = {1, 1, 0, 0};
  Texel four;
  for (int n = 0; n < 4; ++n) {
    const Texel texel =
        level.at(corner.i[0] + kAcross[n], corner.i[1] + kUp[n], 0, where.dimensions);
    four.channel[n] = texel.channel[channel];
  }
  return four;
}

std::uint32_t cube_face(const float (&d)[3], Coordinates* where) {
  const float size[3] = {std::fabs(d[0]), std::fabs(d[1]), std::fabs(d[2])};
  std::uint32_t axis = size[1] > size[0] ? 1 : 0;
  if (size[2] > size[axis]) axis = 2;
  const bool negative = std::signbit(d[axis]);
  float s = 0, t = -d[1];
  switch (axis) {
    case 0: s = negative ? d[2] : -d[2]; break;
    case 1:
      s = d[0];
      t = negative ? -d[2] : d[2];
      break;
    default: s = negative ? -d[0] : d[0]; break;
  }
  where->dimensions = 2;
  where->at[0] = (s / size[axis] + 1) / 2;
  where->at[1] = (t / size[axis] + 1) / 2;
  return axis * 2 + (negative ? 1 : 0);
}

float lod_of(const ImageView& view, const float (&step_x)[3], const float (&step_y)[3]) {
  const ImageLevel& base = view.image.levels[0];
  const std::uint32_t extent[3] = {base.width, base.height, base.slices};
  float x = 0, y = 0;
  for (int axis = 0; axis < 3; ++axis) {
    const float scale = view.sampler.normalized ? static_cast<float>(extent[axis]) : 1;
    x += step_x[axis] * scale * step_x[axis] * scale;
    y += step_y[axis] * scale * step_y[axis] * scale;
  }
  return std::log2(std::max(x, y)) / 2;
}

}  // namespace farcall::softgpu
