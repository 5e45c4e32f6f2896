// Captures: the captures under way in the process, and what they forbid.
//
//   if (CUresult no = forbid_unsafe()) return no;         // cuMemAlloc: no stream would see it
//   if (CUresult no = forbid_legacy(*stream)) return no;  // work for the NULL stream
//   if (CUresult no = forbid_waiting(context)) return no; // cuCtxSynchronize
//
// A call that is forbidden spoils the captures it conflicts with: ending them fails too.
//   unsafe    does at once what a capture cannot see: allocations, synchronous copies, looks at
//             streams and events. Forbidden to a thread with a capture of its own that is not
//             relaxed and, in the thread's mode GLOBAL, while any other thread has a global one.
//             The thread's mode is cuThreadExchangeStreamCaptureMode's; RELAXED forbids nothing
//   legacy    work of the NULL stream follows all blocking streams; forbidden while one is captured
//   waiting   for a whole context; forbidden while one of its streams is captured, in every mode
// Which calls are unsafe cuda.h does not list. These are the ones that are known to be: none is
// here that NVIDIA's driver might allow.
// Owner: the driver state.  Threads: any. Its lock is taken before those of captures.
// Source: CUDA Driver API 13.0, cuThreadExchangeStreamCaptureMode, cuCtxRecordEvent; CUDA
// Programming Guide 13.0, Prohibited and Unhandled Operations.
#pragma once
#include <atomic>
#include <memory>
#include <vector>

#include "gpu_server/software_gpu/capture.h"
#include "transport/base/guarded.h"

namespace farcall::softgpu {

class Captures {
 public:
  // For a look that costs next to nothing where nothing is captured.
  bool any() const { return count_.load(std::memory_order_acquire) != 0; }
  void begun(std::shared_ptr<Capture> capture);
  void ended(const Capture& capture);
  // Those that forbid unsafe calls to the calling thread.
  std::vector<std::shared_ptr<Capture>> against_this_thread();
  // What those of `context` are to be told of; blocking: with a blocking stream only.
  std::vector<std::shared_ptr<Capture>> of_context(Context& context, bool blocking);

 private:
  std::atomic<std::size_t> count_{0};
  Guarded<std::vector<std::shared_ptr<Capture>>> all_;
};

// CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED, or success.
CUresult forbid_unsafe();
// CUDA_ERROR_STREAM_CAPTURE_IMPLICIT, or success. Only looks: spoils nothing.
CUresult judge_legacy(Stream& stream);
// The same, for a call that would use the stream.
CUresult forbid_legacy(Stream& stream);
// For a synchronous operation on `stream`.
CUresult forbid_synchronous(Stream& stream);
// CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED, or success. spoils: cuCtxRecordEvent does not.
CUresult forbid_waiting(Context& context, bool spoils = true);

}  // namespace farcall::softgpu
