// Copies with a shape between two servers.
#include <algorithm>
#include <optional>

#include "client_shim/boxes.h"
#include "client_shim/extent.h"
#include "client_shim/several_copy.h"
#include "client_shim/shape.h"
#include "transport/base/secure_arena.h"

namespace farcall::shim {
namespace {

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
    std::uint64_t bytes = 0;
    if (__builtin_mul_overflow(shape.width, shape.rows, &bytes) ||
        __builtin_mul_overflow(bytes, shape.slices, &bytes)) {
      return CUDA_ERROR_INVALID_VALUE;
    }
    return copy_between(fleet, shape.to.row_at(0, 0), shape.from.row_at(0, 0), bytes, nullptr);
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
