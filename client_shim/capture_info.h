// What the server's driver says of a stream that may be being captured.
//
//   CaptureInfo info;
//   if (CUresult failed = capture_info(client, stream, &info); failed != CUDA_SUCCESS) …
//   if (info.is_active()) …info.graph, info.nodes…
//
// One round trip. Threads: any.
#pragma once
#include <cstdint>
#include <vector>

#include "client_shim/client.h"

namespace farcall::shim {

struct CaptureInfo {
  CUstreamCaptureStatus status = CU_STREAM_CAPTURE_STATUS_NONE;
  std::uint64_t id = 0;
  CUgraph graph = nullptr;
  std::vector<CUgraphNode> nodes;      // that the stream's next node will follow
  std::vector<CUgraphEdgeData> edges;  // of nodes; empty: no edge has any
  bool is_active() const { return status == CU_STREAM_CAPTURE_STATUS_ACTIVE; }
};

CUresult capture_info(Client& client, CUstream stream, CaptureInfo* info);

}  // namespace farcall::shim
