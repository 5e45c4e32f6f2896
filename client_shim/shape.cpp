#include "client_shim/shape.h"

#include <algorithm>
#include <cstring>

#include "client_shim/boxes.h"
#include "client_shim/copy.h"
#include "client_shim/entry.h"
#include "client_shim/extent.h"
#include "client_shim/graph_copies.h"
#include "transport/api/rows.h"
#include "transport/base/secure_arena.h"
#include "transport/base/switches.h"

namespace farcall::shim {
namespace {

struct RawSide {
  CUmemorytype type;
  const void* host;
  CUdeviceptr device;
  CUarray array;
  std::uint64_t pitch, height, x, y, z, lod;
};

bool is_known(CUmemorytype type) {
  return type >= CU_MEMORYTYPE_HOST && type <= CU_MEMORYTYPE_UNIFIED;
}

CUresult side_of(const Allocations& allocations, const RawSide& raw, const Shape& shape,
                 Side* side) {
  Side out{Place::kHost, 0, raw.pitch, raw.height, raw.x, raw.y, raw.z, raw.lod};
  switch (raw.type) {
    case CU_MEMORYTYPE_HOST: out.at = reinterpret_cast<std::uint64_t>(raw.host); break;
    case CU_MEMORYTYPE_DEVICE:
      out.place = Place::kDevice;
      out.at = raw.device;
      break;
    case CU_MEMORYTYPE_UNIFIED:
      out.place = allocations.find_device(raw.device) ? Place::kDevice : Place::kHost;
      out.at = raw.device;
      break;
    case CU_MEMORYTYPE_ARRAY:
      out.place = Place::kArray;
      out.at = id_of(raw.array);
      break;
    default: return CUDA_ERROR_INVALID_VALUE;
  }
  if (out.at == 0) return CUDA_ERROR_INVALID_VALUE;
  if (out.place != Place::kArray) {
    // A pitch of zero means rows follow one another.
    if (out.pitch == 0) out.pitch = shape.width + out.x;
    if (out.height == 0) out.height = shape.rows + out.y;
    if (out.pitch < shape.width + out.x && shape.rows > 1) return CUDA_ERROR_INVALID_VALUE;
  }
  *side = out;
  return CUDA_SUCCESS;
}

// A host side is packed before it travels: of it the server learns nothing.
api::hand::ShapeEnd end_of(const Side& side) {
  if (side.place == Place::kHost) return {};
  return {side.at, side.pitch, side.height, side.x, side.y, side.z, side.lod};
}

// A copy as it travels: whole, its host side packed.
struct Journey {
  const Shape& shape;
  CUstream stream;
  bool is_async;

  std::uint64_t bytes() const { return shape.width * shape.rows * shape.slices; }
  void encode(wire::Writer& out) const {
    bool from_host = shape.from.place == Place::kHost;
    out.put(api::hand::CopyShape{from_host ? bytes() : 0, id_of(stream), shape.from.place,
                                 shape.to.place, static_cast<std::uint8_t>(is_async), 0, 0,
                                 end_of(shape.from), end_of(shape.to), shape.width, shape.rows,
                                 shape.slices});
  }
};

// The bytes of a host side one run after the other, none reaching past its row.
class Rows {
 public:
  Rows(const Side& side, const Shape& shape) : side_(side), shape_(shape) {}
  std::span<std::byte> next(std::uint64_t at_most) {
    auto* at = reinterpret_cast<std::byte*>(side_.row_at(row_, slice_)) + x_;
    std::uint64_t bytes = std::min(at_most, shape_.width - x_);
    x_ += bytes;
    if (x_ == shape_.width) {
      x_ = 0;
      if (++row_ == shape_.rows) {
        row_ = 0;
        ++slice_;
      }
    }
    return {at, bytes};
  }

