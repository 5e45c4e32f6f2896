// Captures: which streams the program is capturing, in which mode and by which thread, and what
// that forbids. The server's driver knows none of it: its threads are not the program's, so it is
// always asked for the relaxed mode (gpu_server/hand_stream.cpp).
//
//   captures.begun({&client, stream, mode, true});
//   if (CUresult wrong = captures.judge_end(stream)) …;     // another thread began it
//   if (CUresult no = judge_in_capture(CaptureRule::kUnsafe, {}); no != CUDA_SUCCESS) return no;
//
// While a capture forbids them, calls that it cannot see (allocations, synchronous copies, looks at
// streams and events) fail with CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED, and spoil it: the server is
// made to find it spoilt, too, by a look at its stream, which every driver punishes so. What the
// driver judges by itself (the NULL stream beside a captured blocking one, waits for a captured
// stream or event) it is asked about first, because those answers come first. Which functions have
// which rule says capture_rules.def; where nothing is captured that costs a few loads.
// Owner: one for all clients of the process, as captures of all servers forbid alike.  Threads:
// any. Its lock is a leaf; no call is made under it. Source: CUDA Driver API 13.0,
// cuThreadExchangeStreamCaptureMode, cuStreamEndCapture; CUDA Programming Guide 13.0, Prohibited
// and Unhandled Operations.
#pragma once
#include <atomic>
#include <cstdint>
#include <vector>

#include "transport/base/guarded.h"
#include "transport/cuda/cuda_abi.h"

namespace farcall::shim {

class Client;

class Captures {
 public:
  struct Capture {
    Client* client = nullptr;
    CUstream stream = nullptr;
    CUstreamCaptureMode mode = CU_STREAM_CAPTURE_MODE_GLOBAL;
    bool owns_graph = true;    // its graph was made for it
    std::uint64_t thread = 0;  // that began it
    bool is_spoilt = false;    // by a call that it forbade
  };

  bool any() const { return count_.load(std::memory_order_acquire) != 0; }
  // By the calling thread.
  void begun(Capture capture);
  // CUDA_ERROR_STREAM_CAPTURE_WRONG_THREAD, or success.
  CUresult judge_end(CUstream stream);
  // It is over. Returns what was known of it; a capture without a client when nothing was.
  Capture ended(CUstream stream);
  // Those that forbid unsafe calls to the calling thread.
  std::vector<Capture> against_this_thread();
  void spoil(const Capture& capture);
  // All of a client's, for a look at which still are.
  std::vector<Capture> of_client(const Client& client);

  // cuThreadExchangeStreamCaptureMode.
  static CUstreamCaptureMode exchange_mode(CUstreamCaptureMode mode);
  static bool is_mode(CUstreamCaptureMode mode) {
    return mode >= CU_STREAM_CAPTURE_MODE_GLOBAL && mode <= CU_STREAM_CAPTURE_MODE_RELAXED;
  }

 private:
  using All = std::vector<Capture>;
  // All threads call their own stream CU_STREAM_PER_THREAD.
  static All::iterator find(All& all, CUstream stream);

  std::atomic<std::size_t> count_{0};
  Guarded<All> all_;
};

// What a capture under way means for a function.
enum class CaptureRule : std::uint8_t {
  kNone,
  kStreamed,     // it works in a stream: forbidden for the NULL stream beside a captured one
  kUnsafe,       // no capture would see it
  kSynchronous,  // both: it works in the NULL stream and waits for it
  kLook,         // a look at, or a wait for, a stream or an event
};

// What a call names.
struct CaptureSubject {
  bool has_stream = false;
  CUstream stream = nullptr;
  CUevent event = nullptr;
  bool is_legacy() const { return has_stream && (stream == nullptr || stream == CU_STREAM_LEGACY); }
};

// Errors: CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED, _IMPLICIT and what else the driver says of a
// captured stream or event; and what a round trip may bring to light.
CUresult judge_in_capture(CaptureRule rule, CaptureSubject subject);

// cuStreamEndCapture. Errors: CUDA_ERROR_STREAM_CAPTURE_WRONG_THREAD; CUDA_ERROR_STREAM_CAPTURE_
// INVALIDATED for one that was spoilt here; the driver's.
CUresult end_capture(Client& client, CUstream stream, CUgraph* graph);

// A context of the client's has ended, and captures in it.
void recheck_captures(Client& client);

}  // namespace farcall::shim
