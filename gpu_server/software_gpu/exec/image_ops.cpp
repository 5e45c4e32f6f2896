// Handlers of texture and surface instructions: one lane after the other, because each may read
// another image at another place.
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

// The view that a lane's object stands for; null after a fault.
const ImageView* view_of(Warp& w, const Ins* i, int lane, u64 object, bool as_surface) {
  Worker& worker = *w.worker;
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
    known = worker.images.emplace(object, std::move(view)).first;
  }
  if (known->second->is_surface == as_surface) return known->second.get();
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

 private:
  const u32* rows_;
  std::byte* frame_;
};

u32 layers_of(const ImageView& view, unsigned shape) {
  const u32 slices = view.image.levels[0].slices;
  return (shape & kImageCube) != 0 ? std::max(slices / 6, 1u) : slices;
}

// The slice before faces are counted; layers beyond the last are the last.
u32 slice_of(const ImageView& view, unsigned shape, const Operands& operands, int lane) {
  if ((shape & kImageLayered) == 0) return 0;
  const u32 layer = std::min(operands.at(kLayerRow, lane), layers_of(view, shape) - 1);
  return (shape & kImageCube) != 0 ? layer * 6 : layer;
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

Texel read_texture(const ImageView& view, const Ins* i, const Operands& operands, int lane) {
  const u32 dimensions = i->detail & kImageDimensions;
  u32 slice = slice_of(view, i->detail, operands, lane);
  const f32 lod = lod_of_lane(view, i, operands, lane);
  if ((i->flags & kAnyFlag) != 0) {
    s32 at[3] = {0, 0, 0};
    for (u32 axis = 0; axis < dimensions; ++axis) {
      at[axis] = static_cast<s32>(operands.at(kCoordinateRow + axis, lane));
    }
    return fetch(view, at, dimensions, slice, lod);
  }
  Coordinates where;
  where.dimensions = dimensions;
  f32 given[3] = {0, 0, 0};
  for (u32 axis = 0; axis < dimensions; ++axis) {
    given[axis] = operands.float_at(kCoordinateRow + axis, lane);
  }
  if ((i->detail & kImageCube) != 0) {
    slice = std::min(slice + cube_face(given, &where), view.image.levels[0].slices - 1);
  } else {
    std::copy(std::begin(given), std::end(given), std::begin(where.at));
  }
  return sample(view, where, slice, lod);
}

Texel read_gather(const ImageView& view, const Ins* i, const Operands& operands, int lane) {
  Coordinates where;
  where.dimensions = 2;
  for (u32 axis = 0; axis < 2; ++axis) {
    where.at[axis] = operands.float_at(kCoordinateRow + axis, lane);
  }
  return gather(view, where, slice_of(view, i->detail, operands, lane), i->detail2);
}

template <Texel (*kRead)(const ImageView&, const Ins*, const Operands&, int)>
const Ins* texture(Warp& w, const Ins* i, std::byte* r) {
  const Operands operands(w, i, r);
  for (u32 m = w.mask; m != 0; m &= m - 1) {
    const int lane = __builtin_ctz(m);
    const ImageView* view = view_of(w, i, lane, row<u64>(r, i->a)[lane], false);
    if (view == nullptr) return stop();
    const Texel texel = kRead(*view, i, operands, lane);
    for (u32 c = 0; c < 4; ++c) operands.at(kTexelRow + c, lane) = texel.channel[c];
  }
  pred(r, i->d) |= w.mask;  // every texel is resident
  return i + 1;
}

const Ins* query(Warp& w, const Ins* i, std::byte* r) {
  for (u32 m = w.mask; m != 0; m &= m - 1) {
    const int lane = __builtin_ctz(m);
    const u64 object = row<u64>(r, i->a)[lane];
    const ImageView* view = view_of(w, i, lane, object, (i->flags & kAnyFlag) != 0);
    if (view == nullptr) return stop();
    const std::vector<ImageLevel>& levels = view->image.levels;
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
    const ImageView* view = view_of(w, i, lane, row<u64>(r, i->a)[lane], true);
    if (view == nullptr) return stop();
    const Spot spot = spot_of(*view, i, operands, lane);
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
    FARCALL_BOTH(Op::kTexture, texture<read_texture>),
    FARCALL_BOTH(Op::kTextureGather, texture<read_gather>),
    FARCALL_BOTH(Op::kImageQuery, query),
    FARCALL_BOTH(Op::kSurfaceLoad, surface<false>),
    FARCALL_BOTH(Op::kSurfaceStore, surface<true>),
};

}  // namespace

HandlerList image_handlers() { return {kEntries, sizeof kEntries / sizeof kEntries[0]}; }

}  // namespace farcall::softgpu
