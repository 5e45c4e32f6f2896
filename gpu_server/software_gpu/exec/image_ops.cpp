// Handlers of texture and surface instructions. Lanes that read the same level of the same image
// are read together (isa/texels.cpp); surfaces are gone through lane by lane.
#include <algorithm>
#include <cstring>

#include "gpu_server/software_gpu/exec/image.h"
#include "gpu_server/software_gpu/exec/isa/lanes.h"
#include "gpu_server/software_gpu/exec/runtime.h"

namespace farcall::softgpu {
namespace {

f32 as_float(u32 x) { return __builtin_bit_cast(f32, x); }

bool memory_is_there(const Memory& memory, const Image& image) {
  return std::all_of(image.levels.begin(), image.levels.end(), [&](const ImageLevel& level) {
    return memory.contains(level.base, image.bytes(level));
  });
}

// The image that a lane's object stands for; null after a fault.
const UsedImage* image_of(Warp& w, const Ins* i, int lane, u64 object, bool as_surface) {
  Worker& worker = *w.worker;
  if (worker.last_image == nullptr || worker.last_object != object) {
    auto known = worker.images.find(object);
    if (known == worker.images.end()) {
      const Images* images = worker.launch->images;
      auto view = images != nullptr ? images->find(object) : nullptr;
      if (view == nullptr || view->is_surface != as_surface) {
        raise_fault(w, i, FaultKind::kIllegalAddress, lane, object,
                    as_surface ? "no surface object" : "no texture object");
        return nullptr;
      }
      if (!memory_is_there(*worker.launch->memory, view->image)) {
        raise_fault(w, i, FaultKind::kIllegalAddress, lane, object,
                    "the memory has been freed of image");
        return nullptr;
      }
      UsedImage used{view, levels_of(*view)};
      known = worker.images.emplace(object, std::move(used)).first;
    }
    worker.last_object = object;
    worker.last_image = &known->second;
  }
  if (worker.last_image->view->is_surface == as_surface) return worker.last_image;
  raise_fault(w, i, FaultKind::kIllegalAddress, lane, object, "a surface is no texture:");
  return nullptr;
}

// The operands of one image instruction.
class Operands {
 public:
  Operands(const Warp& w, const Ins* i, std::byte* frame)
      : rows_(w.frame->function->more_rows.data() + i->table), frame_(frame) {}
  Row<u32>& at(u32 which, int lane) const { return row<u32>(frame_, rows_[which])[lane]; }
  Row<u64>& wide_at(u32 which, int lane) const { return row<u64>(frame_, rows_[which])[lane]; }
  f32 float_at(u32 which, int lane) const { return as_float(at(which, lane)); }
  Row<u32>* row_of(u32 which) const { return row<u32>(frame_, rows_[which]); }

