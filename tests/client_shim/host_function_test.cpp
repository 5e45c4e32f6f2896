// Host functions: when they run, what waits for them and what does not, what they are told.
#include <future>

#include "tests/client_shim/callback_device.h"
#include "tests/client_shim/world.h"

using namespace farcall;
using namespace farcall::shim;

namespace {

// A host function as a lambda, and when it has run.
class Host {
 public:
  explicit Host(std::function<void()> body = [] {}) : body_(std::move(body)) {}
  static void CUDA_CB run(void* self) {
    auto& mine = *static_cast<Host*>(self);
    auto count = mine.count_;  // a test that has seen the number may be over
    mine.body_();
    ++*count;
    count->notify_all();
  }
  static void CUDA_CB call(CUstream stream, CUresult status, void* self) {
    auto& mine = *static_cast<Host*>(self);
    mine.told_stream = stream;
    mine.told = status;
    run(self);
  }
  int runs() const { return *count_; }
  void wait_for_run() const { count_->wait(0); }
  std::atomic<CUstream> told_stream{nullptr};
  std::atomic<int> told{-1};

 private:
  const std::function<void()> body_;
  const std::shared_ptr<std::atomic<int>> count_ = std::make_shared<std::atomic<int>>(0);
};

// Holds up whoever passes until it is opened.
class Gate {
 public:
  void open() { promise_.set_value(); }
  void pass() { future_.wait(); }

 private:
  std::promise<void> promise_;
  std::shared_future<void> future_{promise_.get_future()};
};

struct Streams {
  explicit Streams(std::size_t count = 2) : all(count) {
    for (CUstream& stream : all) CUDA_OK(cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING));
  }
  CUstream operator[](std::size_t i) const { return all[i]; }
  std::vector<CUstream> all;
};

}  // namespace

TEST_CASE("a host function's caller goes on at once, and a synchronize waits for it") {
  CallbackDevice device;
  World world(device);
  world.use_device();
  Streams stream;
  std::thread::id ran_on;
  Host host([&] { ran_on = std::this_thread::get_id(); });
  device.hold(true);
  CHECK(world.round_trips([&] { CUDA_OK(cuLaunchHostFunc(stream[0], Host::run, &host)); }) <=
        1);  // the thread of ours asks once
  CHECK(host.runs() == 0);
  device.hold(false);
  CUDA_OK(cuStreamSynchronize(stream[0]));
  CHECK(host.runs() == 1);
  CHECK(ran_on != std::this_thread::get_id());
}

TEST_CASE("a host function may wait for the thread that enqueued it") {
  CallbackDevice device;
  World world(device);
  world.use_device();
  Streams stream;
  Gate gate;
  Host host([&] { gate.pass(); });
  CUDA_OK(cuLaunchHostFunc(stream[0], Host::run, &host));
  CUDA_OK(cuStreamSynchronize(stream[1]));  // the other stream goes on
  CHECK(cuStreamQuery(stream[0]) == CUDA_ERROR_NOT_READY);
  gate.open();
  CUDA_OK(cuStreamSynchronize(stream[0]));
  CHECK(host.runs() == 1);
}

TEST_CASE("a host function may take a lock that another thread holds over a synchronize") {
  CallbackDevice device;
  World world(device);
  world.use_device();
  Streams stream;
  std::mutex mutex;
  Host host([&] { std::lock_guard lock(mutex); });
  {
    std::lock_guard lock(mutex);
    CUDA_OK(cuLaunchHostFunc(stream[0], Host::run, &host));
    CUDA_OK(cuStreamSynchronize(stream[1]));
  }
  CUDA_OK(cuStreamSynchronize(stream[0]));
  CHECK(host.runs() == 1);
}

TEST_CASE("work behind a host function waits for it, and work before it is done") {
  CallbackDevice device;
  World world(device);
  world.use_device();
  Streams stream;
  CUdeviceptr at = 0;
  CUDA_OK(cuMemAlloc_v2(&at, 256));
  auto* cell = &device.memory[at - FakeDevice::kBase];
  std::atomic<int> seen{0};
  Gate gate;
  Host host([&] {
    gate.pass();
    seen = static_cast<int>(*cell);
  });
  CUDA_OK(cuMemsetD8Async(at, 1, 1, stream[0]));
  CUDA_OK(cuStreamAddCallback(stream[0], Host::call, &host, 0));
  CUDA_OK(cuMemsetD8Async(at, 2, 1, stream[0]));
  CUDA_OK(cuStreamSynchronize(stream[1]));
  gate.open();
  unsigned char last = 0;
  CUDA_OK(cuMemcpyDtoHAsync_v2(&last, at, 1, stream[0]));
  CUDA_OK(cuStreamSynchronize(stream[0]));
  CHECK(seen == 1);
  CHECK(last == 2);
  CHECK(host.told == CUDA_SUCCESS);
  CHECK(host.told_stream == stream[0]);
}

