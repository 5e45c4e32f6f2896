// What captures forbid: to their own thread, to other threads, to the NULL stream.
#include <string>
#include <thread>

#include "tests/parity/setup.h"

using namespace parity;

namespace {

constexpr CUstreamCaptureMode kModes[] = {CU_STREAM_CAPTURE_MODE_GLOBAL,
                                          CU_STREAM_CAPTURE_MODE_THREAD_LOCAL,
                                          CU_STREAM_CAPTURE_MODE_RELAXED};

const char* name_of(CUstreamCaptureMode mode) {
  return mode == CU_STREAM_CAPTURE_MODE_GLOBAL         ? "global"
         : mode == CU_STREAM_CAPTURE_MODE_THREAD_LOCAL ? "thread-local"
                                                       : "relaxed";
}

void begin(CUstream stream, CUstreamCaptureMode mode) {
  need(CU(cuStreamBeginCapture_v2)(stream, mode), "cuStreamBeginCapture");
}

void end(CUstream stream) {
  CUgraph graph = bogus<CUgraph>();
  CALL(cuStreamEndCapture, stream, &graph);
  VALUE("graph", graph == nullptr ? "null" : graph == bogus<CUgraph>() ? "untouched" : "made");
}

// Each in a capture of its own.
template <class Call>
void during(CUstream stream, CUstreamCaptureMode mode, const Call& call) {
  begin(stream, mode);
  call();
  end(stream);
}

template <class Body>
void elsewhere(CUcontext context, const Body& body) {
  std::thread([&] {
    need(CU(cuCtxSetCurrent)(context), "cuCtxSetCurrent");
    body();
  }).join();
}

void set_mode(CUstreamCaptureMode mode) {
  need(CU(cuThreadExchangeStreamCaptureMode)(&mode), "cuThreadExchangeStreamCaptureMode");
}

// Everything that is known to be unsafe, and some that is not.
struct Things {
  CUstream captured = new_stream();
  CUstream other = new_stream();
  CUevent recorded = new_event();
  CUevent never = new_event();
  CUdeviceptr block = allocate(256);
  Things() {
    need(CU(cuEventRecord)(recorded, other), "cuEventRecord");
    need(CU(cuStreamSynchronize)(other), "cuStreamSynchronize");
  }
};

void allocations(const Things& t, CUstreamCaptureMode mode) {
  CUdeviceptr p = 0;
  size_t pitch = 0;
  void* host = nullptr;
  during(t.captured, mode, [&] { CALL(cuMemAlloc_v2, &p, 64); });
  during(t.captured, mode, [&] { CALL(cuMemAllocPitch_v2, &p, &pitch, 64, 2, 4); });
  during(t.captured, mode, [&] { CALL(cuMemFree_v2, 0); });
  during(t.captured, mode, [&] { CALL(cuMemAllocHost_v2, &host, 64); });
  CUDA_ARRAY_DESCRIPTOR shape{16, 16, CU_AD_FORMAT_FLOAT, 1};
  CUarray array = nullptr;
  during(t.captured, mode, [&] { CALL(cuArrayCreate_v2, &array, &shape); });
}

void looks(const Things& t, CUstreamCaptureMode mode) {
  during(t.captured, mode, [&] { CALL(cuEventQuery, t.recorded); });
  during(t.captured, mode, [&] { CALL(cuEventSynchronize, t.recorded); });
  during(t.captured, mode, [&] { CALL(cuEventQuery, t.never); });
  during(t.captured, mode, [&] { CALL(cuStreamQuery, t.other); });
  during(t.captured, mode, [&] { CALL(cuStreamSynchronize, t.other); });
}

void synchronous(const Things& t, CUstreamCaptureMode mode) {
  int word = 0;
  during(t.captured, mode, [&] { CALL(cuMemcpyHtoD_v2, t.block, &word, 4); });
  during(t.captured, mode, [&] { CALL(cuMemcpyDtoH_v2, &word, t.block, 4); });
  during(t.captured, mode, [&] { CALL(cuMemsetD8_v2, t.block, 1, 16); });
}

void harmless(const Things& t, CUstreamCaptureMode mode) {
  size_t free = 0;
  size_t total = 0;
  during(t.captured, mode, [&] {
    CALL(cuMemGetInfo_v2, &free, &total);
    CUevent event = nullptr;
    CALL(cuEventCreate, &event, 0);
    CALL(cuMemsetD8Async, t.block, 1, 16, t.other);
    CALL(cuEventRecord, event, t.other);
    CUcontext current = nullptr;
    CALL(cuCtxGetCurrent, &current);
  });
}

}  // namespace

BODY(capture_modes_own_thread) {
  Primary primary;
  Things t;
  for (const auto mode : kModes) {
    about(name_of(mode));
    allocations(t, mode);
    looks(t, mode);
    synchronous(t, mode);
    harmless(t, mode);
  }
}

BODY(capture_modes_other_thread) {
  Primary primary;
  Things t;
  for (const auto mode : kModes) {
    for (const auto others : kModes) {
      const std::string both = std::string(name_of(mode)) + ", thread " + name_of(others);
      begin(t.captured, mode);
      elsewhere(primary.context, [&] {
        set_mode(others);
        about(both);
        CUdeviceptr p = 0;
        CALL(cuMemAlloc_v2, &p, 64);
        CALL(cuEventQuery, t.recorded);
        CALL(cuStreamSynchronize, t.other);
      });
      about(both);
      end(t.captured);
    }
  }
}

