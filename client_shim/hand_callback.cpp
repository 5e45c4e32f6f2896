// Host functions in a stream: wait for the stream, then run the function on a thread of this
// process, and wait for it. So all work behind it starts after it, as CUDA promises; what is lost
// is that the caller goes on meanwhile. A function that waits for its own caller would wait for
// ever.
#include <condition_variable>

#include "client_shim/entry.h"
#include "client_shim/flusher.h"
#include "transport/base/guarded.h"

using farcall::shim::Client;
using farcall::shim::with_client;

namespace {

// A call to run elsewhere, and the wait for it.
struct Errand {
  farcall::FunctionRef<void()> run;
  farcall::Guarded<bool> done;
  std::condition_variable changed;
};

// CUDA runs host functions on a thread of its own, so programs may rely on the caller's
// thread-local state being out of sight.
void run_elsewhere(farcall::FunctionRef<void()> function) {
  Errand errand{function, {}, {}};
  auto body = [](void* pointer) -> void* {
    auto& mine = *static_cast<Errand*>(pointer);
    mine.run();
    auto done = mine.done.lock();
    *done = true;
    // Under the lock: the errand is gone as soon as its owner can have it.
    mine.changed.notify_one();
    return nullptr;
  };
  if (!farcall::shim::start_quiet_thread(body, &errand)) return function();
  errand.done.lock().wait(errand.changed, [](bool done) { return done; });
}

}  // namespace

FARCALL_EXPORT cuLaunchHostFunc(CUstream stream, CUhostFn function, void* data) {
  return with_client([&](Client&) {
    if (function == nullptr) return CUDA_ERROR_INVALID_VALUE;
    CUresult waited = cuStreamSynchronize(stream);
    if (waited == CUDA_SUCCESS) run_elsewhere([&] { function(data); });
    return waited;
  });
}

FARCALL_EXPORT cuStreamAddCallback(CUstream stream, CUstreamCallback callback, void* data,
                                   unsigned int flags) {
  return with_client([&](Client&) {
    if (callback == nullptr || flags != 0) return CUDA_ERROR_INVALID_VALUE;
    CUresult waited = cuStreamSynchronize(stream);
    if (waited == CUDA_ERROR_INVALID_HANDLE || waited == CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED) {
      return waited;
    }
    // A callback is called also when the work before it failed, and told so.
    run_elsewhere([&] { callback(stream, waited, data); });
    return CUDA_SUCCESS;
  });
}
