// Streams: captures. A driver ties a capture to the thread that began it and, in its stricter
// modes, forbids calls to that thread or to all. Our threads are not the client's, so the driver is
// always asked for the relaxed mode; what the client's own mode forbids is for the client's side to
// say.
#include <cstring>

#include "gpu_server/rows.h"
#include "transport/api/rows.h"

namespace farcall::server {
namespace {

namespace row = api::row;

// The mode is the last parameter of both rows, so it is the last thing in the body.
Verdict begin_capture(Call& call) {
  auto body = call.in.rest();
  CUstreamCaptureMode relaxed = CU_STREAM_CAPTURE_MODE_RELAXED;
  auto* copy = static_cast<std::byte*>(call.scratch.take(body.size()));
  if (copy == nullptr || body.size() < sizeof relaxed) return Verdict::kMalformed;
  std::memcpy(copy, body.data(), body.size());
  std::memcpy(copy + body.size() - sizeof relaxed, &relaxed, sizeof relaxed);
  call.in = wire::Reader({copy, body.size()});
  return api::find_row(call.head.id)->run(call) == api::Verdict::kAnswered ? Verdict::kAnswered
                                                                           : Verdict::kMalformed;
}

}  // namespace

std::span<const HandRow> hand_stream_rows() {
  static const HandRow rows[] = {
      {row::cuStreamBeginCapture_v2::info(), begin_capture},
      {row::cuStreamBeginCaptureToGraph::info(), begin_capture},
  };
  return rows;
}

}  // namespace farcall::server
