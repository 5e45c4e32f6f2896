// Copies to page-locked memory that nobody waits for: random programs against a model, on a device
// whose streams finish late and out of turn.
#include <array>
#include <random>
#include <thread>

#include "tests/client_shim/stream_device.h"
#include "tests/client_shim/world.h"
#include "transport/base/limits.h"
#include "transport/base/switches.h"

namespace farcall::shim {
namespace {

using Bytes = std::vector<std::byte>;

// Asynchronous copies are on, or off, whatever the suite runs with, until this goes.
class AsyncCopy {
 public:
  explicit AsyncCopy(bool on) {
    constexpr std::uint32_t kBit = 1U << static_cast<unsigned>(Switch::kAsyncCopy);
    g_switches_off = on ? before_ & ~kBit : before_ | kBit;
  }
  ~AsyncCopy() { g_switches_off = before_; }

 private:
  const std::uint32_t before_ = g_switches_off;
};

// How the test program works: one host thread with two streams, each with a device buffer and a
// page-locked one of its own. Every step is done on the device and, at once, on the model. At each
// proof that a stream has been worked off, its page-locked memory must equal the model's.
class Program {
 public:
  static constexpr std::size_t kBytes = 3 << 20;

  explicit Program(unsigned seed) : random_(seed) {
    for (Lane& lane : lanes_) {
      CUDA_OK(cuStreamCreate(&lane.stream, CU_STREAM_NON_BLOCKING));
      CUDA_OK(cuEventCreate(&lane.event, CU_EVENT_DISABLE_TIMING));
      CUDA_OK(cuMemAlloc_v2(&lane.device, kBytes));
      lane.on_device.assign(kBytes, std::byte{0});
      CUDA_OK(cuMemsetD8Async(lane.device, 0, kBytes, lane.stream));
      lock_memory(lane);
    }
  }

  void run(int steps) {
    for (int i = 0; i < steps; ++i) step();
    CUDA_OK(cuCtxSynchronize());
    for (Lane& lane : lanes_) {
      check(lane);
      CUDA_OK(cuMemFreeHost(lane.host));
    }
  }

 private:
  struct Lane {
    CUstream stream = nullptr;
    CUevent event = nullptr;
    CUdeviceptr device = 0;
    std::byte* host = nullptr;
    Bytes on_device, on_host;
  };
  struct Range {
    std::size_t at, bytes;
  };

  unsigned roll(unsigned sides) { return static_cast<unsigned>(random_() % sides); }
  Range range() {
    constexpr std::size_t kSizes[] = {1,     100,   4096,    limits::kInlineCopyBytesMax,
                                      32769, 65536, 200'001, (2 << 20) + 300'003};
    std::size_t bytes = kSizes[roll(8)];
    return {random_() % (kBytes - bytes), bytes};
  }
  void lock_memory(Lane& lane) {
    void* host = nullptr;
    CUDA_OK(cuMemAllocHost_v2(&host, kBytes));
    lane.host = static_cast<std::byte*>(host);
    lane.on_host.assign(kBytes, std::byte{0});
  }
  void check(Lane& lane) {
    bool same = std::memcmp(lane.host, lane.on_host.data(), kBytes) == 0;
    CHECK(same);
  }

