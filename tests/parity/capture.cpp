// Stream capture: states, what invalidates it, its modes, forks and joins.
#include <string>
#include <thread>

#include "tests/parity/setup.h"

using namespace parity;

namespace {

std::string state(CUstream stream) {
  CUstreamCaptureStatus is{};
  const CUresult code = CU(cuStreamIsCapturing)(stream, &is);
  if (code != CUDA_SUCCESS) return name_of(code);
  return is == CU_STREAM_CAPTURE_STATUS_NONE     ? "none"
         : is == CU_STREAM_CAPTURE_STATUS_ACTIVE ? "active"
                                                 : "invalidated";
}

void begin(CUstream stream, CUstreamCaptureMode mode = CU_STREAM_CAPTURE_MODE_GLOBAL) {
  need(CU(cuStreamBeginCapture_v2)(stream, mode), "cuStreamBeginCapture");
}

// Ends the capture of a stream and says what came of it.
void end(CUstream stream) {
  CUgraph graph = bogus<CUgraph>();
  CALL(cuStreamEndCapture, stream, &graph);
  VALUE("graph", graph == nullptr ? "null" : graph == bogus<CUgraph>() ? "untouched" : "made");
  VALUE("state", state(stream));
}

}  // namespace

BODY(capture_states) {
  Primary primary;
  const CUstream stream = new_stream();
  CUgraph graph = nullptr;
  VALUE("state", state(stream));
  CALL(cuStreamEndCapture, stream, &graph);
  CALL(cuStreamIsCapturing, stream, nullptr);
  CALL(cuStreamBeginCapture_v2, stream, number<CUstreamCaptureMode>(9));
  CALL(cuStreamBeginCapture_v2, nullptr, CU_STREAM_CAPTURE_MODE_GLOBAL);
  CALL(cuStreamBeginCapture_v2, CU_STREAM_LEGACY, CU_STREAM_CAPTURE_MODE_RELAXED);
  CALL(cuStreamBeginCapture_v2, stream, CU_STREAM_CAPTURE_MODE_GLOBAL);
  VALUE("state", state(stream));
  CALL(cuStreamBeginCapture_v2, stream, CU_STREAM_CAPTURE_MODE_GLOBAL);
  VALUE("state", state(stream));
  CUstreamCaptureStatus is{};
  cuuint64_t id = 0;
  CALL(cuStreamGetCaptureInfo_v2, stream, &is, &id, nullptr, nullptr, nullptr);
  VALUE("an id", id != 0);
  CALL(cuStreamGetCaptureInfo_v2, stream, nullptr, &id, nullptr, nullptr, nullptr);
  CALL(cuStreamEndCapture, stream, nullptr);
  VALUE("state", state(stream));
  end(stream);
}

BODY(capture_forbidden_on_the_stream) {
  Primary primary;
  const CUstream stream = new_stream();
  const CUevent event = new_event();
  // "CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED: the operation is not permitted when the stream is
  // capturing"; "…_INVALIDATED: a previous error invalidated it".
  const auto wrong = CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
  begin(stream);
  EXPECT(wrong, "cuda.h, CUresult", cuStreamSynchronize, stream);
  VALUE("state", state(stream));
  end(stream);
  begin(stream);
  EXPECT(wrong, "cuda.h, CUresult", cuStreamQuery, stream);
  VALUE("state", state(stream));
  CALL(cuEventRecord, event, stream);
  end(stream);
  begin(stream);
  CALL(cuEventRecord, event, stream);
  CALL(cuEventQuery, event);
  VALUE("state", state(stream));
  end(stream);
  CALL(cuEventQuery, event);
  begin(stream);
  CALL(cuStreamDestroy_v2, stream);
}

BODY(capture_forbidden_meanwhile) {
  Primary primary;
  for (const auto mode : {CU_STREAM_CAPTURE_MODE_GLOBAL, CU_STREAM_CAPTURE_MODE_THREAD_LOCAL,
                          CU_STREAM_CAPTURE_MODE_RELAXED}) {
    about("mode " + std::to_string(mode));
    const CUstream stream = new_stream();
    CUdeviceptr p = 0;
    begin(stream, mode);
    CALL(cuMemAlloc_v2, &p, 64);
    VALUE("state", state(stream));
    end(stream);
    begin(stream, mode);
    CALL(cuCtxSynchronize);
    VALUE("state", state(stream));
    end(stream);
    begin(stream, mode);
    std::thread([&] {
      need(CU(cuCtxSetCurrent)(primary.context), "cuCtxSetCurrent");
      about("another thread");
      CALL(cuMemAlloc_v2, &p, 64);
    }).join();
    VALUE("state", state(stream));
    end(stream);
  }
}

