// CallbackDevice: a StreamDevice that calls host functions, one after the other on a thread of its
// own as CUDA does, and replays them with a graph that they were captured in.
//
//   CallbackDevice device(seed);
//   World world(device);
//
// Threads: any; one at a time.
#pragma once
#include "tests/client_shim/stream_device.h"

namespace farcall::shim {

class CallbackDevice : public StreamDevice {
 public:
  explicit CallbackDevice(unsigned seed = 1) : StreamDevice(seed, 8 << 20) {
    caller_ = std::thread([this] { call_functions(); });
  }
  ~CallbackDevice() {
    stop();
    {
      std::lock_guard lock(calls_mutex_);
      is_over_ = true;
    }
    calls_changed_.notify_all();
    caller_.join();
  }
  api::Driver table();

  std::atomic<int> fault{0};  // CUresult that callbacks are told of; host functions are left out
  std::atomic<bool> is_full{false};  // fills wait for what is in their stream
  std::atomic<int> fail_enqueue{0};  // CUresult of cuLaunchHostFunc and cuStreamAddCallback

 private:
  using Call = std::function<void()>;
  struct Pending {
    Call call;
    std::shared_ptr<std::atomic<bool>> done;
  };
  static CallbackDevice& self() { return static_cast<CallbackDevice&>(*one()); }

  CUresult enqueue(CUstream stream, Call call) {
    if (fail_enqueue != 0) return static_cast<CUresult>(fail_enqueue.load());
    auto started = std::make_shared<bool>(false);
    auto done = std::make_shared<std::atomic<bool>>(false);
    push(stream, [this, started, done, call] {
      if (!std::exchange(*started, true)) {
        std::lock_guard lock(calls_mutex_);
        calls_.push_back({call, done});
        calls_changed_.notify_all();
      }
      return done->load();
    });
    return CUDA_SUCCESS;
  }
  void call_functions() {
    for (;;) {
      Pending next;
      {
        std::unique_lock lock(calls_mutex_);
        calls_changed_.wait(lock, [this] { return is_over_ || !calls_.empty(); });
        if (calls_.empty()) return;
        next = std::move(calls_.front());
        calls_.pop_front();
      }
      next.call();
      next.done->store(true);
    }
  }

  std::mutex calls_mutex_;
  std::condition_variable calls_changed_;
  std::deque<Pending> calls_;
  bool is_over_ = false;
  std::vector<Call> captured_;
  std::thread caller_;
};

inline api::Driver CallbackDevice::table() {
  api::Driver driver = StreamDevice::table();
  driver.cuLaunchHostFunc = [](CUstream stream, CUhostFn function, void* data) {
    auto call = [function, data] {
      if (self().fault == 0) function(data);
    };
    if (!self().capturing) return self().enqueue(stream, call);
    self().captured_.push_back(call);
    return CUDA_SUCCESS;
  };
  driver.cuStreamAddCallback = [](CUstream stream, CUstreamCallback callback, void* data,
                                  unsigned) {
    if (self().capturing) return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
    return self().enqueue(stream, [stream, callback, data] {
      callback(stream, static_cast<CUresult>(self().fault.load()), data);
    });
  };
  static const auto fill = driver.cuMemsetD8Async;
  driver.cuMemsetD8Async = [](CUdeviceptr at, unsigned char value, std::size_t bytes,
                              CUstream stream) {
    if (self().is_full) self().finish(stream);
    return fill(at, value, bytes, stream);
  };
  driver.cuGraphInstantiateWithFlags = [](CUgraphExec* exec, CUgraph, unsigned long long) {
    return *exec = reinterpret_cast<CUgraphExec>(0x9100), CUDA_SUCCESS;
  };
  driver.cuGraphLaunch = [](CUgraphExec, CUstream stream) {
    for (const Call& call : self().captured_) self().enqueue(stream, call);
    return CUDA_SUCCESS;
  };
  driver.cuGraphCreate = [](CUgraph* graph, unsigned) {
    return *graph = reinterpret_cast<CUgraph>(0x9000), CUDA_SUCCESS;
  };
  driver.cuGraphAddHostNode = [](CUgraphNode* node, CUgraph, const CUgraphNode*, std::size_t,
                                 const CUDA_HOST_NODE_PARAMS* params) {
    self().captured_.push_back([params = *params] { params.fn(params.userData); });
    return *node = reinterpret_cast<CUgraphNode>(0x9200), CUDA_SUCCESS;
  };
  driver.cuGraphHostNodeSetParams = [](CUgraphNode, const CUDA_HOST_NODE_PARAMS* params) {
    self().captured_.back() = [params = *params] { params.fn(params.userData); };
    return CUDA_SUCCESS;
  };
  driver.cuGraphExecHostNodeSetParams = [](CUgraphExec, CUgraphNode,
                                           const CUDA_HOST_NODE_PARAMS* params) {
    self().captured_.back() = [params = *params] { params.fn(params.userData); };
    return CUDA_SUCCESS;
  };
  return driver;
}

}  // namespace farcall::shim