  void step() {
    Lane& lane = lanes_[roll(2)];
    switch (roll(16)) {
      case 0:
      case 1: fill(lane); break;
      case 2: copy_in(lane); break;
      case 3: copy_in_locked(lane); break;
      case 4:
      case 5: hand_over(lane, &lane == &lanes_[0] ? lanes_[1] : lanes_[0]); break;
      case 6: copy_out_pageable(lane); break;
      case 7: wait(lane); break;
      case 8: replace_memory(lane); break;
      case 9: replace_stream(lane); break;
      default: copy_out(lane);
    }
  }
  void fill(Lane& lane) {
    auto [at, bytes] = range();
    auto value = static_cast<unsigned char>(roll(256));
    CUDA_OK(cuMemsetD8Async(lane.device + at, value, bytes, lane.stream));
    std::memset(lane.on_device.data() + at, value, bytes);
  }
  void copy_in(Lane& lane) {
    auto [at, bytes] = range();
    Bytes from(bytes);
    for (auto& each : from) each = static_cast<std::byte>(random_());
    CUDA_OK(cuMemcpyHtoDAsync_v2(lane.device + at, from.data(), bytes, lane.stream));
    std::memcpy(lane.on_device.data() + at, from.data(), bytes);
  }
  // Reads what earlier copies of the same stream bring.
  void copy_in_locked(Lane& lane) {
    auto [at, bytes] = range();
    std::size_t from = random_() % (kBytes - bytes);
    CUDA_OK(cuMemcpyHtoDAsync_v2(lane.device + at, lane.host + from, bytes, lane.stream));
    std::memcpy(lane.on_device.data() + at, lane.on_host.data() + from, bytes);
  }
  void copy_out(Lane& lane) {
    auto [at, bytes] = range();
    std::size_t to = random_() % (kBytes - bytes);
    CUDA_OK(cuMemcpyDtoHAsync_v2(lane.host + to, lane.device + at, bytes, lane.stream));
    std::memcpy(lane.on_host.data() + to, lane.on_device.data() + at, bytes);
  }
  void copy_out_pageable(Lane& lane) {
    auto [at, bytes] = range();
    Bytes got(bytes);
    CUDA_OK(cuMemcpyDtoHAsync_v2(got.data(), lane.device + at, bytes, lane.stream));
    bool same = std::memcmp(got.data(), lane.on_device.data() + at, bytes) == 0;
    CHECK(same);
    check(lane);  // the earlier copies of the stream are complete too
  }
  // Work of `to` that depends on work of `from`, and the other way round.
  void hand_over(Lane& from, Lane& to) {
    auto [at, bytes] = range();
    CUDA_OK(cuEventRecord(from.event, from.stream));
    CUDA_OK(cuStreamWaitEvent(to.stream, from.event, 0));
    CUDA_OK(cuMemcpyDtoDAsync_v2(to.device + at, from.device + at, bytes, to.stream));
    std::memcpy(to.on_device.data() + at, from.on_device.data() + at, bytes);
    CUDA_OK(cuEventRecord(to.event, to.stream));
    CUDA_OK(cuStreamWaitEvent(from.stream, to.event, 0));
  }
  void wait(Lane& lane) {
    auto again = [](CUresult result) { return result == CUDA_ERROR_NOT_READY; };
    switch (roll(5)) {
      case 0: CUDA_OK(cuStreamSynchronize(lane.stream)); break;
      case 1: CUDA_OK(cuCtxSynchronize()); break;
      case 2:
        while (again(cuStreamQuery(lane.stream))) {
        }
        break;
      case 3:
        CUDA_OK(cuEventRecord(lane.event, lane.stream));
        CUDA_OK(cuEventSynchronize(lane.event));
        break;
      default:
        CUDA_OK(cuEventRecord(lane.event, lane.stream));
        while (again(cuEventQuery(lane.event))) {
        }
    }
    check(lane);
    // What is complete may be touched.
    std::memset(lane.host, 7, 1000);
    std::memset(lane.on_host.data(), 7, 1000);
  }
  void replace_memory(Lane& lane) {
    CUDA_OK(cuMemFreeHost(lane.host));
    lock_memory(lane);
  }
  void replace_stream(Lane& lane) {
    CUDA_OK(cuEventRecord(lane.event, lane.stream));
    CUDA_OK(cuStreamDestroy_v2(lane.stream));
    CUDA_OK(cuStreamCreate(&lane.stream, CU_STREAM_NON_BLOCKING));
    CUDA_OK(cuStreamWaitEvent(lane.stream, lane.event, 0));
  }

