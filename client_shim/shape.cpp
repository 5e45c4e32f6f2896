#include "client_shim/shape.h"

#include <algorithm>
#include <cstring>
#include <vector>

#include "client_shim/copy.h"
#include "client_shim/entry.h"
#include "transport/api/rows.h"

namespace farcall::shim {
namespace {

struct RawSide {
  CUmemorytype type;
  const void* host;
  CUdeviceptr device;
  CUarray array;
  std::uint64_t pitch, height, x, y, z, lod;
};

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

// Do the rows of this side lie back to back?
bool is_packed(const Side& side, const Shape& shape) {
  if (side.place == Place::kArray) return false;
  if (shape.slices > 1 && side.height != shape.rows) return false;
  return (shape.rows == 1 && shape.slices == 1) || side.pitch == shape.width;
}

// A host side is packed before it travels: of it the server learns nothing.
api::hand::ShapeEnd end_of(const Side& side) {
  if (side.place == Place::kHost) return {};
  return {side.at, side.pitch, side.height, side.x, side.y, side.z, side.lod};
}

// One frame: the whole shape, or the piece of it that fits.
struct Piece {
  Shape shape;
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

template <class Visit>
void each_host_row(const Side& side, const Shape& shape, std::byte* packed, const Visit& visit) {
  for (std::uint64_t slice = 0; slice < shape.slices; ++slice) {
    for (std::uint64_t row = 0; row < shape.rows; ++row, packed += shape.width) {
      visit(reinterpret_cast<std::byte*>(side.row_at(row, slice)), packed);
    }
  }
}

CUresult send_piece(Client& client, const Piece& piece, std::vector<std::byte>& room) {
  const api::RowInfo& info = api::row::cuMemcpy3D_v2::info();
  const Shape& shape = piece.shape;
  auto encode = [&](wire::Writer& out) { piece.encode(out); };
  auto status_of = [](Reply& reply) { return reply.status; };
  if (shape.from.place == Place::kHost) {
    room.resize(piece.bytes());
    each_host_row(shape.from, shape, room.data(), [&](std::byte* host, std::byte* packed) {
      std::memcpy(packed, host, shape.width);
    });
    return client.ask_payload(info, encode, room, status_of);
  }
  if (shape.to.place != Place::kHost) return client.ask(info, encode, status_of);
  room.resize(piece.bytes());
  auto take = [&](Reply& reply) {
    if (reply.status != CUDA_SUCCESS) return reply.status;
    return take_payload(reply, room.data(), room.size());
  };
  CUresult result = client.ask(info, encode, take);
  if (result != CUDA_SUCCESS) return result;
  each_host_row(shape.to, shape, room.data(), [&](std::byte* host, std::byte* packed) {
    std::memcpy(host, packed, shape.width);
  });
  return CUDA_SUCCESS;
}

// Cuts a shape with a host side into pieces of at most kCopyChunkBytes: by slices, rows, columns.
CUresult send_pieces(Client& client, const Shape& shape, CUstream stream, bool is_async) {
  std::uint64_t columns = std::min<std::uint64_t>(shape.width, limits::kCopyChunkBytes);
  std::uint64_t rows = std::max<std::uint64_t>(1, limits::kCopyChunkBytes / columns);
  std::vector<std::byte> room;
  for (std::uint64_t z = 0; z < shape.slices; ++z) {
    for (std::uint64_t y = 0; y < shape.rows; y += rows) {
      for (std::uint64_t x = 0; x < shape.width; x += columns) {
        Piece piece{shape, stream, is_async};
        for (Side* side : {&piece.shape.from, &piece.shape.to}) {
          side->x += x;
          side->y += y;
          side->z += z;
        }
        piece.shape.width = std::min(columns, shape.width - x);
        piece.shape.rows = std::min(rows, shape.rows - y);
        piece.shape.slices = 1;
        CUresult sent = send_piece(client, piece, room);
        if (sent != CUDA_SUCCESS) return sent;
      }
    }
  }
  return CUDA_SUCCESS;
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
  if (shape->width == 0 || shape->rows == 0 || shape->slices == 0) return CUDA_SUCCESS;
  CUresult result = side_of(allocations, from, *shape, &shape->from);
  return result != CUDA_SUCCESS ? result : side_of(allocations, to, *shape, &shape->to);
}

}  // namespace

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

CUresult copy_shape(Client& client, const Shape& shape, CUstream stream, bool is_async) {
  if (shape.width == 0 || shape.rows == 0 || shape.slices == 0) return CUDA_SUCCESS;
  bool from_host = shape.from.place == Place::kHost;
  bool to_host = shape.to.place == Place::kHost;
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
  if (from_host || to_host) return send_pieces(client, shape, stream, is_async);
  std::vector<std::byte> none;
  return send_piece(client, {shape, stream, is_async}, none);
}

}  // namespace farcall::shim
