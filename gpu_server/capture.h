// refuse_in_capture: host memory has no place in a graph that is being captured here.
//
//   if (CUresult no = refuse_in_capture(call, stream); no != CUDA_SUCCESS) return call.status(no);
//
// A captured copy would keep the address of our staging, and every launch of the graph would read
// or write there whatever it holds by then. The client's memory is on another machine, so such a
// copy cannot be a node of a graph; it is refused as CUDA refuses what cannot be captured.
// Threads: one per call.
#pragma once
#include "gpu_server/call.h"

namespace farcall::server {

inline CUresult refuse_in_capture(const Call& call, CUstream stream) {
  CUstreamCaptureStatus status = CU_STREAM_CAPTURE_STATUS_NONE;
  if (call.driver.cuStreamIsCapturing == nullptr) return CUDA_SUCCESS;
  CUresult asked = call.driver.cuStreamIsCapturing(stream, &status);
  if (asked != CUDA_SUCCESS) return asked;
  return status == CU_STREAM_CAPTURE_STATUS_NONE ? CUDA_SUCCESS
                                                 : CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
}

}  // namespace farcall::server
