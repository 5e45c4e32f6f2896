// Images: what texture and surface objects mean to kernels.
//
//   Images images;                                    // one per device
//   images.add(object, ImageView{image, sampler});    // cuTexObjectCreate
//   auto view = images.find(object);                  // null: no such object
//   std::vector<TexelLevel> levels = levels_of(*view);   // ready to be read, isa/texel_math.h
//
// An image is levels of slices of rows of texels in device memory; slices are the depth of a 3D
// image, the layers of a layered one, or faces: six for each layer of a cube. A view adds how to
// read it. Nothing here checks that the memory is still there: image_ops.cpp does, once per launch.
// Owner: Device owns its Images.  Threads: Images any; views are immutable.
// Source: CUDA C++ Programming Guide 13.0, Texture Fetching; PTX ISA 9.0, tex, tld4, suld.
#pragma once
#include <cstdint>
#include <memory>
#include <unordered_map>
#include <vector>

#include "gpu_server/software_gpu/exec/isa/texel_math.h"
#include "transport/base/guarded.h"

namespace farcall::softgpu {

constexpr std::uint32_t channel_bytes(Channel channel) {
  return channel <= Channel::kS8 ? 1 : channel <= Channel::kS16 || channel == Channel::kF16 ? 2 : 4;
}

struct ImageLevel {
  std::uint64_t base = 0;
  std::uint32_t width = 1, height = 1;
  std::uint32_t slices = 1;
  std::uint64_t row_bytes = 0, slice_bytes = 0;  // from one to the next
};

struct Image {
  Channel channel = Channel::kU8;
  std::uint32_t channels = 1;  // 1, 2 or 4
  bool is_linear = false;      // plain memory: outside of it there is zero
  std::vector<ImageLevel> levels;
  std::uint32_t texel_bytes() const { return channels * channel_bytes(channel); }
  std::uint64_t row_bytes_used(const ImageLevel& level) const {
    return std::uint64_t{level.width} * texel_bytes();
  }
  // From the first byte of a level to its last.
  std::uint64_t bytes(const ImageLevel& level) const {
    return (level.slices - 1) * level.slice_bytes + (level.height - 1) * level.row_bytes +
           row_bytes_used(level);
  }
};

struct Sampler {
  EdgeRule edge[3] = {EdgeRule::kClamp, EdgeRule::kClamp, EdgeRule::kClamp};
  bool linear = false;      // between texels; else the nearest
  bool mip_linear = false;  // between levels
  bool normalized = false;  // coordinates run from 0 to 1
  bool as_integer = false;  // integers stay integers; else 8 and 16 bits become 0 … 1 or -1 … 1
  bool srgb = false;
  float border[4] = {0, 0, 0, 0};
  float bias = 0, min_level = 0, max_level = 0;
};

struct ImageView {
  Image image;
  Sampler sampler;
  bool is_surface = false;
  // Whether a read gives floats, or integers of 32 bits.
  bool gives_floats() const;
};

class Images {
 public:
  void add(std::uint64_t object, ImageView view) {
    views_.lock()->insert_or_assign(object, std::make_shared<const ImageView>(std::move(view)));
  }
  void remove(std::uint64_t object) { views_.lock()->erase(object); }
  std::shared_ptr<const ImageView> find(std::uint64_t object) const {
    auto views = views_.lock();
    const auto at = views->find(object);
    return at == views->end() ? nullptr : at->second;
  }

 private:
  mutable Guarded<std::unordered_map<std::uint64_t, std::shared_ptr<const ImageView>>> views_;
};

// The levels of a view, with all its rules settled.
std::vector<TexelLevel> levels_of(const ImageView& view);
// The level of detail to read where `lod` is wanted, within what the view and the image allow.
float clamped_lod(const ImageView& view, float lod);
// Weights of filters have eight bits after the point.
float filter_weight(float fraction);
// The face (0 … 5) a direction hits, and where, in 0 … 1.
std::uint32_t cube_face(const float (&direction)[3], float* across, float* down);
// The level of detail of a footprint that spans these two steps.
float lod_of(const ImageView& view, const float (&step_x)[3], const float (&step_y)[3]);

}  // namespace farcall::softgpu
