// Copies with a shape between two servers.
#include <algorithm>
#include <optional>

#include "client_shim/extent.h"
#include "client_shim/several_copy.h"
#include "client_shim/shape.h"
#include "transport/base/secure_arena.h"

namespace farcall::shim {
namespace {

// A part of a shape that staging holds, packed.
struct Box {
  std::uint64_t x = 0, y = 0, z = 0;
  std::uint64_t width = 0, rows = 0, slices = 0;
};

// Cuts a shape into boxes of at most `bytes_max`: whole slices, else rows, else parts of a row.
class Boxes {
 public:
  Boxes(const Shape& shape, std::uint64_t bytes_max) : shape_(shape), max_(bytes_max) {}
  bool has_more() const { return z_ < shape_.slices; }
  Box next() {
    Box box{x_, y_, z_, shape_.width, shape_.rows, 1};
    const std::uint64_t slice_bytes = shape_.width * shape_.rows;
    if (slice_bytes <= max_) {
      box.slices = std::min(shape_.slices - z_, max_ / slice_bytes);
      z_ += box.slices;
      return box;
    }
    box.rows = std::min(std::max<std::uint64_t>(1, max_ / shape_.width), shape_.rows - y_);
    box.width = std::min(max_, shape_.width - x_);
    x_ += box.width;
    if (x_ < shape_.width) return box;
    x_ = 0;
    y_ += box.rows;
    if (y_ < shape_.rows) return box;
    y_ = 0;
    ++z_;
    return box;
  }

 private:
  const Shape& shape_;
  const std::uint64_t max_;
  std::uint64_t x_ = 0, y_ = 0, z_ = 0;
};

Side part_of(Side side, const Box& box) {
  side.x += box.x;
  side.y += box.y;
  side.z += box.z;
  return side;
}

// Host memory that holds a box, packed.
Side packed(const void* at, const Box& box) {
  return {Place::kHost, reinterpret_cast<std::uint64_t>(at), box.width, box.rows, 0, 0, 0, 0};
}

Client* owner_of(Fleet& fleet, const Side& side) {
  if (side.place == Place::kHost) return nullptr;
  if (side.place == Place::kArray) return fleet.owner_of(side.at);
  const auto server = fleet.owner_of_address(side.at);
  return server ? fleet.clients()[*server] : nullptr;
}

// Between the device's side and memory here, as the server of that side.
CUresult copy_here(Fleet& fleet, Client& client, const Shape& shape) {
  Serving serving(fleet, client);
  if (shape.from.place == Place::kDevice) fleet.show_block(client, shape.from.at);
  if (shape.to.place == Place::kDevice) fleet.show_block(client, shape.to.at);
  return copy_shape(client, shape, nullptr, false);
}

CUresult finish(Fleet& fleet, Client& target) {
  Serving serving(fleet, target);
  return ::cuStreamSynchronize(nullptr);
}

// Each end as it would be judged in a copy from or to the host.
CUresult judge_end(Fleet& fleet, Client& client, const Side& side, Shape shape) {
  shape.from = side;
  shape.to = {};
  shape.to.pitch = shape.width;
  shape.to.height = shape.rows;
  Serving serving(fleet, client);
  return judge_shape(client, shape);
}

CUresult pass_on(Fleet& fleet, Client& to, Client& from, const Shape& shape) {
  CUresult bad = judge_end(fleet, from, shape.from, shape);
  if (bad == CUDA_SUCCESS) bad = judge_end(fleet, to, shape.to, shape);
  if (bad != CUDA_SUCCESS) return bad;
  const std::uint64_t bytes = shape.width * shape.rows * shape.slices;
  auto staging = SecureBuffer::make(std::min<std::uint64_t>(bytes, limits::kStagingBytes));
  if (!staging.ok()) return CUDA_ERROR_OUT_OF_MEMORY;
  for (Boxes boxes(shape, staging->size()); boxes.has_more();) {
    const Box box = boxes.next();
    Shape part;
    part.width = box.width;
    part.rows = box.rows;
    part.slices = box.slices;
    part.from = part_of(shape.from, box);
    part.to = packed(staging->data(), box);
    CUresult copied = copy_here(fleet, from, part);
    if (copied != CUDA_SUCCESS) return copied;
    part.from = part.to;
    part.to = part_of(shape.to, box);
    copied = copy_here(fleet, to, part);
    if (copied != CUDA_SUCCESS) return copied;
  }
  return finish(fleet, to);
}

CUresult between(Fleet& fleet, const Shape& shape, const CUstream* stream) {
  if (shape.width == 0 || shape.rows == 0 || shape.slices == 0) return CUDA_SUCCESS;
  if (stream != nullptr) {
    CUresult waited = behind_stream(fleet, *stream, [] { return CUDA_SUCCESS; });
    if (waited != CUDA_SUCCESS) return waited;
  }
  Client* from = owner_of(fleet, shape.from);
  Client* to = owner_of(fleet, shape.to);
  if (from != nullptr && to != nullptr && from != to) {
    const bool is_linear = is_packed(shape.from, shape) && is_packed(shape.to, shape);
    if (!is_linear) return pass_on(fleet, *to, *from, shape);
    return copy_between(fleet, shape.to.row_at(0, 0), shape.from.row_at(0, 0),
                        shape.width * shape.rows * shape.slices, nullptr);
  }
  Client* client = to != nullptr ? to : from;
  if (client == nullptr) return CUDA_ERROR_INVALID_VALUE;
  CUresult copied = copy_here(fleet, *client, shape);
  return copied == CUDA_SUCCESS ? finish(fleet, *client) : copied;
}

template <class Copy>
CUresult copy_described(Fleet& fleet, const Copy* copy, const CUstream* stream) {
  if (copy == nullptr) return CUDA_ERROR_INVALID_VALUE;
  Shape shape;
  CUresult read = shape_of(fleet.allocations(), *copy, &shape);
  return read == CUDA_SUCCESS ? between(fleet, shape, stream) : read;
}

Side side_of(ArrayEnd end, std::uint64_t bytes) {
  if (end.array == nullptr) return {Place::kDevice, end.at, bytes, 1, 0, 0, 0, 0};
  return {Place::kArray, id_of(end.array), 0, 0, end.at, 0, 0, 0};
}

}  // namespace

CUresult copy_shape_between(Fleet& fleet, const CUDA_MEMCPY2D* copy, const CUstream* stream) {
  return copy_described(fleet, copy, stream);
}

CUresult copy_shape_between(Fleet& fleet, const CUDA_MEMCPY3D* copy, const CUstream* stream) {
  return copy_described(fleet, copy, stream);
}

CUresult copy_array_between(Fleet& fleet, ArrayEnd to, ArrayEnd from, std::size_t bytes) {
  Shape shape;
  shape.width = bytes;
  shape.from = side_of(from, bytes);
  shape.to = side_of(to, bytes);
  return between(fleet, shape, nullptr);
}

}  // namespace farcall::shim
