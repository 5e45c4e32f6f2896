// Copies between the client's memory and a device: cuMemcpyHtoD, cuMemcpyDtoH and their async
// forms. Bodies: transport/api/hand.h.
#include <algorithm>
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

// One piece to the device. The bytes may be reused when this returns: the driver copies from
// pageable memory before it returns, also in the async form.
CUresult piece_in(Call& call, bool async, CUdeviceptr to, std::span<const std::byte> from,
                  CUstream stream) {
  const Driver& driver = call.driver;
  if (async) {
    if (driver.cuMemcpyHtoDAsync_v2 == nullptr) return CUDA_ERROR_NOT_SUPPORTED;
    return driver.cuMemcpyHtoDAsync_v2(to, from.data(), from.size(), stream);
  }
  if (driver.cuMemcpyHtoD_v2 == nullptr) return CUDA_ERROR_NOT_SUPPORTED;
  return driver.cuMemcpyHtoD_v2(to, from.data(), from.size());
}

Verdict copy_in(Call& call, bool async) {
  auto copy = call.in.get<hand::CopyToDevice>();
  api::Load load{call.in, call.handles, call.scratch};
  auto stream = load_id<CUstream>(load, copy.stream);
  bool on_bulk_lane = (call.head.flags & wire::kBulkFollows) != 0;
  std::span<const std::byte> here;
  if (!on_bulk_lane) here = call.in.bytes(copy.payload_bytes);
  if (!call.in.done()) return Verdict::kMalformed;
  if (async && load.refused == CUDA_SUCCESS) load.refuse(refuse_in_capture(call, stream));
  if (load.refused != CUDA_SUCCESS) return call.status(load.refused);
  if (!on_bulk_lane) return call.status(piece_in(call, async, copy.dst, here, stream));
  for (CUdeviceptr to = copy.dst; call.bulk.left() > 0;) {
    auto room = call.staging.first(
        static_cast<std::size_t>(std::min<std::uint64_t>(call.bulk.left(), call.staging.size())));
    Status read = call.bulk.read(room);
    // The client called the payload off, or the link is gone: then nobody reads this answer.
    if (!read.ok()) return call.status(CUDA_ERROR_UNKNOWN);
    CUresult done = piece_in(call, async, to, room, stream);
    if (done != CUDA_SUCCESS) return call.status(done);
    to += room.size();
  }
  return call.status(CUDA_SUCCESS);
}

// One piece from the device, complete when this returns.
CUresult piece_out(Call& call, bool async, std::span<std::byte> to, CUdeviceptr from,
                   CUstream stream) {
  const Driver& driver = call.driver;
  if (!async) {
    if (driver.cuMemcpyDtoH_v2 == nullptr) return CUDA_ERROR_NOT_SUPPORTED;
    return driver.cuMemcpyDtoH_v2(to.data(), from, to.size());
  }
  if (!driver.cuMemcpyDtoHAsync_v2 || !driver.cuStreamSynchronize) return CUDA_ERROR_NOT_SUPPORTED;
  CUresult copied = driver.cuMemcpyDtoHAsync_v2(to.data(), from, to.size(), stream);
  return copied != CUDA_SUCCESS ? copied : driver.cuStreamSynchronize(stream);
}

Verdict copy_out(Call& call, bool async) {
  auto [from, bytes, stream_id] = call.in.get<hand::CopyFromDevice>();
  api::Load load{call.in, call.handles, call.scratch};
  auto stream = load_id<CUstream>(load, stream_id);
  if (!call.in.done()) return Verdict::kMalformed;
  if (async && load.refused == CUDA_SUCCESS) load.refuse(refuse_in_capture(call, stream));
  if (load.refused != CUDA_SUCCESS) return call.status(load.refused);
  // The first piece comes before the announcement: by then the stream has been waited for, so no
  // other thread's payload waits behind this one, and nearly every error has shown itself.
  auto first = call.staging.first(
      static_cast<std::size_t>(std::min<std::uint64_t>(bytes, call.staging.size())));
  if (CUresult done = piece_out(call, async, first, from, stream); done != CUDA_SUCCESS) {
    return call.status(done);
  }
  auto encode = [bytes = bytes](wire::Writer& out) {
    out.put(static_cast<std::uint32_t>(CUDA_SUCCESS));
    out.put(bytes);
  };
  if (bytes <= limits::kInlineCopyBytesMax) {
    encode(call.out);
    call.out.bytes(first.data(), first.size());
    return Verdict::kAnswered;
  }
  std::uint64_t at = 0;
  auto fill = [&, from = from](std::span<std::byte> room) -> Status {
    std::size_t ready = at < first.size() ? std::min(room.size(), first.size() - at) : 0;
    if (ready > 0) std::memcpy(room.data(), first.data() + at, ready);
    if (ready < room.size()) {
      CUresult done = piece_out(call, async, room.subspan(ready), from + at + ready, stream);
      if (done != CUDA_SUCCESS) return Status::driver("copy from the device", done);
    }
    at += room.size();
    return ok();
  };
  if (call.flush_printed) call.flush_printed();
  // A driver error in the middle reaches the client with the payload; a broken link shows at the
  // next receive.
  (void)call.link.post_bulk_from(call.reply_head(), encode, bytes, fill);
  return Verdict::kSent;
}

constexpr auto copy_in_now = [](Call& call) { return copy_in(call, false); };
constexpr auto copy_in_later = [](Call& call) { return copy_in(call, true); };
constexpr auto copy_out_now = [](Call& call) { return copy_out(call, false); };
constexpr auto copy_out_later = [](Call& call) { return copy_out(call, true); };

}  // namespace

std::span<const HandRow> hand_memory_rows() {
  static const HandRow rows[] = {
      // Behind everything in the default stream, so it waits like a synchronize.
      {waiting(row::cuMemcpyHtoD_v2::info()), copy_in_now, true},
      {row::cuMemcpyHtoDAsync_v2::info(), copy_in_later, true},
      {row::cuMemcpyDtoH_v2::info(), copy_out_now},
      {row::cuMemcpyDtoHAsync_v2::info(), copy_out_later},
  };
  return rows;
}

}  // namespace farcall::server
