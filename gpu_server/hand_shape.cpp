// Copies with a shape (2D, 3D, arrays): one message for all of them. Body: transport/api/hand.h.
#include <algorithm>
#include <cstring>

#include "gpu_server/capture.h"
#include "gpu_server/load_id.h"
#include "gpu_server/rows.h"
#include "transport/api/hand.h"
#include "transport/api/rows.h"
#include "transport/base/switches.h"

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

// A box of the whole: what one driver call moves when a host side passes through staging.
struct Box {
  std::uint64_t x = 0, y = 0, z = 0;
  std::uint64_t width = 0, rows = 0, slices = 0;
  std::uint64_t bytes() const { return width * rows * slices; }
};

// Cuts a shape into boxes of at most `bytes_max`, in the order in which packed bytes lie: the
// whole, else rows, else parts of a row.
class Boxes {
 public:
  Boxes(const hand::CopyShape& shape, std::uint64_t bytes_max) : shape_(shape), max_(bytes_max) {}
  Box next() {
    Box box{x_, y_, z_, shape_.width_bytes, shape_.height, shape_.depth};
    if (box.bytes() <= max_) return z_ = shape_.depth, box;
    box.slices = 1;
    box.width = std::min(max_, shape_.width_bytes - x_);
    box.rows = std::min(std::max<std::uint64_t>(1, max_ / shape_.width_bytes), shape_.height - y_);
    x_ += box.width;
    if (x_ < shape_.width_bytes) return box;
    x_ = 0;
    y_ += box.rows;
    if (y_ < shape_.height) return box;
    y_ = 0;
    ++z_;
    return box;
  }

 private:
  const hand::CopyShape& shape_;
  const std::uint64_t max_;
  std::uint64_t x_ = 0, y_ = 0, z_ = 0;
};

// CUDA_MEMCPY3D names every field of its two ends apart; this is one of them.
struct End {
  CUmemorytype& type;
  CUarray& array;
  CUdeviceptr& device;
  std::size_t &pitch, &height, &lod;
  std::size_t &x, &y, &z;
};
End source_of(CUDA_MEMCPY3D& c) {
  return {c.srcMemoryType, c.srcArray,    c.srcDevice, c.srcPitch, c.srcHeight,
          c.srcLOD,        c.srcXInBytes, c.srcY,      c.srcZ};
}
End target_of(CUDA_MEMCPY3D& c) {
  return {c.dstMemoryType, c.dstArray,    c.dstDevice, c.dstPitch, c.dstHeight,
          c.dstLOD,        c.dstXInBytes, c.dstY,      c.dstZ};
}

void describe(api::Load& load, Place place, const hand::ShapeEnd& side, const End& end) {
  end.type = memory_type(place);
  if (place == Place::kHost) return;
  if (place == Place::kArray) end.array = load_id<CUarray>(load, side.address);
  if (place == Place::kDevice) end.device = side.address;
  end.pitch = side.pitch;
  end.height = side.height;
  end.lod = side.lod;
}

// A host side is packed, at the start of staging. The client's own address of it means nothing here
// and is not sent.
CUDA_MEMCPY3D describe(api::Load& load, const hand::CopyShape& shape) {
  CUDA_MEMCPY3D copy{};
  describe(load, shape.src_place, shape.src, source_of(copy));
  describe(load, shape.dst_place, shape.dst, target_of(copy));
  return copy;
}

void aim(Place place, const hand::ShapeEnd& side, const Box& box, const End& end) {
  if (place == Place::kHost) {
    end.pitch = box.width;
    end.height = box.rows;
  } else {
    end.x = side.x_bytes + box.x;
    end.y = side.y + box.y;
    end.z = side.z + box.z;
  }
}