TEST_CASE("a driver that holds up calls behind a host function does not hold up the function") {
  CallbackDevice device;
  World world(device);
  world.use_device();
  Streams stream;
  CUdeviceptr at = 0;
  CUDA_OK(cuMemAlloc_v2(&at, 256));
  device.is_full = true;
  for (int round = 0; round < 5; ++round) {
    Gate gate;
    Host host([&] { gate.pass(); });
    CUDA_OK(cuLaunchHostFunc(stream[0], Host::run, &host));
    // The first of these is not through before the function has run, so the server is behind.
    for (int i = 0; i < 100; ++i) {
      CUDA_OK(cuMemsetD8Async(at, static_cast<unsigned char>(round + i), 256, stream[0]));
    }
    gate.open();
    unsigned char last[256] = {};
    CUDA_OK(cuMemcpyDtoHAsync_v2(last, at, 256, stream[0]));
    CUDA_OK(cuStreamSynchronize(stream[0]));
    CHECK(last[255] == round + 99);
    CHECK(host.runs() == 1);
  }
}

TEST_CASE("what a copy to page-locked memory brought is there when the function behind it runs") {
  CallbackDevice device;
  World world(device);
  world.use_device();
  Streams stream;
  CUdeviceptr at = 0;
  void* host_memory = nullptr;
  CUDA_OK(cuMemAlloc_v2(&at, 4096));
  CUDA_OK(cuMemAllocHost_v2(&host_memory, 4096));
  auto* bytes = static_cast<unsigned char*>(host_memory);
  for (int round = 1; round <= 20; ++round) {
    std::atomic<int> seen{0};
    Host host([&] { seen = bytes[4095]; });
    CUDA_OK(cuMemsetD8Async(at, static_cast<unsigned char>(round), 4096, stream[0]));
    CUDA_OK(cuMemcpyDtoHAsync_v2(bytes, at, 4096, stream[0]));
    CUDA_OK(cuLaunchHostFunc(stream[0], Host::run, &host));
    CUDA_OK(cuStreamSynchronize(stream[0]));
    CHECK(seen == round);
  }
  CUDA_OK(cuMemFreeHost(host_memory));
}

TEST_CASE("random streams, events and host functions keep the order CUDA promises") {
  constexpr std::size_t kStreams = 3;
  for (unsigned seed = 1; seed <= 6; ++seed) {
    CAPTURE(seed);
    CallbackDevice device(seed);
    World world(device);
    world.use_device();
    std::mt19937 random(seed);
    Streams streams(kStreams);
    std::array<CUevent, kStreams> event{};
    for (CUevent& each : event) CUDA_OK(cuEventCreate(&each, CU_EVENT_DISABLE_TIMING));
    // For each stream: how many functions were enqueued, how many have run, how many of each
    // stream come before what is enqueued next, and how many came before the latest record.
    using Counts = std::array<int, kStreams>;
    std::array<std::atomic<int>, kStreams> run{};
    Counts enqueued{};
    std::array<Counts, kStreams> before{};
    std::array<Counts, kStreams> recorded{};
    std::atomic<int> wrong{0};
    std::deque<Host> functions;
    for (int step = 0; step < 150; ++step) {
      const std::size_t s = random() % kStreams;
      switch (random() % 5) {
        case 0:
          CUDA_OK(cuEventRecord(event[s], streams[s]));
          recorded[s] = before[s];
          break;
        case 1: {
          const std::size_t other = random() % kStreams;
          CUDA_OK(cuStreamWaitEvent(streams[s], event[other], 0));
          for (std::size_t i = 0; i < kStreams; ++i) {
            before[s][i] = std::max(before[s][i], recorded[other][i]);
          }
          break;
        }
        case 2:
          if (random() % 4 != 0) break;
          CUDA_OK(cuStreamSynchronize(streams[s]));
          for (std::size_t i = 0; i < kStreams; ++i) wrong += run[i] < before[s][i] ? 1 : 0;
          break;
        default:
          functions.emplace_back([&, s, must = before[s]] {
            for (std::size_t i = 0; i < kStreams; ++i) wrong += run[i] < must[i] ? 1 : 0;
            if (run[s] != must[s]) ++wrong;
            ++run[s];
          });
          if (random() % 2 == 0) {
            CUDA_OK(cuLaunchHostFunc(streams[s], Host::run, &functions.back()));
          } else {
            CUDA_OK(cuStreamAddCallback(streams[s], Host::call, &functions.back(), 0));
          }
          before[s][s] = ++enqueued[s];
      }
    }
    CUDA_OK(cuCtxSynchronize());
    for (std::size_t i = 0; i < kStreams; ++i) CHECK(run[i] == enqueued[i]);
    CHECK(wrong == 0);
  }
}