BODY(capture_legacy) {
  Primary primary;
  const CUstream blocking = new_stream(CU_STREAM_DEFAULT);
  const CUdeviceptr p = allocate(64);
  begin(blocking, CU_STREAM_CAPTURE_MODE_RELAXED);
  // "CUDA_ERROR_STREAM_CAPTURE_IMPLICIT: a dependency would have been created by using the default
  // stream. Only includes cudaStreamLegacy".
  EXPECT(CUDA_ERROR_STREAM_CAPTURE_IMPLICIT, "cuda.h, CUresult", cuMemsetD8Async, p, 1, 16,
         nullptr);
  VALUE("state", state(blocking));
  end(blocking);
  const CUstream free_one = new_stream();
  begin(free_one, CU_STREAM_CAPTURE_MODE_RELAXED);
  CALL(cuMemsetD8Async, p, 1, 16, nullptr);
  VALUE("state", state(free_one));
  VALUE("the legacy stream", state(nullptr));
  end(free_one);
}

BODY(capture_forks) {
  Primary primary;
  const CUstream stream = new_stream();
  const CUstream other = new_stream();
  const CUevent fork = new_event();
  const CUevent join = new_event();
  const CUevent before = new_event();
  const CUdeviceptr p = allocate(64);
  about("joined");
  begin(stream);
  CALL(cuEventRecord, fork, stream);
  CALL(cuStreamWaitEvent, other, fork, 0);
  VALUE("state of the other", state(other));
  CALL(cuMemsetD8Async, p, 1, 16, other);
  CALL(cuEventRecord, join, other);
  CALL(cuStreamWaitEvent, stream, join, 0);
  end(stream);
  VALUE("state of the other", state(other));
  about("not joined");
  begin(stream);
  CALL(cuEventRecord, fork, stream);
  CALL(cuStreamWaitEvent, other, fork, 0);
  CALL(cuMemsetD8Async, p, 1, 16, other);
  end(stream);
  VALUE("state of the other", state(other));
  about("ended on the other stream");
  begin(stream);
  CALL(cuEventRecord, fork, stream);
  CALL(cuStreamWaitEvent, other, fork, 0);
  end(other);
  end(stream);
  about("an event of before");
  CALL(cuEventRecord, before, other);
  begin(stream);
  CALL(cuStreamWaitEvent, stream, before, 0);
  VALUE("state", state(stream));
  end(stream);
  about("two captures");
  begin(stream);
  begin(other);
  CALL(cuEventRecord, fork, stream);
  CALL(cuStreamWaitEvent, other, fork, 0);
  VALUE("states", state(stream) + " " + state(other));
  end(stream);
  end(other);
}

BODY(capture_threads) {
  Primary primary;
  const CUstream stream = new_stream();
  begin(stream);
  std::thread([&] {
    need(CU(cuCtxSetCurrent)(primary.context), "cuCtxSetCurrent");
    CUgraph graph = nullptr;
    // "this call must be from the same thread".
    EXPECT(CUDA_ERROR_STREAM_CAPTURE_WRONG_THREAD, "cuda.h, cuStreamEndCapture", cuStreamEndCapture,
           stream, &graph);
  }).join();
  VALUE("state", state(stream));
  end(stream);
  begin(stream, CU_STREAM_CAPTURE_MODE_RELAXED);
  std::thread([&] {
    need(CU(cuCtxSetCurrent)(primary.context), "cuCtxSetCurrent");
    end(stream);
  }).join();
  CUstreamCaptureMode mode = CU_STREAM_CAPTURE_MODE_RELAXED;
  CALL(cuThreadExchangeStreamCaptureMode, &mode);
  VALUE("before", mode);
  CALL(cuThreadExchangeStreamCaptureMode, &mode);
  VALUE("before", mode);
  mode = number<CUstreamCaptureMode>(9);
  CALL(cuThreadExchangeStreamCaptureMode, &mode);
  CALL(cuThreadExchangeStreamCaptureMode, nullptr);
}

BODY(capture_replayed) {
  Primary primary;
  Kernels kernels;
  const CUstream stream = new_stream();
  const CUdeviceptr p = allocate(64);
  need(CU(cuMemsetD32_v2)(p, 0, 16), "cuMemsetD32");
  begin(stream);
  VALUE("launch", name_of(fill(kernels.get("fill"), p, 8, 4, stream)));
  CALL(cuMemcpyDtoDAsync_v2, p + 16, p, 16, stream);
  CALL(cuMemsetD32Async, p, 9, 2, stream);
  CUgraph graph = nullptr;
  CALL(cuStreamEndCapture, stream, &graph);
  VALUE("nothing ran", text(read_back(p, 8)));
  size_t nodes = 0;
  CALL(cuGraphGetNodes, graph, nullptr, &nodes);
  VALUE("nodes", static_cast<long long>(nodes));
  CUgraphExec executable = nullptr;
  CALL(cuGraphInstantiateWithFlags, &executable, graph, 0);
  CALL(cuGraphDestroy, graph);
  for (int i = 0; i < 2; ++i) CALL(cuGraphLaunch, executable, stream);
  CALL(cuStreamSynchronize, stream);
  VALUE("memory", text(read_back(p, 8)));
  CALL(cuGraphUpload, executable, stream);
  CALL(cuGraphExecDestroy, executable);
  CALL(cuGraphLaunch, executable, stream);
}
