#include "client_shim/extent.h"

#include "client_shim/copy.h"
#include "client_shim/entry.h"
#include "transport/api/client_call.h"

namespace farcall::shim {
namespace {

// Bytes of one channel; 0: a format whose size this does not know.
std::uint64_t channel_bytes(CUarray_format format) {
  switch (format) {
    case CU_AD_FORMAT_UNSIGNED_INT8:
    case CU_AD_FORMAT_SIGNED_INT8: return 1;
    case CU_AD_FORMAT_UNSIGNED_INT16:
    case CU_AD_FORMAT_SIGNED_INT16:
    case CU_AD_FORMAT_HALF: return 2;
    case CU_AD_FORMAT_UNSIGNED_INT32:
    case CU_AD_FORMAT_SIGNED_INT32:
    case CU_AD_FORMAT_FLOAT: return 4;
    default: return 0;
  }
}

CUresult size_of(Client& client, std::uint64_t array, ArraySize* size) {
  if (auto known = client.array_sizes().find(array)) {
    *size = *known;
    return CUDA_SUCCESS;
  }
  CUDA_ARRAY3D_DESCRIPTOR told{};
  CUresult asked = api::call<api::row::cuArray3DGetDescriptor_v2>(&told, handle_of<CUarray>(array));
  if (asked != CUDA_SUCCESS) return asked;
  *size = {told.Width * told.NumChannels * channel_bytes(told.Format),
           told.Height == 0 ? 1 : told.Height, told.Depth == 0 ? 1 : told.Depth};
  client.array_sizes().keep(array, *size);
  return CUDA_SUCCESS;
}

bool fits(std::uint64_t from, std::uint64_t count, std::uint64_t within) {
  return from <= within && count <= within - from;
}

CUresult judge_array(Client& client, const Side& side, const Shape& shape) {
  ArraySize size;
  if (CUresult bad = size_of(client, side.at, &size); bad != CUDA_SUCCESS) return bad;
  if (size.row_bytes == 0) return CUDA_SUCCESS;  // the driver knows
  const bool inside = fits(side.x, shape.width, size.row_bytes) &&
                      fits(side.y, shape.rows, size.rows) &&
                      fits(side.z, shape.slices, size.slices);
  return inside ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

// How far a side reaches from its first byte. False: further than addresses go.
bool reach_of(const Side& side, const Shape& shape, std::uint64_t* bytes) {
  std::uint64_t rows = 0;
  std::uint64_t end = 0;
  std::uint64_t first = 0;
  const bool is_too_far = __builtin_add_overflow(side.z, shape.slices - 1, &rows) ||
                          __builtin_mul_overflow(rows, side.height, &rows) ||
                          __builtin_add_overflow(rows, side.y, &rows) ||
                          __builtin_add_overflow(rows, shape.rows - 1, &rows) ||
                          __builtin_mul_overflow(rows, side.pitch, &end) ||
                          __builtin_add_overflow(end, side.x, &end) ||
                          __builtin_add_overflow(end, shape.width, &end) ||
                          __builtin_add_overflow(end, side.at, &first);
  if (is_too_far) return false;
  *bytes = first - side.row_at(0, 0);
  return true;
}

CUresult judge_side(Client& client, const Side& side, const Shape& shape, bool other_is_host) {
  if (side.place == Place::kArray) return judge_array(client, side, shape);
  std::uint64_t bytes = 0;
  if (!reach_of(side, shape, &bytes)) return CUDA_ERROR_INVALID_VALUE;
  if (side.place == Place::kHost) return CUDA_SUCCESS;
  bool known = false;
  const std::uint64_t at = side.row_at(0, 0);
  CUresult judged = judge_device(client, at, bytes, &known);
  if (judged != CUDA_SUCCESS || known || !other_is_host) return judged;
  return is_device_range(client, at, bytes) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

}  // namespace

CUresult judge_shape(Client& client, const Shape& shape) {
  std::uint64_t bytes = 0;
  if (__builtin_mul_overflow(shape.width, shape.rows, &bytes) ||
      __builtin_mul_overflow(bytes, shape.slices, &bytes)) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  const bool from_host = shape.from.place == Place::kHost;
  const bool to_host = shape.to.place == Place::kHost;
  CUresult bad = judge_side(client, shape.from, shape, to_host);
  return bad != CUDA_SUCCESS ? bad : judge_side(client, shape.to, shape, from_host);
}

}  // namespace farcall::shim