TEST_CASE("a host function may ask what is known here, and nothing that needs the device") {
  CallbackDevice device;
  World world(device);
  world.use_device();
  CUdeviceptr at = 0;
  int local = -1, asked = -1, posted = -1, nested = -1;
  Host inner;
  Host host([&] {
    int count = 0;
    local = cuDeviceGetCount(&count);
    asked = cuMemAlloc_v2(&at, 64);
    posted = cuMemsetD8_v2(FakeDevice::kBase, 1, 1);
    nested = cuLaunchHostFunc(nullptr, Host::run, &inner);
  });
  CUDA_OK(cuLaunchHostFunc(nullptr, Host::run, &host));
  CUDA_OK(cuStreamSynchronize(nullptr));
  CHECK(local == CUDA_SUCCESS);
  CHECK(asked == CUDA_ERROR_NOT_PERMITTED);
  CHECK(posted == CUDA_ERROR_NOT_PERMITTED);
  CHECK(nested == CUDA_ERROR_NOT_PERMITTED);
  CHECK(inner.runs() == 0);
}

TEST_CASE("what cannot be enqueued is refused at once where that is known") {
  CallbackDevice device;
  World world(device);
  Host host;
  CHECK(cuLaunchHostFunc(nullptr, nullptr, nullptr) == CUDA_ERROR_INVALID_VALUE);
  CHECK(cuStreamAddCallback(nullptr, nullptr, nullptr, 0) == CUDA_ERROR_INVALID_VALUE);
  CHECK(cuStreamAddCallback(nullptr, Host::call, &host, 1) == CUDA_ERROR_INVALID_VALUE);
  CHECK(host.runs() == 0);
}

TEST_CASE("after a posted failure a callback is told, and a host function is not called") {
  CallbackDevice device;
  World world(device);
  world.use_device();
  Host function, callback;
  device.fail_enqueue = CUDA_ERROR_INVALID_HANDLE;
  CUDA_OK(cuLaunchHostFunc(nullptr, Host::run, &function));
  CHECK(cuCtxSynchronize() == CUDA_ERROR_INVALID_HANDLE);
  CUDA_OK(cuStreamAddCallback(nullptr, Host::call, &callback, 0));
  CHECK(cuCtxSynchronize() == CUDA_ERROR_INVALID_HANDLE);
  callback.wait_for_run();
  CHECK(callback.told == CUDA_ERROR_INVALID_HANDLE);
  device.fail_enqueue = 0;
  Host after;
  CUDA_OK(cuLaunchHostFunc(nullptr, Host::run, &after));
  CUDA_OK(cuCtxSynchronize());
  CHECK(after.runs() == 1);
  CHECK(function.runs() == 0);
}

TEST_CASE("in strict mode the call itself reports the failure, and nothing is called") {
  CallbackDevice device;
  World world(device, true);
  world.use_device();
  Host function, callback, after;
  device.fail_enqueue = CUDA_ERROR_INVALID_HANDLE;
  CHECK(cuLaunchHostFunc(nullptr, Host::run, &function) == CUDA_ERROR_INVALID_HANDLE);
  CHECK(cuStreamAddCallback(nullptr, Host::call, &callback, 0) == CUDA_ERROR_INVALID_HANDLE);
  device.fail_enqueue = 0;
  CUDA_OK(cuLaunchHostFunc(nullptr, Host::run, &after));
  CUDA_OK(cuCtxSynchronize());
  CHECK(after.runs() == 1);
  CHECK(function.runs() + callback.runs() == 0);
}

TEST_CASE("a fault before it is told to a callback") {
  CallbackDevice device;
  World world(device);
  world.use_device();
  Host callback;
  device.fault = CUDA_ERROR_ILLEGAL_ADDRESS;
  CUDA_OK(cuStreamAddCallback(nullptr, Host::call, &callback, 0));
  CUDA_OK(cuCtxSynchronize());
  CHECK(callback.told == CUDA_ERROR_ILLEGAL_ADDRESS);
}

