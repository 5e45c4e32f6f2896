// Copies between the client's memory and a device: cuMemcpyHtoD, cuMemcpyDtoH and their async
// forms. Bodies: transport/api/hand.h.
#include <algorithm>
#include <cstring>

#include "gpu_server/capture.h"
#include "gpu_server/direct_hold.h"
#include "gpu_server/load_id.h"
#include "gpu_server/rows.h"
#include "transport/api/hand.h"
#include "transport/api/rows.h"
#include "transport/base/switches.h"

namespace farcall::server {
namespace {

namespace hand = api::hand;
namespace row = api::row;

// What the driver copies where the rest is reached in place: that waits for the stream's turn, and
// tells what is wrong.
constexpr std::size_t kProbeBytes = 64;

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

bool overlaps(const Call& call) { return is_on(Switch::kPipeline) && call.late_copies.overlaps(); }

// A piece of the payload into staging of the driver's liking, where the copy may still be under way
// when the next piece is opened. False: there is no such staging now, and nothing has been done.
bool open_piece(Call& call, CUdeviceptr to, std::size_t bytes, CUstream stream, CUresult* done) {
  LateCopies::Loan loan;
  if (!overlaps(call) || call.driver.cuMemcpyHtoDAsync_v2 == nullptr ||
      !call.late_copies.lend(bytes, &loan)) {
    return false;
  }
  *done = call.bulk.read(loan.bytes()).ok() ? CUDA_SUCCESS : CUDA_ERROR_UNKNOWN;
  if (*done == CUDA_SUCCESS) {
    *done = call.driver.cuMemcpyHtoDAsync_v2(to, loan.bytes().data(), bytes, stream);
  }
  if (*done == CUDA_SUCCESS) *done = call.late_copies.mark(loan, stream);
  if (*done != CUDA_SUCCESS) {
    // Nobody knows what is under way: wait for all of it.
    if (call.driver.cuStreamSynchronize) (void)call.driver.cuStreamSynchronize(stream);
    call.late_copies.take_back(loan);
    return true;
  }
  call.late_copies.take_back_later(std::move(loan));
  return true;
}

// Whether nothing is before a copy in its stream. Where something is, the payload is better left to
// the stream than waited for.
bool is_next(const Call& call, bool async, CUstream stream) {
  if (!async) return true;  // waits in any case
  return call.driver.cuStreamQuery != nullptr && call.driver.cuStreamQuery(stream) == CUDA_SUCCESS;
}

CUresult await_turn(Call& call, bool async, CUdeviceptr at, std::size_t bytes, CUstream stream) {
  return piece_out(call, async, call.staging.first(std::min(bytes, kProbeBytes)), at, stream);
}

// Piece by piece through staging, until the rest can be opened where it belongs.
CUresult open_pieces(Call& call, bool async, CUdeviceptr to, CUstream stream) {
  DirectHold memory(call.driver, to, static_cast<std::size_t>(call.bulk.left()));
  bool under_way = false;
  for (std::size_t at = 0; call.bulk.left() > 0;) {
    if (memory.is_held() && is_next(call, async, stream)) {
      std::span<std::byte> rest = memory.bytes().subspan(at);
      CUresult turn = await_turn(call, async, to + at, rest.size(), stream);
      if (turn != CUDA_SUCCESS) return turn;
      return call.bulk.read(rest).ok() ? CUDA_SUCCESS : CUDA_ERROR_UNKNOWN;
    }
    auto room = call.staging.first(
        static_cast<std::size_t>(std::min<std::uint64_t>(call.bulk.left(), call.staging.size())));
    CUresult done = CUDA_SUCCESS;
    if (open_piece(call, to + at, room.size(), stream, &done)) {
      under_way = true;
    } else if (!call.bulk.read(room).ok()) {
      // The client called the payload off, or the link is gone: then nobody reads this answer.
      return CUDA_ERROR_UNKNOWN;
    } else {
      done = piece_in(call, async, to + at, room, stream);
    }
    if (done != CUDA_SUCCESS) return done;
    at += room.size();
  }
  if (async || !under_way || call.driver.cuStreamSynchronize == nullptr) return CUDA_SUCCESS;
  return call.driver.cuStreamSynchronize(stream);
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
  return call.status(open_pieces(call, async, copy.dst, stream));
}

// Nobody waits: the bytes go to the client's page-locked memory when the stream has got there.
Verdict copy_out_late(Call& call, const hand::CopyFromDevice& copy, CUstream stream,
                      CUresult refused) {
  bool waits = (call.head.flags & wire::kWantsReply) != 0;
  if (waits || copy.bytes == 0 || copy.bytes > limits::kLateCopyBytesMax ||
      call.late_copies.is_full()) {
    return Verdict::kMalformed;
  }
  if (refused != CUDA_SUCCESS) {
    call.late_copies.call_off(copy.landing, refused);
    return call.status(refused);
  }
  auto bytes = static_cast<std::size_t>(copy.bytes);
  return call.status(call.late_copies.start({copy.landing, copy.src, bytes, stream}));
}

// What follows the first piece of a copy to the host: two pieces of staging take turns, so that the
// driver fills one while the other is sealed and sent.
class PiecesOut {
 public:
  PiecesOut(Call& call, CUdeviceptr from, std::uint64_t bytes, CUstream stream)
      : call_(call), from_(from), left_(bytes), stream_(stream) {}
  ~PiecesOut() {
    for (Slot& slot : slots_) {
      if (!slot.lent) continue;
      (void)call_.late_copies.wait(slot.loan);
      call_.late_copies.take_back(slot.loan);
    }
  }
  PiecesOut(const PiecesOut&) = delete;
  PiecesOut& operator=(const PiecesOut&) = delete;

