// Copies with a shape (2D, 3D, arrays): one message for all of them. Body: transport/api/hand.h.
#include <cstring>

#include "gpu_server/capture.h"
#include "gpu_server/load_id.h"
#include "gpu_server/rows.h"
#include "transport/api/hand.h"
#include "transport/api/rows.h"

namespace farcall::server {
namespace {

namespace hand = api::hand;
namespace row = api::row;
using hand::Place;

// Bytes of the whole, packed. False when 64 bits cannot hold them.
bool packed_bytes(const hand::CopyShape& shape, std::uint64_t* total) {
  return !__builtin_mul_overflow(shape.width_bytes, shape.height, total) &&
         !__builtin_mul_overflow(*total, shape.depth, total);
}

CUmemorytype memory_type(Place place) {
  return place == Place::kHost     ? CU_MEMORYTYPE_HOST
         : place == Place::kDevice ? CU_MEMORYTYPE_DEVICE
                                   : CU_MEMORYTYPE_ARRAY;
}

// A host side is packed: rows of width_bytes, planes of height rows, at the start of staging. The
// client's own address of it means nothing here and is not sent.
CUDA_MEMCPY3D describe(api::Load& load, const hand::CopyShape& shape, void* packed) {
  CUDA_MEMCPY3D copy{};
  copy.WidthInBytes = shape.width_bytes;
  copy.Height = shape.height;
  copy.Depth = shape.depth;
  copy.srcMemoryType = memory_type(shape.src_place);
  if (shape.src_place == Place::kHost) {
    copy.srcHost = packed;
    copy.srcPitch = shape.width_bytes;
    copy.srcHeight = shape.height;
  } else {
    if (shape.src_place == Place::kArray) copy.srcArray = load_id<CUarray>(load, shape.src.address);
    if (shape.src_place == Place::kDevice) copy.srcDevice = shape.src.address;
    copy.srcPitch = shape.src.pitch;
    copy.srcHeight = shape.src.height;
    copy.srcXInBytes = shape.src.x_bytes;
    copy.srcY = shape.src.y;
    copy.srcZ = shape.src.z;
    copy.srcLOD = shape.src.lod;
  }
  copy.dstMemoryType = memory_type(shape.dst_place);
  if (shape.dst_place == Place::kHost) {
    copy.dstHost = packed;
    copy.dstPitch = shape.width_bytes;
    copy.dstHeight = shape.height;
  } else {
    if (shape.dst_place == Place::kArray) copy.dstArray = load_id<CUarray>(load, shape.dst.address);
    if (shape.dst_place == Place::kDevice) copy.dstDevice = shape.dst.address;
    copy.dstPitch = shape.dst.pitch;
    copy.dstHeight = shape.dst.height;
    copy.dstXInBytes = shape.dst.x_bytes;
    copy.dstY = shape.dst.y;
    copy.dstZ = shape.dst.z;
    copy.dstLOD = shape.dst.lod;
  }
  return copy;
}

CUresult run(const Driver& driver, const CUDA_MEMCPY3D& copy, bool async, CUstream stream) {
  if (!async) {
    return driver.cuMemcpy3D_v2 ? driver.cuMemcpy3D_v2(&copy) : CUDA_ERROR_NOT_SUPPORTED;
  }
  if (driver.cuMemcpy3DAsync_v2 == nullptr) return CUDA_ERROR_NOT_SUPPORTED;
  CUresult done = driver.cuMemcpy3DAsync_v2(&copy, stream);
  if (done != CUDA_SUCCESS || copy.dstMemoryType != CU_MEMORYTYPE_HOST) return done;
  return driver.cuStreamSynchronize ? driver.cuStreamSynchronize(stream) : CUDA_ERROR_NOT_SUPPORTED;
}

Verdict answer_packed(Call& call, std::span<const std::byte> packed) {
  auto encode = [&](wire::Writer& out) {
    out.put(static_cast<std::uint32_t>(CUDA_SUCCESS));
    out.put(static_cast<std::uint64_t>(packed.size()));
  };
  if (packed.size() > limits::kInlineCopyBytesMax) {
    if (call.flush_printed) call.flush_printed();
    (void)call.link.post_bulk(call.reply_head(), encode, packed);
    return Verdict::kSent;
  }
  encode(call.out);
  call.out.bytes(packed.data(), packed.size());
  return Verdict::kAnswered;
}

Verdict copy_shape(Call& call) {
  auto shape = call.in.get<hand::CopyShape>();
  bool from_host = shape.src_place == Place::kHost;
  bool to_host = shape.dst_place == Place::kHost;
  bool on_bulk_lane = (call.head.flags & wire::kBulkFollows) != 0;
  std::span<const std::byte> here;
  if (!on_bulk_lane) here = call.in.bytes(shape.payload_bytes);
  if (!call.in.done()) return Verdict::kMalformed;
  if (shape.src_place > Place::kArray || shape.dst_place > Place::kArray) {
    return Verdict::kMalformed;
  }
  std::uint64_t total = 0;
  if (!packed_bytes(shape, &total)) return call.status(CUDA_ERROR_INVALID_VALUE);
  if (shape.payload_bytes != (from_host ? total : 0)) return Verdict::kMalformed;
  if (from_host && to_host) return call.status(CUDA_ERROR_INVALID_VALUE);
  if ((from_host || to_host) && total > call.staging.size()) {
    return call.status(CUDA_ERROR_INVALID_VALUE);
  }
  api::Load load{call.in, call.handles, call.scratch};
  auto stream = load_id<CUstream>(load, shape.stream);
  CUDA_MEMCPY3D copy = describe(load, shape, call.staging.data());
  if (shape.is_async != 0 && (from_host || to_host) && load.refused == CUDA_SUCCESS) {
    load.refuse(refuse_in_capture(call, stream));
  }
  if (load.refused != CUDA_SUCCESS) return call.status(load.refused);
  if (from_host && !here.empty()) {
    std::memcpy(call.staging.data(), here.data(), here.size());
  } else if (from_host && total > 0) {
    Status read = call.bulk.read(call.staging.first(static_cast<std::size_t>(total)));
    if (!read.ok()) return call.status(CUDA_ERROR_UNKNOWN);
  }
  CUresult done = run(call.driver, copy, shape.is_async != 0, stream);
  if (done != CUDA_SUCCESS || !to_host) return call.status(done);
  return answer_packed(call, call.staging.first(static_cast<std::size_t>(total)));
}

}  // namespace

std::span<const HandRow> hand_shape_rows() {
  static const HandRow rows[] = {{row::cuMemcpy3D_v2::info(), copy_shape, true}};
  return rows;
}

}  // namespace farcall::server
