// Many threads at once: replies find their callers, contexts stay with their threads.
#include <pthread.h>
#include <sys/stat.h>

#include <fstream>
#include <future>
#include <sstream>

#include "tests/client_shim/world.h"
#include "tests/support/switched.h"

using namespace farcall;
using namespace farcall::shim;

TEST_CASE("replies find the thread that asked, whoever receives them") {
  FakeDevice device(32 << 20);
  World world(device);
  CUcontext context = nullptr;
  CUDA_OK(cuDevicePrimaryCtxRetain(&context, 0));
  std::atomic<int> wrong{0};
  std::vector<std::thread> threads;
  for (int number = 0; number < 8; ++number) {
    threads.emplace_back([&, number] {
      if (cuCtxSetCurrent(context) != CUDA_SUCCESS) return void(++wrong);
      // Sizes on both sides of what still rides inside a frame.
      std::size_t bytes = number % 2 == 0 ? 4096 : 100'000;
      CUdeviceptr at = 0;
      if (cuMemAlloc_v2(&at, bytes) != CUDA_SUCCESS) return void(++wrong);
      std::vector<unsigned char> sent(bytes), back(bytes);
      for (int round = 0; round < 20; ++round) {
        std::memset(sent.data(), number * 20 + round, bytes);
        bool good = cuMemcpyHtoD_v2(at, sent.data(), bytes) == CUDA_SUCCESS &&
                    cuCtxSynchronize() == CUDA_SUCCESS &&
                    cuMemcpyDtoH_v2(back.data(), at, bytes) == CUDA_SUCCESS && sent == back;
        if (!good) ++wrong;
      }
    });
  }
  for (auto& thread : threads) thread.join();
  CHECK(wrong == 0);
}

TEST_CASE(
    "200 threads call at once, and what one posted before it signalled the next comes first") {
  constexpr int kThreads = 200;
  FakeDevice device(32 << 20);
  World world(device);
  CUcontext context = nullptr;
  CUDA_OK(cuDevicePrimaryCtxRetain(&context, 0));
  CUDA_OK(cuCtxSetCurrent(context));
  CUdeviceptr passed_on = 0;
  CUDA_OK(cuMemAlloc_v2(&passed_on, 64));
  CUDA_OK(cuMemsetD8_v2(passed_on, 0, 64));
  std::vector<std::promise<void>> turns(kThreads + 1);
  std::atomic<int> wrong{0};
  std::vector<std::thread> threads;
  for (int number = 0; number < kThreads; ++number) {
    threads.emplace_back([&, number] {
      auto check = [&](bool holds) { wrong += holds ? 0 : 1; };
      const auto own = static_cast<unsigned char>(number + 1);
      std::vector<unsigned char> back(512);
      CUdeviceptr at = 0;
      check(cuCtxSetCurrent(context) == CUDA_SUCCESS);
      check(cuMemAlloc_v2(&at, back.size()) == CUDA_SUCCESS);
      for (int round = 0; round < 5; ++round) {
        check(cuMemsetD8_v2(at, own, back.size()) == CUDA_SUCCESS);
        check(cuMemcpyDtoH_v2(back.data(), at, back.size()) == CUDA_SUCCESS);
        check(back == std::vector<unsigned char>(back.size(), own));
      }
      turns[static_cast<std::size_t>(number)].get_future().wait();
      unsigned char before = 0xff;
      check(cuMemcpyDtoH_v2(&before, passed_on, 1) == CUDA_SUCCESS);
      check(before == static_cast<unsigned char>(number));
      check(cuMemsetD8_v2(passed_on, own, 64) == CUDA_SUCCESS);
      turns[static_cast<std::size_t>(number) + 1].set_value();
      check(cuMemFree_v2(at) == CUDA_SUCCESS);
    });
  }
  turns[0].set_value();
  for (auto& thread : threads) thread.join();
  CHECK(wrong == 0);
}

TEST_CASE("a cut link releases every waiting thread") {
  FakeDevice device;
  World world(device);
  CUcontext context = nullptr;
  CUDA_OK(cuDevicePrimaryCtxRetain(&context, 0));
  Switched off("skip-sync");  // so that each call asks
  std::vector<std::thread> threads;
  for (int number = 0; number < 4; ++number) {
    threads.emplace_back([&] {
      cuCtxSetCurrent(context);
      while (cuCtxSynchronize() == CUDA_SUCCESS) {
      }
    });
  }
  world.cut();
  for (auto& thread : threads) thread.join();
  CUDA_OK(cuCtxSetCurrent(context));
  CHECK(cuCtxSynchronize() == kLinkLost);
}