BODY(capture_modes_exchanged) {
  Primary primary;
  Things t;
  CUdeviceptr p = 0;
  // "Callers are encouraged to use this API in a push-pop fashion".
  for (const auto mode : kModes) {
    about(name_of(mode));
    begin(t.captured, CU_STREAM_CAPTURE_MODE_GLOBAL);
    CUstreamCaptureMode was = mode;
    CALL(cuThreadExchangeStreamCaptureMode, &was);
    VALUE("was", name_of(was));
    CALL(cuMemAlloc_v2, &p, 64);
    CALL(cuThreadExchangeStreamCaptureMode, &was);
    VALUE("was", name_of(was));
    end(t.captured);
  }
  elsewhere(primary.context, [&] {
    CUstreamCaptureMode mode = CU_STREAM_CAPTURE_MODE_RELAXED;
    CALL(cuThreadExchangeStreamCaptureMode, &mode);
    VALUE("a new thread's", name_of(mode));
  });
}

BODY(capture_modes_two_captures) {
  Primary primary;
  Things t;
  CUdeviceptr p = 0;
  about("a relaxed one beside a global one");
  begin(t.captured, CU_STREAM_CAPTURE_MODE_RELAXED);
  begin(t.other, CU_STREAM_CAPTURE_MODE_GLOBAL);
  CALL(cuMemAlloc_v2, &p, 64);
  end(t.captured);
  end(t.other);
  about("ended by another thread");
  begin(t.captured, CU_STREAM_CAPTURE_MODE_THREAD_LOCAL);
  elsewhere(primary.context, [&] {
    about("another thread");
    end(t.captured);
  });
  about("the thread that began it");
  CALL(cuMemsetD8Async, t.block, 1, 16, t.captured);
  end(t.captured);
  about("each thread its own");
  begin(t.captured, CU_STREAM_CAPTURE_MODE_THREAD_LOCAL);
  elsewhere(primary.context, [&] {
    about("another thread");
    begin(t.other, CU_STREAM_CAPTURE_MODE_THREAD_LOCAL);
    CALL(cuMemsetD8Async, t.block, 1, 16, t.other);
    end(t.other);
    CALL(cuMemAlloc_v2, &p, 64);
  });
  about("the first thread");
  end(t.captured);
}

BODY(capture_null_stream) {
  Primary primary;
  Things t;
  Kernels kernels;
  const CUstream blocking = new_stream(CU_STREAM_DEFAULT);
  const CUfunction empty = kernels.get("empty");
  const CUevent event = new_event();
  CUstreamCaptureStatus is{};
  int word = 0;
  for (const CUstream captured : {blocking, t.captured}) {
    about(captured == blocking ? "beside a blocking stream"
                               : "beside a stream that does not block");
    const auto mode = CU_STREAM_CAPTURE_MODE_RELAXED;
    during(captured, mode,
           [&] { CALL(cuLaunchKernel, empty, 1, 1, 1, 1, 1, 1, 0, nullptr, nullptr, nullptr); });
    during(captured, mode, [&] { CALL(cuEventRecord, event, nullptr); });
    during(captured, mode, [&] { CALL(cuStreamWaitEvent, nullptr, t.recorded, 0); });
    during(captured, mode, [&] { CALL(cuStreamQuery, nullptr); });
    during(captured, mode, [&] { CALL(cuStreamSynchronize, CU_STREAM_LEGACY); });
    during(captured, mode, [&] { CALL(cuMemcpyHtoD_v2, t.block, &word, 4); });
    during(captured, mode, [&] { CALL(cuMemcpyDtoH_v2, &word, t.block, 4); });
    during(captured, mode, [&] { CALL(cuMemsetD32_v2, t.block, 1, 4); });
    during(captured, mode, [&] { CALL(cuMemcpyDtoDAsync_v2, t.block, t.block + 64, 4, nullptr); });
    during(captured, mode, [&] { CALL(cuMemsetD8Async, t.block, 1, 16, CU_STREAM_PER_THREAD); });
    during(captured, mode, [&] {
      CALL(cuStreamIsCapturing, nullptr, &is);
      CALL(cuStreamGetCaptureInfo_v2, nullptr, &is, nullptr, nullptr, nullptr, nullptr);
    });
    during(captured, mode, [&] { CALL(cuCtxSynchronize); });
  }
  about("in the capture's own mode");
  during(blocking, CU_STREAM_CAPTURE_MODE_GLOBAL,
         [&] { CALL(cuMemcpyHtoD_v2, t.block, &word, 4); });
}

BODY(capture_spoilt) {
  Primary primary;
  Things t;
  const CUevent fork = new_event();
  begin(t.captured, CU_STREAM_CAPTURE_MODE_GLOBAL);
  CALL(cuEventRecord, fork, t.captured);
  CALL(cuEventQuery, fork);
  CUstreamCaptureStatus is{};
  CALL(cuStreamIsCapturing, t.captured, &is);
  VALUE("spoilt", is == CU_STREAM_CAPTURE_STATUS_INVALIDATED);
  CUdeviceptr p = 0;
  CALL(cuMemAllocAsync, &p, 64, t.captured);
  VALUE("not given", p == 0);
  end(t.captured);
  CALL(cuStreamIsCapturing, t.captured, &is);
  VALUE("over", is == CU_STREAM_CAPTURE_STATUS_NONE);
  CALL(cuMemsetD8Async, t.block, 1, 16, t.captured);
  CALL(cuStreamSynchronize, t.captured);
}
