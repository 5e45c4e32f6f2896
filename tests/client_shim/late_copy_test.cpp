// Copies to page-locked memory that nobody waits for: random programs against a model, on a device
// whose streams finish late and out of turn.
#include <array>
#include <random>
#include <thread>

#include "tests/client_shim/stream_device.h"
#include "tests/client_shim/world.h"
#include "tests/support/switched.h"
#include "transport/base/limits.h"

namespace farcall::shim {
namespace {

using Bytes = std::vector<std::byte>;

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
    device.direct = seed % 2 == 0;
    World world(device);
    world.use_device();
    Program program(seed);
    program.run(150);
  }
}

TEST_CASE("random programs of several threads do not disturb one another's copies") {
  StreamDevice device(99);
  device.direct = true;
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

// A program with as much page-locked memory as device memory.
struct Copier {
  explicit Copier(unsigned seed, std::size_t size, std::string_view off = "")
      : bytes(size), switched(off), device(seed), world(device) {
    world.use_device();
    CUDA_OK(cuMemAlloc_v2(&memory, bytes));
    CUDA_OK(cuMemAllocHost_v2(&host, bytes));
  }
  CUresult copy_out(CUstream stream = nullptr) {
    return cuMemcpyDtoHAsync_v2(host, memory, bytes, stream);
  }
  bool landed(int value) const {
    const Bytes expected(bytes, static_cast<std::byte>(value));
    return std::memcmp(host, expected.data(), bytes) == 0;
  }
  static bool any_under_way() { return current_client()->landings().any(); }

  const std::size_t bytes;
  const Switched switched;
  StreamDevice device;
  World world;
  CUdeviceptr memory = 0;
  void* host = nullptr;
};

TEST_CASE("a copy to page-locked memory returns before its stream gets there") {
  Copier copier(1, 20 << 20);
  CUstream stream = nullptr;
  CUDA_OK(cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING));
  CUDA_OK(cuMemsetD8Async(copier.memory, 5, copier.bytes, stream));
  CUDA_OK(cuStreamSynchronize(stream));
  copier.device.hold(true);
  std::uint64_t waited = copier.world.round_trips([&] {
    CUDA_OK(copier.copy_out(stream));
    CUDA_OK(cuMemsetD8Async(copier.memory, 6, copier.bytes, stream));
  });
  CHECK(waited == 0);
  CHECK(copier.landed(0));
  copier.device.hold(false);
  CUDA_OK(cuStreamSynchronize(stream));
  CHECK(copier.landed(5));
}

TEST_CASE("bytes land for a program that makes no call, and freed memory waits for them") {
  Copier copier(2, 1 << 20);
  CUDA_OK(cuMemsetD8Async(copier.memory, 5, copier.bytes, nullptr));
  CUDA_OK(copier.copy_out());
  std::uint64_t asked = copier.world.round_trips([&] {
    while (Copier::any_under_way()) {
    }
  });
  CHECK(asked == 0);
  CHECK(copier.landed(5));
  CUDA_OK(copier.copy_out());
  CUDA_OK(cuMemFreeHost(copier.host));
  CHECK_FALSE(Copier::any_under_way());
}

TEST_CASE("what may be under way is bounded, and beyond it the program waits") {
  Copier copier(3, limits::kLateBytesMax + limits::kLateCopyBytesMax);
  CUDA_OK(cuMemsetD8Async(copier.memory, 9, copier.bytes, nullptr));
  CUDA_OK(cuCtxSynchronize());
  copier.device.hold(true);
  std::thread later([&] {
    while (!Copier::any_under_way()) {
    }
    copier.device.hold(false);
  });
  CHECK(copier.world.round_trips([&] { CUDA_OK(copier.copy_out()); }) >= 1);
  later.join();
  CUDA_OK(cuCtxSynchronize());
  CHECK(copier.landed(9));
}

TEST_CASE("a copy that fails leaves the memory alone, is reported, and holds nothing up") {
  Copier copier(4, 4096);
  copier.device.fail_copies = CUDA_ERROR_INVALID_VALUE;
  CUDA_OK(copier.copy_out());
  CHECK(cuCtxSynchronize() == CUDA_ERROR_INVALID_VALUE);
  CHECK(copier.landed(0));
  CUDA_OK(cuMemFreeHost(copier.host));
}

TEST_CASE("a lost link ends the wait for what was to land") {
  Copier copier(5, 1 << 20);
  copier.device.hold(true);
  CUDA_OK(copier.copy_out());
  copier.world.cut();
  CUDA_OK(cuMemFreeHost(copier.host));
  CHECK(cuCtxSynchronize() == kLinkLost);
  copier.device.hold(false);
}

TEST_CASE("in a capture that a driver cannot tell of the copy is refused at the call") {
  Copier copier(6, 4096);
  CUstream stream = nullptr;
  CUgraph graph = nullptr;
  CUDA_OK(cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING));
  CUDA_OK(cuStreamBeginCapture_v2(stream, CU_STREAM_CAPTURE_MODE_GLOBAL));
  CHECK(copier.copy_out(stream) == CUDA_ERROR_NOT_SUPPORTED);
  CUDA_OK(cuStreamEndCapture(stream, &graph));
  CUDA_OK(copier.copy_out(stream));
  CUDA_OK(cuStreamSynchronize(stream));
}

TEST_CASE("with the switch off every copy is complete when it returns") {
  Copier copier(7, 4096, "async-copy");
  CHECK(copier.world.round_trips([&] { CUDA_OK(copier.copy_out()); }) == 1);
}

}  // namespace
}  // namespace farcall::shim