TEST_CASE("each thread has its own current context, and a new thread has none") {
  FakeDevice device;
  World world(device);
  world.use_device();
  CUcontext seen = reinterpret_cast<CUcontext>(1);
  std::thread([&] { cuCtxGetCurrent(&seen); }).join();
  CHECK(seen == nullptr);
}

TEST_CASE("the number of a thread that has ended is used again") {
  FakeDevice device;
  World world(device);
  std::uint32_t first = 0, second = 0;
  auto number = [](std::uint32_t* out) { *out = current_client()->this_thread().number; };
  std::thread(number, &first).join();
  std::thread(number, &second).join();
  CHECK(first != 0);
  CHECK(first == second);
}

TEST_CASE("a posted call goes out by itself when no other follows") {
  FakeDevice device;
  World world(device);
  world.use_device();
  CUdeviceptr at = 0;
  CUDA_OK(cuMemAlloc_v2(&at, 64));
  for (int i = 0; i < 3; ++i) CUDA_OK(cuMemsetD8_v2(at, 1, 64));
  Deadline deadline = Deadline::after(system_clock(), 10'000);
  while (device.count("cuMemsetD8_v2") < 3 && !deadline.passed()) {
  }
  CHECK(device.count("cuMemsetD8_v2") == 3);
}

TEST_CASE("the figures of a session are written as JSON when it ends") {
  char path[] = "/tmp/farcall-stats-XXXXXX";
  ::close(::mkstemp(path));
  {
    FakeDevice device;
    World world(device, false, path);
    world.use_device();
    CUdeviceptr at = 0;
    CUDA_OK(cuMemAlloc_v2(&at, 64));
    CUDA_OK(cuMemsetD8_v2(at, 1, 64));
    CUDA_OK(cuCtxSynchronize());
    current_client()->finish();
  }
  std::stringstream text;
  text << std::ifstream(path).rdbuf();
  ::unlink(path);
  CHECK(text.str().find("\"device\": \"Fake device\"") != std::string::npos);
  CHECK(text.str().find("\"cuMemAlloc_v2\": 1") != std::string::npos);
  CHECK(text.str().find(
            "\"queued\": {\"total\": 2, \"cuDevicePrimaryCtxRetain\": 1, \"cuMemsetD8_v2\": 1}") !=
        std::string::npos);
}

namespace {

// Another thread of the program that has made a call and has not ended.
class LiveThread {
 public:
  LiveThread()
      : thread_([this] {
          CUcontext seen = nullptr;
          cuCtxGetCurrent(&seen);
          is_live_ = true;
          is_live_.notify_one();
          may_end_.wait(false);
        }) {
    is_live_.wait(false);
  }
  ~LiveThread() {
    may_end_ = true;
    may_end_.notify_one();
    thread_.join();
  }

 private:
  std::atomic<bool> is_live_{false};
  std::atomic<bool> may_end_{false};
  std::thread thread_;
};

}  // namespace

TEST_CASE("a call that waits on the server is waited for while another thread lives") {
  FakeDevice device;
  World world(device);
  world.use_device();
  CUdeviceptr first = 0, second = 0;
  CUDA_OK(cuMemAlloc_v2(&first, 64));
  CUDA_OK(cuMemAlloc_v2(&second, 64));
  auto copy = [&] { CUDA_OK(cuMemcpyHtoD_v2(second, &first, 8)); };
  {
    LiveThread other;
    CHECK(world.round_trips(copy) == 1);
    CHECK(world.round_trips([&] { CUDA_OK(cuMemFree_v2(first)); }) == 1);
    CHECK(world.round_trips([&] { CUDA_OK(cuMemsetD8_v2(second, 1, 64)); }) == 0);
  }
  CHECK(world.round_trips(copy) == 0);
  CHECK(world.round_trips([&] { CUDA_OK(cuMemFree_v2(second)); }) == 0);
}

TEST_CASE("what is freed while an earlier call's failure is reported is gone all the same") {
  FakeDevice device;
  World world(device);
  world.use_device();
  CUdeviceptr at = 0;
  CUDA_OK(cuMemAlloc_v2(&at, 64));
  LiveThread other;
  device.fail_memset = CUDA_ERROR_INVALID_VALUE;
  CUDA_OK(cuMemsetD8_v2(at, 1, 64));
  CHECK(cuMemFree_v2(at) == CUDA_ERROR_INVALID_VALUE);
  CHECK(device.count("cuMemFree_v2") == 1);
  CHECK(!current_client()->allocations().find_device(at));
}

TEST_CASE("retains and releases of many threads reach the server in the order they were counted") {
  FakeDevice device;
  World world(device);
  std::atomic<int> failed{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      for (int round = 0; round < 100; ++round) {
        CUcontext context = nullptr;
        if (cuDevicePrimaryCtxRetain(&context, 0) != CUDA_SUCCESS) ++failed;
        if (cuDevicePrimaryCtxRelease_v2(0) != CUDA_SUCCESS) ++failed;
      }
    });
  }
  for (auto& thread : threads) thread.join();
  CHECK(failed == 0);
  CHECK(device.retains_twice == 0);
  CHECK(device.count("cuDevicePrimaryCtxRetain") == device.count("cuDevicePrimaryCtxRelease_v2"));
}

