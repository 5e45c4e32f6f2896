// Streams: captures. A driver ties a capture to the thread that began it and, in its stricter
// modes, forbids calls to that thread or to all. Our threads are not the client's, so the driver is
// always asked for the relaxed mode; what the client's own mode forbids is for the client's side to
// say.
#include <cstring>

#include "gpu_server/rows.h"
#include "transport/api/hand_graph.h"
#include "transport/api/rows.h"

namespace farcall::server {
namespace {

namespace hand = api::hand;
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

struct CaptureAnswer {
  CUstreamCaptureStatus status = CU_STREAM_CAPTURE_STATUS_NONE;
  cuuint64_t id = 0;
  CUgraph graph = nullptr;
  const CUgraphNode* nodes = nullptr;
  const CUgraphEdgeData* edges = nullptr;
  std::size_t count = 0;
};

CUresult ask_driver(const Driver& driver, CUstream stream, CaptureAnswer* info) {
  if (driver.cuStreamGetCaptureInfo_v3 != nullptr) {
    return driver.cuStreamGetCaptureInfo_v3(stream, &info->status, &info->id, &info->graph,
                                            &info->nodes, &info->edges, &info->count);
  }
  if (driver.cuStreamGetCaptureInfo_v2 == nullptr) return CUDA_ERROR_NOT_SUPPORTED;
  return driver.cuStreamGetCaptureInfo_v2(stream, &info->status, &info->id, &info->graph,
                                          &info->nodes, &info->count);
}

Verdict capture_info(Call& call) {
  api::Load load{call.in, call.handles, call.scratch};
  auto stream = api::load_item<CUstream>(load);
  if (!call.in.done()) return Verdict::kMalformed;
  if (load.refused != CUDA_SUCCESS) return call.status(load.refused);
  CaptureAnswer info;
  CUresult asked = ask_driver(call.driver, stream, &info);
  if (info.status != CU_STREAM_CAPTURE_STATUS_ACTIVE) {
    info = {.status = info.status, .id = info.id};
  }
  if (asked == CUDA_SUCCESS && info.count > limits::kArrayItemsMax) asked = CUDA_ERROR_UNKNOWN;
  call.status(asked);
  if (asked != CUDA_SUCCESS) return Verdict::kAnswered;
  api::Answer answer(call.out, call.handles);
  const auto graph = reinterpret_cast<std::uint64_t>(answer.name(info.graph));
  const bool has_edges = info.edges != nullptr;
  call.out.put(hand::CaptureInfo{.id = info.id,
                                 .graph = graph,
                                 .status = static_cast<std::uint32_t>(info.status),
                                 .node_count = static_cast<std::uint32_t>(info.count),
                                 .has_edges = has_edges ? 1U : 0U,
                                 .zero = 0});
  for (std::size_t i = 0; i < info.count; ++i) api::answer_item(answer, info.nodes[i], graph);
  for (std::size_t i = 0; has_edges && i < info.count; ++i) call.out.put(info.edges[i]);
  if (!answer.full) return Verdict::kAnswered;
  call.out.rewind(0);
  return call.status(CUDA_ERROR_OUT_OF_MEMORY);
}

}  // namespace

std::span<const HandRow> hand_stream_rows() {
  static const HandRow rows[] = {
      {row::cuStreamBeginCapture_v2::info(), begin_capture},
      {row::cuStreamBeginCaptureToGraph::info(), begin_capture},
      {row::cuStreamGetCaptureInfo_v3::info(), capture_info},
  };
  return rows;
}

}  // namespace farcall::server