 private:
  const u32* rows_;
  std::byte* frame_;
};

u32 layers_of(const ImageView& view, unsigned shape) {
  const u32 slices = view.image.levels[0].slices;
  return (shape & kImageCube) != 0 ? std::max(slices / 6, 1u) : slices;
}

f32 lod_of_lane(const ImageView& view, const Ins* i, const Operands& operands, int lane) {
  switch (static_cast<LodFrom>(i->detail2)) {
    case LodFrom::kBase: return 0;
    case LodFrom::kLevel:
      if ((i->flags & kAnyFlag) == 0) return operands.float_at(kLodRow, lane);
      return static_cast<f32>(static_cast<s32>(operands.at(kLodRow, lane)));
    default: break;
  }
  f32 x[3], y[3];
  for (u32 axis = 0; axis < 3; ++axis) {
    x[axis] = operands.float_at(kStepXRow + axis, lane);
    y[axis] = operands.float_at(kStepYRow + axis, lane);
  }
  return lod_of(view, x, y);
}

// Where the lanes of one image instruction read.
struct Places {
  alignas(64) u32 slice[kLanes];
  alignas(64) f32 across[kLanes], down[kLanes];  // of cubes
  TexelLanes lanes;
};

// Layers beyond the last are the last. Faces are six slices of each layer.
void find_places(const ImageView& view, const Ins* i, const Operands& operands, u32 mask,
                 Places& found) {
  const bool layered = (i->detail & kImageLayered) != 0, cube = (i->detail & kImageCube) != 0;
  const u32 last = layers_of(view, i->detail) - 1;
  const Row<u32>* const layer = operands.row_of(kLayerRow);
  FARCALL_LANES found.slice[l] = !layered ? 0 : layer[l] < last ? layer[l] : last;
  found.lanes.slice = found.slice;
  found.lanes.dimensions = cube ? 2 : i->detail & kImageDimensions;
  for (u32 axis = 0; axis < 3; ++axis) {
    found.lanes.at[axis] = operands.row_of(kCoordinateRow + axis);
  }
  if (!cube) return;
  found.lanes.at[0] = found.across;
  found.lanes.at[1] = found.down;
  std::fill_n(found.across, kLanes, 0.0f);
  std::fill_n(found.down, kLanes, 0.0f);
  for (u32 m = mask; m != 0; m &= m - 1) {
    const int l = __builtin_ctz(m);
    f32 direction[3];
    for (u32 axis = 0; axis < 3; ++axis) {
      direction[axis] = operands.float_at(kCoordinateRow + axis, l);
    }
    const u32 face = cube_face(direction, &found.across[l], &found.down[l]);
    found.slice[l] = std::min(found.slice[l] * 6 + face, view.image.levels[0].slices - 1);
  }
}

void merge(const TexelRows& from, u32 lanes, TexelRows& to) {
  for (u32 c = 0; c < 4; ++c) {
    FARCALL_LANES to.channel[c][l] = (lanes >> l & 1u) != 0 ? from.channel[c][l] : to.channel[c][l];
  }
}

// Those of the lanes that name the same image as the first of them.
u32 same_object(const Row<u64>* object, u32 lanes) {
  const u64 chosen = object[__builtin_ctz(lanes)];
  u32 same = 0;
  FARCALL_LANES same |= object[l] == chosen ? 1u << l : 0u;
  return same & lanes;
}

void put_texels(const Warp& w, const Operands& operands, const TexelRows& texels) {
  for (u32 c = 0; c < 4; ++c) {
    Row<u32>* const to = operands.row_of(kTexelRow + c);
    FARCALL_LANES put<false, u32>(to, l, texels.channel[c][l], w.lanes);
  }
}

using ReadLevel = void (*)(const TexelLevel&, const TexelLanes&, TexelRows&);

// Each of the lanes `mask` from the level it asks for.
void read_levels(const UsedImage& image, const u32* number, u32 mask, const TexelLanes& lanes,
                 ReadLevel read, TexelRows& to) {
  while (mask != 0) {
    const u32 chosen = number[__builtin_ctz(mask)];
    u32 same = 0;
    for (u32 m = mask; m != 0; m &= m - 1) {
      if (number[__builtin_ctz(m)] == chosen) same |= m & (0u - m);
    }
    TexelRows texels;
    read(image.levels[chosen], lanes, texels);
    merge(texels, same, to);
    mask &= ~same;
  }
}

// An image of several levels: the nearest one, or two of them mixed.
void read_mipmap(const UsedImage& image, const Ins* i, const Operands& operands, u32 mask,
                 const TexelLanes& lanes, ReadLevel read, TexelRows& to) {
  const bool mixes =
      image.view->sampler.mip_linear && image.levels[0].as_float && (i->flags & kAnyFlag) == 0;
  u32 number[kLanes] = {}, next[kLanes] = {}, between = 0;
  f32 upper[kLanes] = {};
  for (u32 m = mask; m != 0; m &= m - 1) {
    const int l = __builtin_ctz(m);
    const f32 lod = clamped_lod(*image.view, lod_of_lane(*image.view, i, operands, l));
    number[l] = static_cast<u32>(mixes ? lod : lod + 0.5f);
    if (mixes) upper[l] = filter_weight(lod - static_cast<f32>(number[l]));
    next[l] = number[l] + 1;
    if (upper[l] != 0) between |= 1u << l;
  }
  read_levels(image, number, mask, lanes, read, to);
  if (between == 0) return;
  TexelRows above = to, mixed;
  read_levels(image, next, between, lanes, read, above);
  for (u32 c = 0; c < 4; ++c) {
    FARCALL_LANES mixed.channel[c][l] =
        __builtin_bit_cast(u32, as_float(to.channel[c][l]) * (1 - upper[l]) +
                                    as_float(above.channel[c][l]) * upper[l]);
  }
  merge(mixed, between, to);
}

const Ins* texture(Warp& w, const Ins* i, std::byte* r) {
  const Operands operands(w, i, r);
  const TexelMath& math = texel_math(w.worker->launch->isa);
  const ReadLevel read = (i->flags & kAnyFlag) != 0 ? math.fetch : math.sample;
  TexelRows texels = {};
  for (u32 left = w.mask; left != 0;) {
    const u32 same = same_object(row<u64>(r, i->a), left);
    const int lane = __builtin_ctz(left);
    const UsedImage* image = image_of(w, i, lane, row<u64>(r, i->a)[lane], false);
    if (image == nullptr) return stop();
    Places places;
    find_places(*image->view, i, operands, same, places);
    if (image->levels.size() == 1 && same == w.mask) {
      read(image->levels[0], places.lanes, texels);
    } else {
      read_mipmap(*image, i, operands, same, places.lanes, read, texels);
    }
    left &= ~same;
  }
  put_texels(w, operands, texels);
  pred(r, i->d) |= w.mask;  // every texel is resident
  return i + 1;
}

const Ins* texture_gather(Warp& w, const Ins* i, std::byte* r) {
  const Operands operands(w, i, r);
  const TexelMath& math = texel_math(w.worker->launch->isa);
  TexelRows texels = {};
  for (u32 left = w.mask; left != 0;) {
    const u32 same = same_object(row<u64>(r, i->a), left);
    const int lane = __builtin_ctz(left);
    const UsedImage* image = image_of(w, i, lane, row<u64>(r, i->a)[lane], false);
    if (image == nullptr) return stop();
    Places places;
    find_places(*image->view, i, operands, same, places);
    TexelRows four;
    math.gather(image->levels[0], places.lanes, i->detail2, four);
    merge(four, same, texels);
    left &= ~same;
  }
  put_texels(w, operands, texels);
  pred(r, i->d) |= w.mask;
  return i + 1;
}

const Ins* query(Warp& w, const Ins* i, std::byte* r) {
  for (u32 m = w.mask; m != 0; m &= m - 1) {
    const int lane = __builtin_ctz(m);
    const u64 object = row<u64>(r, i->a)[lane];
    const UsedImage* image = image_of(w, i, lane, object, (i->flags & kAnyFlag) != 0);
    if (image == nullptr) return stop();
    const std::vector<ImageLevel>& levels = image->view->image.levels;
    const u32 wanted = row<u32>(r, i->b)[lane];
    const ImageLevel& level = levels[std::min<std::size_t>(wanted, levels.size() - 1)];
    u32 value = static_cast<u32>(levels.size());
    switch (static_cast<ImageFact>(i->detail)) {
      case ImageFact::kWidth: value = level.width; break;
      case ImageFact::kHeight: value = level.height; break;
      case ImageFact::kDepth:
      case ImageFact::kLayers: value = level.slices; break;
      case ImageFact::kLevels: break;
    }
    row<u32>(r, i->d)[lane] = value;
  }
  return i + 1;
}

// Where an access of `bytes` bytes lies: 0 outside, where nothing is read or written.
struct Spot {
  u64 address = 0;
  bool fault = false;
};

Spot spot_of(const ImageView& view, const Ins* i, const Operands& operands, int lane) {
  const ImageLevel& level = view.image.levels[0];
  const u32 bytes = 1u << (i->size_log2 + (i->detail2 & 15u));
  const u32 dimensions = i->detail & kImageDimensions;
  const auto outside = static_cast<Outside>(i->detail2 >> 4);
  s64 at[3] = {0, 0, 0};
  for (u32 axis = 0; axis < dimensions; ++axis) {
    at[axis] = static_cast<s32>(operands.at(kCoordinateRow + axis, lane));
  }
  if ((i->detail & kImageLayered) != 0) at[2] = s64{operands.at(kLayerRow, lane)};
  const s64 last[3] = {static_cast<s64>(view.image.row_bytes_used(level)) - s64{bytes},
                       s64{level.height} - 1, s64{level.slices} - 1};
  for (int axis = 0; axis < 3; ++axis) {
    if (at[axis] >= 0 && at[axis] <= last[axis]) continue;
    if (outside == Outside::kZero) return {};
    if (outside == Outside::kTrap || last[axis] < 0) return {0, true};
    at[axis] = at[axis] < 0 ? 0 : last[axis];
  }
  if (at[0] % bytes != 0) return {0, true};
  return {level.base + static_cast<u64>(at[2]) * level.slice_bytes +
              static_cast<u64>(at[1]) * level.row_bytes + static_cast<u64>(at[0]),
          false};
}

// One lane's elements, from memory to registers or back.
template <bool kStores>
void move(const Ins* i, const Operands& operands, int lane, u64 address) {
  const std::size_t bytes = std::size_t{1} << i->size_log2;
  for (u32 c = 0; c < 1u << (i->detail2 & 15u); ++c) {
    auto* const memory = reinterpret_cast<void*>(address + c * bytes);
    u64 value = 0;
    if (kStores) {
      value = bytes == 8 ? operands.wide_at(c, lane) : operands.at(c, lane);
      if (address != 0) std::memcpy(memory, &value, bytes);
      continue;
    }
    if (address != 0) std::memcpy(&value, memory, bytes);
    if (bytes == 8) {
      operands.wide_at(c, lane) = value;
    } else {
      operands.at(c, lane) = static_cast<u32>(value);
    }
  }
}

template <bool kStores>
const Ins* surface(Warp& w, const Ins* i, std::byte* r) {
  const Operands operands(w, i, r);
  for (u32 m = w.mask; m != 0; m &= m - 1) {
    const int lane = __builtin_ctz(m);
    const UsedImage* image = image_of(w, i, lane, row<u64>(r, i->a)[lane], true);
    if (image == nullptr) return stop();
    const Spot spot = spot_of(*image->view, i, operands, lane);
    if (spot.fault) {
      return raise_fault(w, i, FaultKind::kTrap, lane, 0,
                         "access outside its surface, or not aligned");
    }
    move<kStores>(i, operands, lane, spot.address);
  }
  return i + 1;
}

#define FARCALL_BOTH(op, f) \
  { handler_key(op, Ty::kU32), f, f }
const HandlerEntry kEntries[] = {
    FARCALL_BOTH(Op::kTexture, texture),
    FARCALL_BOTH(Op::kTextureGather, texture_gather),
    FARCALL_BOTH(Op::kImageQuery, query),
    FARCALL_BOTH(Op::kSurfaceLoad, surface<false>),
    FARCALL_BOTH(Op::kSurfaceStore, surface<true>),
};

}  // namespace

HandlerList image_handlers() { return {kEntries, sizeof kEntries / sizeof kEntries[0]}; }

}  // namespace farcall::softgpu