  std::mt19937 random_;
  std::array<Lane, 2> lanes_;
};

TEST_CASE("random programs find in page-locked memory what a model says") {
  for (unsigned seed = 1; seed <= 6; ++seed) {
    CAPTURE(seed);
    StreamDevice device(seed);
    World world(device);
    world.use_device();
    Program program(seed);
    program.run(150);
  }
}

TEST_CASE("random programs of several threads do not disturb one another's copies") {
  StreamDevice device(99);
  World world(device);
  world.use_device();
  std::vector<std::thread> threads;
  for (unsigned seed = 1; seed <= 4; ++seed) {
    threads.emplace_back([seed, &world] {
      world.use_device();
      Program program(seed * 1000);
      program.run(80);
    });
  }
  for (auto& thread : threads) thread.join();
}

TEST_CASE("a copy to page-locked memory returns before its stream gets there") {
  AsyncCopy on(true);
  StreamDevice device(1);
  World world(device);
  world.use_device();
  CUstream stream = nullptr;
  CUdeviceptr memory = 0;
  void* host = nullptr;
  CUDA_OK(cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING));
  CUDA_OK(cuMemAlloc_v2(&memory, 20 << 20));
  CUDA_OK(cuMemAllocHost_v2(&host, 20 << 20));
  CUDA_OK(cuMemsetD8Async(memory, 5, 20 << 20, stream));
  CUDA_OK(cuStreamSynchronize(stream));
  device.hold(true);
  std::uint64_t waited = world.round_trips([&] {
    CUDA_OK(cuMemcpyDtoHAsync_v2(host, memory, 20 << 20, stream));
    CUDA_OK(cuMemsetD8Async(memory, 6, 20 << 20, stream));
  });
  CHECK(waited == 0);
  CHECK(static_cast<char*>(host)[0] == 0);
  device.hold(false);
  CUDA_OK(cuStreamSynchronize(stream));
  Bytes expected(20 << 20, std::byte{5});
  bool same = std::memcmp(host, expected.data(), expected.size()) == 0;
  CHECK(same);
}

TEST_CASE("bytes land for a program that makes no call, and freed memory waits for them") {
  AsyncCopy on(true);
  StreamDevice device(2);
  World world(device);
  world.use_device();
  CUdeviceptr memory = 0;
  void* host = nullptr;
  CUDA_OK(cuMemAlloc_v2(&memory, 1 << 20));
  CUDA_OK(cuMemAllocHost_v2(&host, 1 << 20));
  CUDA_OK(cuMemsetD8Async(memory, 5, 1 << 20, nullptr));
  CUDA_OK(cuMemcpyDtoHAsync_v2(host, memory, 1 << 20, nullptr));
  std::uint64_t asked = world.round_trips([&] {
    while (current_client()->landings().any()) {
    }
  });
  CHECK(asked == 0);
  CHECK(static_cast<unsigned char*>(host)[(1 << 20) - 1] == 5);
  CUDA_OK(cuMemcpyDtoHAsync_v2(host, memory, 1 << 20, nullptr));
  CUDA_OK(cuMemFreeHost(host));
  CHECK_FALSE(current_client()->landings().any());
}

TEST_CASE("what may be under way is bounded, and beyond it the program waits") {
  AsyncCopy on(true);
  StreamDevice device(3);
  World world(device);
  world.use_device();
  constexpr std::size_t kAll = limits::kLateBytesMax + limits::kLateCopyBytesMax;
  CUdeviceptr memory = 0;
  void* host = nullptr;
  CUDA_OK(cuMemAlloc_v2(&memory, kAll));
  CUDA_OK(cuMemAllocHost_v2(&host, kAll));
  CUDA_OK(cuMemsetD8Async(memory, 9, kAll, nullptr));
  CUDA_OK(cuCtxSynchronize());
  device.hold(true);
  std::thread later([&] {
    while (!current_client()->landings().any()) {
    }
    device.hold(false);
  });
  CHECK(world.round_trips([&] { CUDA_OK(cuMemcpyDtoHAsync_v2(host, memory, kAll, nullptr)); }) >=
        1);
  later.join();
  CUDA_OK(cuCtxSynchronize());
  Bytes expected(kAll, std::byte{9});
  bool same = std::memcmp(host, expected.data(), kAll) == 0;
  CHECK(same);
}

TEST_CASE("a copy that fails leaves the memory alone, is reported, and holds nothing up") {
  AsyncCopy on(true);
  StreamDevice device(4);
  World world(device);
  world.use_device();
  CUdeviceptr memory = 0;
  void* host = nullptr;
  CUDA_OK(cuMemAlloc_v2(&memory, 4096));
  CUDA_OK(cuMemAllocHost_v2(&host, 4096));
  device.fail_copies = CUDA_ERROR_INVALID_VALUE;
  CUDA_OK(cuMemcpyDtoHAsync_v2(host, memory, 4096, nullptr));
  CHECK(cuCtxSynchronize() == CUDA_ERROR_INVALID_VALUE);
  CUDA_OK(cuMemFreeHost(host));
}

TEST_CASE("a lost link ends the wait for what was to land") {
  AsyncCopy on(true);
  StreamDevice device(5);
  World world(device);
  world.use_device();
  CUdeviceptr memory = 0;
  void* host = nullptr;
  CUDA_OK(cuMemAlloc_v2(&memory, 1 << 20));
  CUDA_OK(cuMemAllocHost_v2(&host, 1 << 20));
  device.hold(true);
  CUDA_OK(cuMemcpyDtoHAsync_v2(host, memory, 1 << 20, nullptr));
  world.cut();
  CUDA_OK(cuMemFreeHost(host));
  CHECK(cuCtxSynchronize() == kLinkLost);
  device.hold(false);
}

TEST_CASE("in a capture the copy is refused at the call") {
  AsyncCopy on(true);
  StreamDevice device(6);
  World world(device);
  world.use_device();
  CUstream stream = nullptr;
  CUdeviceptr memory = 0;
  void* host = nullptr;
  CUgraph graph = nullptr;
  CUDA_OK(cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING));
  CUDA_OK(cuMemAlloc_v2(&memory, 4096));
  CUDA_OK(cuMemAllocHost_v2(&host, 4096));
  CUDA_OK(cuStreamBeginCapture_v2(stream, CU_STREAM_CAPTURE_MODE_GLOBAL));
  CHECK(cuMemcpyDtoHAsync_v2(host, memory, 4096, stream) == CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED);
  CUDA_OK(cuStreamEndCapture(stream, &graph));
  CUDA_OK(cuMemcpyDtoHAsync_v2(host, memory, 4096, stream));
  CUDA_OK(cuStreamSynchronize(stream));
}

TEST_CASE("with the switch off every copy is complete when it returns") {
  AsyncCopy off(false);
  StreamDevice device(7);
  World world(device);
  world.use_device();
  CUdeviceptr memory = 0;
  void* host = nullptr;
  CUDA_OK(cuMemAlloc_v2(&memory, 4096));
  CUDA_OK(cuMemAllocHost_v2(&host, 4096));
  CHECK(world.round_trips([&] { CUDA_OK(cuMemcpyDtoHAsync_v2(host, memory, 4096, nullptr)); }) ==
        1);
}

}  // namespace
}  // namespace farcall::shim
