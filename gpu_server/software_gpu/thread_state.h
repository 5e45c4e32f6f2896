// ThreadState: what CUDA keeps for each host thread: its stack of contexts and its own default
// streams.
//
//   Context* context = this_thread().current();
//
// It lives on the heap behind a pointer that has no destructor: the main thread's thread_local
// objects are destroyed before atexit handlers run, and cudart's handler calls us.
// Owner: the thread; freed when it ends.  Threads: its own only.
#pragma once
#include <map>
#include <memory>
#include <vector>

#include "gpu_server/software_gpu/context.h"

namespace farcall::softgpu {

class ThreadState {
 public:
  ~ThreadState();

  Context* current() const { return stack_.empty() ? nullptr : stack_.back().get(); }
  // Null takes the top away, as cuCtxSetCurrent(NULL) does.
  void set_current(std::shared_ptr<Context> context);
  void push(std::shared_ptr<Context> context) { stack_.push_back(std::move(context)); }
  std::shared_ptr<Context> pop();

  // This thread's CU_STREAM_PER_THREAD in `context`.
  std::shared_ptr<Stream> own_stream(Context& context);

  CUstreamCaptureMode capture_mode = CU_STREAM_CAPTURE_MODE_GLOBAL;

 private:
  struct OwnStream {
    std::shared_ptr<Context> context;  // keeps what the stream refers to
    std::shared_ptr<Stream> stream;
    std::uint64_t generation;
  };
  std::vector<std::shared_ptr<Context>> stack_;
  std::map<const Context*, OwnStream> own_streams_;
};

ThreadState& this_thread();

}  // namespace farcall::softgpu