  // Borrows staging and starts. False when there is none: copy piece by piece then.
  bool begin() {
    if (!overlaps(call_) || call_.driver.cuMemcpyDtoHAsync_v2 == nullptr) return false;
    for (Slot& slot : slots_) {
      slot.lent = call_.late_copies.lend(limits::kCopyChunkBytes, &slot.loan);
      if (!slot.lent) return false;
    }
    for (Slot& slot : slots_) fetch(slot);
    return true;
  }
  CUresult take(std::span<std::byte> room) {
    while (!room.empty()) {
      Slot& slot = slots_[turn_];
      if (slot.failed != CUDA_SUCCESS) return slot.failed;
      if (slot.taken == 0) {
        CUresult waited = call_.late_copies.wait(slot.loan);
        if (waited != CUDA_SUCCESS) return waited;
      }
      std::size_t bytes = std::min(room.size(), slot.bytes - slot.taken);
      if (bytes == 0) return CUDA_ERROR_UNKNOWN;  // more than was asked for
      std::memcpy(room.data(), slot.loan.bytes().data() + slot.taken, bytes);
      room = room.subspan(bytes);
      slot.taken += bytes;
      if (slot.taken < slot.bytes) continue;
      fetch(slot);
      turn_ = 1 - turn_;
    }
    return CUDA_SUCCESS;
  }

 private:
  struct Slot {
    LateCopies::Loan loan;
    bool lent = false;
    std::size_t bytes = 0;  // under way or here
    std::size_t taken = 0;
    CUresult failed = CUDA_SUCCESS;
  };
  void fetch(Slot& slot) {
    slot.bytes = static_cast<std::size_t>(std::min<std::uint64_t>(left_, limits::kCopyChunkBytes));
    slot.taken = 0;
    if (slot.bytes == 0) return;
    slot.failed =
        call_.driver.cuMemcpyDtoHAsync_v2(slot.loan.bytes().data(), from_, slot.bytes, stream_);
    CUresult marked = call_.late_copies.mark(slot.loan, stream_);
    if (slot.failed == CUDA_SUCCESS) slot.failed = marked;
    from_ += slot.bytes;
    left_ -= slot.bytes;
  }

  Call& call_;
  CUdeviceptr from_;
  std::uint64_t left_;
  CUstream stream_;
  Slot slots_[2];
  int turn_ = 0;
};

Verdict copy_out(Call& call, bool async) {
  auto copy = call.in.get<hand::CopyFromDevice>();
  auto [from, bytes, stream_id, landing] = copy;
  api::Load load{call.in, call.handles, call.scratch};
  auto stream = load_id<CUstream>(load, stream_id);
  if (!call.in.done() || (landing != 0 && !async)) return Verdict::kMalformed;
  if (async && load.refused == CUDA_SUCCESS) load.refuse(refuse_in_capture(call, stream));
  if (landing != 0) return copy_out_late(call, copy, stream, load.refused);
  if (load.refused != CUDA_SUCCESS) return call.status(load.refused);
  // The first piece comes before the announcement: by then the stream has been waited for, so no
  // other thread's payload waits behind this one, and nearly every error has shown itself.
  bool is_inline =
      bytes == 0 || (is_on(Switch::kInlineCopy) && bytes <= limits::kInlineCopyBytesMax);
  DirectHold memory(call.driver, from, is_inline ? 0 : static_cast<std::size_t>(bytes));
  const std::size_t first_bytes = memory.is_held() ? kProbeBytes : call.staging.size();
  auto first =
      call.staging.first(static_cast<std::size_t>(std::min<std::uint64_t>(bytes, first_bytes)));
  if (CUresult done = piece_out(call, async, first, from, stream); done != CUDA_SUCCESS) {
    return call.status(done);
  }
  auto encode = [bytes = bytes](wire::Writer& out) {
    out.put(static_cast<std::uint32_t>(CUDA_SUCCESS));
    out.put(bytes);
  };
  if (is_inline) {
    encode(call.out);
    call.out.bytes(first.data(), first.size());
    return Verdict::kAnswered;
  }
  if (memory.is_held()) {
    call.before_answer(bytes);
    (void)call.link.post_bulk(call.reply_head(), encode, memory.bytes());
    return Verdict::kSent;
  }
  PiecesOut pieces(call, from + first.size(), bytes - first.size(), stream);
  const bool pipelined = bytes > first.size() && pieces.begin();
  std::uint64_t at = 0;
  auto fill = [&, from = from](std::span<std::byte> room) -> Status {
    std::size_t ready = at < first.size() ? std::min(room.size(), first.size() - at) : 0;
    if (ready > 0) std::memcpy(room.data(), first.data() + at, ready);
    if (ready < room.size()) {
      auto rest = room.subspan(ready);
      CUresult done =
          pipelined ? pieces.take(rest) : piece_out(call, async, rest, from + at + ready, stream);
      if (done != CUDA_SUCCESS) return Status::driver("copy from the device", done);
    }
    at += room.size();
    return ok();
  };
  call.before_answer(bytes);
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