// Turns `copy` to one box of the shape.
void aim(CUDA_MEMCPY3D& copy, const hand::CopyShape& shape, const Box& box, void* packed) {
  copy.WidthInBytes = box.width;
  copy.Height = box.rows;
  copy.Depth = box.slices;
  aim(shape.src_place, shape.src, box, source_of(copy));
  aim(shape.dst_place, shape.dst, box, target_of(copy));
  if (shape.src_place == Place::kHost) copy.srcHost = packed;
  if (shape.dst_place == Place::kHost) copy.dstHost = packed;
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

// A copy with a host side while it is carried out.
struct Job {
  Call& call;
  const hand::CopyShape& shape;
  CUDA_MEMCPY3D copy;
  CUstream stream;
  std::uint64_t total;

  CUresult move(const Box& box) {
    aim(copy, shape, box, call.staging.data());
    return run(call.driver, copy, shape.is_async != 0, stream);
  }
};

Verdict copy_rows_in(Job& job, std::span<const std::byte> here) {
  Call& call = job.call;
  Boxes boxes(job.shape, call.staging.size());
  for (std::uint64_t done = 0; done < job.total;) {
    Box box = boxes.next();
    auto room = call.staging.first(static_cast<std::size_t>(box.bytes()));
    if (!here.empty()) {
      std::memcpy(room.data(), here.data(), room.size());
    } else if (!call.bulk.read(room).ok()) {
      return call.status(CUDA_ERROR_UNKNOWN);
    }
    if (CUresult moved = job.move(box); moved != CUDA_SUCCESS) return call.status(moved);
    done += room.size();
  }
  return call.status(CUDA_SUCCESS);
}

// The first box comes before the announcement: by then the stream has been waited for, and nearly
// every error has shown itself.
Verdict copy_rows_out(Job& job) {
  Call& call = job.call;
  Boxes boxes(job.shape, call.staging.size());
  Box box = boxes.next();
  if (CUresult moved = job.move(box); moved != CUDA_SUCCESS) return call.status(moved);
  std::span<const std::byte> ready = call.staging.first(static_cast<std::size_t>(box.bytes()));
  auto encode = [&](wire::Writer& out) {
    out.put(static_cast<std::uint32_t>(CUDA_SUCCESS));
    out.put(job.total);
  };
  if (is_on(Switch::kInlineCopy) && job.total <= limits::kInlineCopyBytesMax) {
    encode(call.out);
    call.out.bytes(ready.data(), ready.size());
    return Verdict::kAnswered;
  }
  auto fill = [&](std::span<std::byte> room) -> Status {
    while (!room.empty()) {
      if (ready.empty()) {
        box = boxes.next();
        CUresult moved = job.move(box);
        if (moved != CUDA_SUCCESS) return Status::driver("copy rows from the device", moved);
        ready = call.staging.first(static_cast<std::size_t>(box.bytes()));
      }
      std::size_t bytes = std::min(room.size(), ready.size());
      std::memcpy(room.data(), ready.data(), bytes);
      room = room.subspan(bytes);
      ready = ready.subspan(bytes);
    }
    return ok();
  };
  call.before_answer(job.total);
  // A driver error in the middle reaches the client with the payload; a broken link shows at the
  // next receive.
  (void)call.link.post_bulk_from(call.reply_head(), encode, job.total, fill);
  return Verdict::kSent;
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
  api::Load load{call.in, call.handles, call.scratch};
  auto stream = load_id<CUstream>(load, shape.stream);
  Job job{call, shape, describe(load, shape), stream, total};
  if (shape.is_async != 0 && (from_host || to_host) && load.refused == CUDA_SUCCESS) {
    load.refuse(refuse_in_capture(call, stream));
  }
  if (load.refused != CUDA_SUCCESS) return call.status(load.refused);
  if (total == 0) return call.status(CUDA_ERROR_INVALID_VALUE);
  if (from_host) return copy_rows_in(job, here);
  if (to_host) return copy_rows_out(job);
  return call.status(job.move({0, 0, 0, shape.width_bytes, shape.height, shape.depth}));
}

}  // namespace

std::span<const HandRow> hand_shape_rows() {
  static const HandRow rows[] = {{row::cuMemcpy3D_v2::info(), copy_shape, true}};
  return rows;
}

}  // namespace farcall::server