TEST_CASE("when the link is lost, callbacks are told and host functions are not called") {
  CallbackDevice device;
  World world(device);
  world.use_device();
  Streams stream;
  Gate gate;
  Host running([&] { gate.pass(); });
  Host function, first, second;
  Host begins;
  CUDA_OK(cuLaunchHostFunc(stream[0], Host::run, &begins));
  CUDA_OK(cuLaunchHostFunc(stream[0], Host::run, &running));
  CUDA_OK(cuLaunchHostFunc(stream[0], Host::run, &function));
  CUDA_OK(cuStreamAddCallback(stream[0], Host::call, &first, 0));
  CUDA_OK(cuStreamAddCallback(stream[1], Host::call, &second, 0));
  begins.wait_for_run();
  world.cut();
  gate.open();
  first.wait_for_run();
  second.wait_for_run();
  CHECK(first.told != CUDA_SUCCESS);
  CHECK(function.runs() == 0);
  CHECK(cuLaunchHostFunc(nullptr, Host::run, &function) == CUDA_ERROR_DEVICE_UNAVAILABLE);
}

TEST_CASE("a context that ends takes along the host functions that wait in it") {
  CallbackDevice device;
  World world(device);
  CUcontext context = nullptr;
  CUDA_OK(cuCtxCreate_v2(&context, 0, 0));
  Gate begun, gate;
  Host running([&] {
    begun.open();
    gate.pass();
  });
  Host behind, callback;
  CUDA_OK(cuLaunchHostFunc(nullptr, Host::run, &running));
  CUDA_OK(cuLaunchHostFunc(nullptr, Host::run, &behind));
  CUDA_OK(cuStreamAddCallback(nullptr, Host::call, &callback, 0));
  begun.pass();
  CUDA_OK(cuCtxDestroy_v2(context));
  gate.open();
  callback.wait_for_run();
  CHECK(callback.told == CUDA_ERROR_CONTEXT_IS_DESTROYED);
  CHECK(running.runs() == 1);
  CHECK(behind.runs() == 0);
}

TEST_CASE("a captured host function runs at each launch of its graph") {
  CallbackDevice device;
  World world(device);
  world.use_device();
  Streams stream;
  Host captured, plain;
  CUgraph graph = nullptr;
  CUgraphExec exec = nullptr;
  CUDA_OK(cuStreamBeginCapture_v2(stream[0], CU_STREAM_CAPTURE_MODE_RELAXED));
  CUDA_OK(cuLaunchHostFunc(stream[0], Host::run, &captured));
  CHECK(cuStreamAddCallback(stream[0], Host::call, &plain, 0) ==
        CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED);
  CUDA_OK(cuStreamEndCapture(stream[0], &graph));
  CHECK(captured.runs() == 0);
  CUDA_OK(cuGraphInstantiateWithFlags(&exec, graph, 0));
  for (int launch = 1; launch <= 3; ++launch) {
    CUDA_OK(cuGraphLaunch(exec, stream[0]));
    CUDA_OK(cuStreamSynchronize(stream[0]));
    CHECK(captured.runs() == launch);
  }
  CUDA_OK(cuLaunchHostFunc(stream[0], Host::run, &plain));
  CUDA_OK(cuStreamSynchronize(stream[0]));
  CHECK(plain.runs() == 1);
  CHECK(captured.runs() == 3);
}

TEST_CASE("the host function of a graph's node can be changed") {
  CallbackDevice device;
  World world(device);
  world.use_device();
  Host first, second;
  CUgraph graph = nullptr;
  CUgraphExec exec = nullptr;
  CUgraphNode node = nullptr;
  CUDA_OK(cuGraphCreate(&graph, 0));
  CUDA_HOST_NODE_PARAMS params{Host::run, &first};
  CHECK(cuGraphAddHostNode(&node, graph, nullptr, 1, &params) == CUDA_ERROR_INVALID_VALUE);
  CHECK(cuGraphAddHostNode(&node, graph, nullptr, 0, nullptr) == CUDA_ERROR_INVALID_VALUE);
  CUDA_OK(cuGraphAddHostNode(&node, graph, nullptr, 0, &params));
  CUDA_OK(cuGraphInstantiateWithFlags(&exec, graph, 0));
  CUDA_OK(cuGraphLaunch(exec, nullptr));
  CUDA_OK(cuStreamSynchronize(nullptr));
  params.userData = &second;
  CUDA_OK(cuGraphExecHostNodeSetParams(exec, node, &params));
  CUDA_OK(cuGraphLaunch(exec, nullptr));
  CUDA_OK(cuStreamSynchronize(nullptr));
  CHECK(first.runs() == 1);
  CHECK(second.runs() == 1);
}

TEST_CASE("a program that ends does not wait for its host functions") {
  CallbackDevice device;
  World world(device);
  world.use_device();
  Streams stream;
  Host never;
  device.hold(true);
  CUDA_OK(cuStreamAddCallback(stream[0], Host::call, &never, 0));
  current_client()->finish();
  device.hold(false);
  CHECK(never.runs() == 0);
}