TEST_CASE("an answer that came before its request keeps its waiter until it has been taken") {
  auto pair = link::make_loopback_session_pair();
  REQUIRE(pair.ok());
  link::Session& server = *pair->server;
  Landings landings;
  Completions completions;
  Receiver receiver(*pair->client, landings, completions);
  std::atomic<bool> entered{false}, cancelling{false}, taken{false};
  auto take_slowly = [&](Reply& reply) {
    entered = true;
    entered.notify_one();
    cancelling.wait(false);
    // Work enough that a cancel() which does not wait is found out.
    std::vector<char> work(8 << 20, 1);
    taken = work.back() == 1;
    return reply.status;
  };
  auto take = [](Reply& reply) { return reply.status; };
  Waiter unsent(take_slowly);
  Waiter leader(take);
  receiver.expect(unsent, 1);
  receiver.expect(leader, 2);
  std::thread leading([&] { receiver.wait(leader); });
  auto reply_to = [&](std::uint32_t thread) {
    wire::FrameHeader head{0x0201, wire::kReply, 0, 1, thread};
    REQUIRE(server.post(head, link::Flush::kNow, [](wire::Writer& out) { out.put(0u); }).ok());
  };
  reply_to(1);
  entered.wait(false);
  cancelling = true;
  cancelling.notify_one();
  receiver.cancel(unsent, 1);
  CHECK(taken);
  reply_to(2);
  leading.join();
}

TEST_CASE("a thread that came when all numbers were taken gets the next one that is given back") {
  ThreadNumbers numbers;
  for (std::size_t i = 0; i < limits::kClientThreadsMax; ++i) REQUIRE(numbers.take() != 0);
  std::uint32_t before = 1, after = 0;
  std::thread([&] {
    auto state = [&]() -> ThreadState& {
      return thread_state(~std::uint64_t{0}, numbers, [](ThreadState&) {});
    };
    before = state().number;
    numbers.give_back(7);
    after = state().number;
  }).join();
  CHECK(before == 0);
  CHECK(after == 7);
}

TEST_CASE("the mode for captures is each thread's own and costs no message") {
  FakeDevice device;
  World world(device);
  auto exchange = [](CUstreamCaptureMode mode) {
    CUDA_OK(cuThreadExchangeStreamCaptureMode(&mode));
    return mode;
  };
  CHECK(world.round_trips([&] {
    CHECK(exchange(CU_STREAM_CAPTURE_MODE_RELAXED) == CU_STREAM_CAPTURE_MODE_GLOBAL);
    CHECK(exchange(CU_STREAM_CAPTURE_MODE_GLOBAL) == CU_STREAM_CAPTURE_MODE_RELAXED);
  }) == 0);
  CHECK(exchange(CU_STREAM_CAPTURE_MODE_RELAXED) == CU_STREAM_CAPTURE_MODE_GLOBAL);
  CUstreamCaptureMode seen = CU_STREAM_CAPTURE_MODE_RELAXED;
  std::thread([&] { seen = exchange(CU_STREAM_CAPTURE_MODE_RELAXED); }).join();
  CHECK(seen == CU_STREAM_CAPTURE_MODE_GLOBAL);
  auto unknown = static_cast<CUstreamCaptureMode>(3);
  CHECK(cuThreadExchangeStreamCaptureMode(&unknown) == CUDA_ERROR_INVALID_VALUE);
}

TEST_CASE("a thread that is cancelled inside a call leaves the others what they wait for") {
  FakeDevice device;
  World world(device);
  CUcontext context = nullptr;
  CUDA_OK(cuDevicePrimaryCtxRetain(&context, 0));
  Switched off("skip-sync");  // so that each call asks
  std::atomic<bool> is_running{false};
  std::thread victim([&] {
    cuCtxSetCurrent(context);
    for (;;) {
      cuCtxSynchronize();
      is_running = true;
      is_running.notify_one();
      ::pthread_testcancel();
    }
  });
  is_running.wait(false);
  ::pthread_cancel(victim.native_handle());
  victim.join();
  CUDA_OK(cuCtxSetCurrent(context));
  CUDA_OK(cuCtxSynchronize());
}