 private:
  const Side& side_;
  const Shape& shape_;
  std::uint64_t x_ = 0;
  std::uint64_t row_ = 0;
  std::uint64_t slice_ = 0;
};

CUresult send_rows(Client& client, const Journey& journey) {
  const api::RowInfo& info = api::row::cuMemcpy3D_v2::info();
  auto status_of = [](Reply& reply) { return reply.status; };
  if (is_on(Switch::kInlineCopy) && journey.bytes() <= limits::kInlineCopyBytesMax) {
    auto encode = [&](wire::Writer& out) {
      journey.encode(out);
      Rows rows(journey.shape.from, journey.shape);
      for (std::uint64_t left = journey.bytes(); left > 0;) {
        auto run = rows.next(left);
        out.bytes(run.data(), run.size());
        left -= run.size();
      }
    };
    return client.ask(info, encode, status_of);
  }
  Rows rows(journey.shape.from, journey.shape);
  auto encode = [&](wire::Writer& out) { journey.encode(out); };
  auto fill = [&](std::span<std::byte> room) {
    while (!room.empty()) {
      auto run = rows.next(room.size());
      std::memcpy(room.data(), run.data(), run.size());
      room = room.subspan(run.size());
    }
    return ok();
  };
  return client.ask_stream(info, encode, journey.bytes(), fill, status_of);
}

// The payload of a reply, row by row to where it belongs.
CUresult take_rows(Reply& reply, const Journey& journey) {
  if (reply.in.get<std::uint64_t>() != journey.bytes()) {
    reply.in.fail();
    return kLinkLost;
  }
  Rows rows(journey.shape.to, journey.shape);
  for (std::uint64_t left = journey.bytes(); left > 0;) {
    auto run = rows.next(left);
    left -= run.size();
    if (!reply.bulk) {
      auto bytes = reply.in.bytes(run.size());
      if (bytes.size() != run.size()) return kLinkLost;
      std::memcpy(run.data(), bytes.data(), run.size());
      continue;
    }
    Status read = reply.session.bulk_read(run);
    if (read.ok()) continue;
    // Called off: the server's driver failed half-way. The session lives on.
    if (read.code() == Code::kDriver) return static_cast<CUresult>(read.detail());
    reply.in.fail();
    return kLinkLost;
  }
  return CUDA_SUCCESS;
}

CUresult fetch_rows(Client& client, const Journey& journey) {
  auto encode = [&](wire::Writer& out) { journey.encode(out); };
  auto take = [&](Reply& reply) {
    return reply.status != CUDA_SUCCESS ? reply.status : take_rows(reply, journey);
  };
  return client.ask(api::row::cuMemcpy3D_v2::info(), encode, take);
}

void copy_in_host(const Shape& shape) {
  for (std::uint64_t slice = 0; slice < shape.slices; ++slice) {
    for (std::uint64_t row = 0; row < shape.rows; ++row) {
      std::memmove(reinterpret_cast<void*>(shape.to.row_at(row, slice)),
                   reinterpret_cast<const void*>(shape.from.row_at(row, slice)), shape.width);
    }
  }
}

template <class Copy>
CUresult read_sides(const Allocations& allocations, const Copy& copy, RawSide from, RawSide to,
                    Shape* shape) {
  shape->width = copy.WidthInBytes;
  shape->rows = copy.Height;
  from.x = copy.srcXInBytes;
  from.y = copy.srcY;
  from.pitch = copy.srcPitch;
  to.x = copy.dstXInBytes;
  to.y = copy.dstY;
  to.pitch = copy.dstPitch;
  if (!is_known(from.type) || !is_known(to.type)) return CUDA_ERROR_INVALID_VALUE;
  if (shape->width == 0 || shape->rows == 0 || shape->slices == 0) return CUDA_SUCCESS;
  CUresult result = side_of(allocations, from, *shape, &shape->from);
  return result != CUDA_SUCCESS ? result : side_of(allocations, to, *shape, &shape->to);
}

}  // namespace

bool is_packed(const Side& side, const Shape& shape) {
  if (side.place == Place::kArray) return false;
  if (shape.slices > 1 && side.height != shape.rows) return false;
  return (shape.rows == 1 && shape.slices == 1) || side.pitch == shape.width;
}

CUresult shape_of(const Allocations& allocations, const CUDA_MEMCPY2D& copy, Shape* shape) {
  RawSide from{copy.srcMemoryType, copy.srcHost, copy.srcDevice, copy.srcArray, 0, 0, 0, 0, 0, 0};
  RawSide to{copy.dstMemoryType, copy.dstHost, copy.dstDevice, copy.dstArray, 0, 0, 0, 0, 0, 0};
  return read_sides(allocations, copy, from, to, shape);
}

CUresult shape_of(const Allocations& allocations, const CUDA_MEMCPY3D& copy, Shape* shape) {
  shape->slices = copy.Depth;
  RawSide from{
      copy.srcMemoryType, copy.srcHost, copy.srcDevice, copy.srcArray, 0, copy.srcHeight, 0, 0,
      copy.srcZ,          copy.srcLOD};
  RawSide to{
      copy.dstMemoryType, copy.dstHost, copy.dstDevice, copy.dstArray, 0, copy.dstHeight, 0, 0,
      copy.dstZ,          copy.dstLOD};
  return read_sides(allocations, copy, from, to, shape);
}

namespace {

// From the first byte of a host side to the last, with what lies between its rows.
struct HostExtent {
  std::uint64_t at = 0;
  std::uint64_t bytes = 1;
  const void* host() const { return reinterpret_cast<const void*>(at); }
};
HostExtent extent_of(const Side& side, const Shape& shape) {
  if (side.place != Place::kHost) return {};
  const std::uint64_t first = side.row_at(0, 0);
  const std::uint64_t last = side.row_at(shape.rows - 1, shape.slices - 1);
  return {first, last - first + shape.width};
}

// A host side that is mirrored memory is the device's as well.
bool move_to_device(Mirrors& mirrors, const Shape& shape, Side* side) {
  if (side->place != Place::kHost) return false;
  const HostExtent extent = extent_of(*side, shape);
  auto here = mirrors.find(extent.at, extent.bytes);
  if (!here) return false;
  side->place = Place::kDevice;
  side->at += here->device - extent.at;
  return true;
}

// Between the device and host memory that may be closed: this thread reads or writes it, as the
// program would, while it holds nothing; what travels is memory of ours.
CUresult copy_as_program(Client& client, const Shape& shape, CUstream stream, bool is_async) {
  const bool from_host = shape.from.place == Place::kHost;
  const std::uint64_t bytes = shape.width * shape.rows * shape.slices;
  auto staging = SecureBuffer::make(std::min<std::uint64_t>(bytes, limits::kStagingBytes));
  if (!staging.ok()) return CUDA_ERROR_OUT_OF_MEMORY;
  for (Boxes boxes(shape, staging->size()); boxes.has_more();) {
    const Box box = boxes.next();
    Shape here{part_of(shape.from, box), part_of(shape.to, box), box.width, box.rows, box.slices};
    Shape away = here;
    (from_host ? here.to : here.from) = packed(staging->data(), box);
    (from_host ? away.from : away.to) = packed(staging->data(), box);
    if (from_host) copy_in_host(here);
    const CUresult moved = copy_shape(client, away, stream, is_async);
    if (moved != CUDA_SUCCESS) return moved;
    if (!from_host) copy_in_host(here);
  }
  return CUDA_SUCCESS;
}

}  // namespace

CUresult copy_shape(Client& client, const Shape& shape, CUstream stream, bool is_async) {
  if (CUresult bad = judge_context(client, stream); bad != CUDA_SUCCESS) return bad;
  if (shape.width == 0 || shape.rows == 0 || shape.slices == 0) return CUDA_SUCCESS;
  const HostExtent from_here = extent_of(shape.from, shape);
  const HostExtent to_here = extent_of(shape.to, shape);
  HostUses& uses = client.allocations().host_uses();
  HostUses::Use from_use(uses, from_here.host(), from_here.bytes);
  HostUses::Use to_use(uses, to_here.host(), to_here.bytes);
  if (client.mirrors().any()) {
    Shape moved = shape;
    const bool from_moved = move_to_device(client.mirrors(), shape, &moved.from);
    const bool to_moved = move_to_device(client.mirrors(), shape, &moved.to);
    if (from_moved || to_moved) {
      from_use.end();
      to_use.end();
      CUresult copied = copy_shape(client, moved, stream, is_async);
      const bool waits = !is_async && copied == CUDA_SUCCESS;
      return waits ? cuStreamSynchronize(CU_STREAM_LEGACY) : copied;
    }
  }
  if (CUresult bad = judge_shape(client, shape); bad != CUDA_SUCCESS) return bad;
  bool from_host = shape.from.place == Place::kHost;
  bool to_host = shape.to.place == Place::kHost;
  if (is_async && (from_host || to_host) && client.completions().is_capturing()) {
    CaptureInfo info;
    CUresult asked = capture_info(client, stream, &info);
    if (asked != CUDA_SUCCESS) return asked;
    if (info.is_active()) return client.graph_copies().capture(shape, info, stream);
  }
  if (from_host) wait_for_landings(from_here.host(), from_here.bytes);
  if (from_host && to_host) {
    CUresult waited = is_async ? cuStreamSynchronize(stream) : CUDA_SUCCESS;
    if (waited == CUDA_SUCCESS) copy_in_host(shape);
    return waited;
  }
  if ((from_host || to_host) && is_packed(shape.from, shape) && is_packed(shape.to, shape)) {
    auto host = reinterpret_cast<void*>((from_host ? shape.from : shape.to).row_at(0, 0));
    std::uint64_t device = (from_host ? shape.to : shape.from).row_at(0, 0);
    LinearCopy linear{device, host, shape.width * shape.rows * shape.slices, stream, is_async};
    return from_host ? copy_to_device(client, linear) : copy_from_device(client, linear);
  }
  Mirrors& mirrors = client.mirrors();
  if (mirrors.touches(from_here.at, from_here.bytes) ||
      mirrors.touches(to_here.at, to_here.bytes)) {
    from_use.end();
    to_use.end();
    return copy_as_program(client, shape, stream, is_async);
  }
  Journey journey{shape, stream, is_async};
  if (from_host) return send_rows(client, journey);
  if (to_host) return fetch_rows(client, journey);
  auto encode = [&](wire::Writer& out) { journey.encode(out); };
  return client.ask(api::row::cuMemcpy3D_v2::info(), encode,
                    [](Reply& reply) { return reply.status; });
}

CUresult land_shape(Client& client, const Shape& shape, CUstream stream) {
  const bool is_one = is_packed(shape.from, shape) && is_packed(shape.to, shape);
  if (is_one) {
    auto* host = reinterpret_cast<void*>(shape.to.row_at(0, 0));
    const std::uint64_t bytes = shape.width * shape.rows * shape.slices;
    return land_from_device(client, {shape.from.row_at(0, 0), host, bytes, stream, true});
  }
  return copy_shape(client, shape, stream, true);
}

}  // namespace farcall::shim
