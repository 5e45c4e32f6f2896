// Views of images: what their rules come to, faces of cubes, levels of detail.
#include "gpu_server/software_gpu/exec/image.h"

#include <algorithm>
#include <cmath>

namespace farcall::softgpu {
namespace {

float from_srgb(float x) {
  return x <= 0.04045f ? x / 12.92f : std::pow((x + 0.055f) / 1.055f, 2.4f);
}

const float* srgb_values() {
  static const auto* const values = [] {
    // Leaked on purpose: streams may still run while a host process destroys its statics.
    auto* const made = new std::vector<float>();
    for (int x = 0; x < 256; ++x) made->push_back(from_srgb(static_cast<float>(x) / 255));
    return made;
  }();
  return values->data();
}

// Coordinates in texels know only an end: wrapping needs the whole to be 1.
EdgeRule edge_of(const ImageView& view, std::size_t axis) {
  if (view.image.is_linear) return EdgeRule::kBorder;
  const EdgeRule wanted = view.sampler.edge[axis];
  const bool repeats = wanted == EdgeRule::kWrap || wanted == EdgeRule::kMirror;
  return repeats && !view.sampler.normalized ? EdgeRule::kClamp : wanted;
}

std::uint32_t border_of(const ImageView& view, std::size_t channel) {
  if (view.image.is_linear) return 0;
  const float value = view.sampler.border[channel];
  if (view.gives_floats()) return __builtin_bit_cast(std::uint32_t, value);
  constexpr float kFar = 1 << 30;
  const float kept = value > -kFar ? std::min(value, kFar) : -kFar;
  return static_cast<std::uint32_t>(static_cast<std::int32_t>(std::floor(kept)));
}

}  // namespace

bool ImageView::gives_floats() const {
  if (image.channel >= Channel::kF16) return true;
  return image.channel < Channel::kU32 && !sampler.as_integer;
}

std::vector<TexelLevel> levels_of(const ImageView& view) {
  const Image& image = view.image;
  std::vector<TexelLevel> levels;
  for (const ImageLevel& level : image.levels) {
    TexelLevel made = {};
    made.base = level.base;
    made.step_bytes[0] = image.texel_bytes();
    made.step_bytes[1] = level.row_bytes;
    made.step_bytes[2] = level.slice_bytes;
    made.extent[0] = static_cast<std::int32_t>(level.width);
    made.extent[1] = static_cast<std::int32_t>(level.height);
    made.extent[2] = static_cast<std::int32_t>(level.slices);
    made.channels = image.channels;
    made.channel = image.channel;
    for (std::size_t axis = 0; axis < 3; ++axis) made.edge[axis] = edge_of(view, axis);
    made.normalized = view.sampler.normalized;
    made.as_float = view.gives_floats();
    made.linear = view.sampler.linear && made.as_float && !image.is_linear;
    made.srgb = view.sampler.srgb ? srgb_values() : nullptr;
    for (std::size_t c = 0; c < 4; ++c) made.border[c] = border_of(view, c);
    levels.push_back(made);
  }
  return levels;
}

float clamped_lod(const ImageView& view, float lod) {
  const Sampler& sampler = view.sampler;
  const auto last = static_cast<float>(view.image.levels.size() - 1);
  const float wanted = std::min(std::max(lod + sampler.bias, sampler.min_level), sampler.max_level);
  return wanted > 0 ? std::min(wanted, last) : 0;
}

float filter_weight(float fraction) { return std::floor(fraction * 256.0f + 0.5f) / 256.0f; }

std::uint32_t cube_face(const float (&d)[3], float* across, float* down) {
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
  *across = (s / size[axis] + 1) / 2;
  *down = (t / size[axis] + 1) / 2;
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
