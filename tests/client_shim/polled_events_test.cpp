// Events and streams that programs ask for again and again: whatever is answered without a round
// trip, or ahead of its question, must be true of the device.
#include <array>
#include <random>

#include "tests/client_shim/stream_device.h"
#include "tests/client_shim/world.h"
#include "tests/support/switched.h"

using namespace farcall;
using namespace farcall::shim;

namespace {

// A stream whose work is to count upwards in a byte of device memory.
struct Lane {
  std::mutex mutex;
  CUstream stream = nullptr;
  CUdeviceptr cell = 0;
  unsigned char count = 0;  // of the last fill that was posted
};

// An event, and what must be so once it is done.
struct Mark {
  std::mutex mutex;
  CUevent event = nullptr;
  Lane* lane = nullptr;
  unsigned char count = 0;
  const unsigned char* landed = nullptr;  // page-locked memory that has `count` by then; or null
};

class Program {
 public:
  static constexpr std::size_t kLanes = 4, kMarks = 12, kSlots = 4096;

  explicit Program(StreamDevice& device) : device_(device) {
    CUDA_OK(cuCtxGetCurrent(&context_));
    CUdeviceptr cells = 0;
    CUDA_OK(cuMemAlloc_v2(&cells, kLanes * 256));
    CUDA_OK(cuMemsetD8_v2(cells, 0, kLanes * 256));
    for (std::size_t i = 0; i < kLanes; ++i) {
      lanes_[i].cell = cells + i * 256;
      CUDA_OK(cuStreamCreate(&lanes_[i].stream, CU_STREAM_NON_BLOCKING));
    }
    for (Mark& mark : marks_) CUDA_OK(cuEventCreate(&mark.event, 0));
    void* slots = nullptr;
    CUDA_OK(cuMemAllocHost_v2(&slots, kSlots));
    slots_ = static_cast<unsigned char*>(slots);
  }

  void run(unsigned seed, int steps) {
    CUDA_OK(cuCtxSetCurrent(context_));
    std::mt19937 random(seed);
    for (int i = 0; i < steps; ++i) step(random);
  }
  // Everything gets done, and is seen to be.
  void finish() {
    for (Mark& mark : marks_) {
      CUresult now = CUDA_ERROR_NOT_READY;
      for (; now == CUDA_ERROR_NOT_READY; ++asked) now = cuEventQuery(mark.event);
      judge(mark, now);
    }
    CHECK(wrong == 0);
  }
  std::atomic<int> wrong{0};
  std::atomic<std::uint64_t> asked{0};

 private:
  void check(bool holds) {
    if (!holds) ++wrong;
  }
  void judge(const Mark& mark, CUresult answer) {
    ++asked;
    check(answer == CUDA_SUCCESS || answer == CUDA_ERROR_NOT_READY);
    if (answer != CUDA_SUCCESS || mark.lane == nullptr) return;
    check(device_.peek(mark.lane->cell) >= mark.count);
    if (mark.landed != nullptr) check(*mark.landed == mark.count);
  }
  void judge(const Lane& lane, CUresult answer) {
    ++asked;
    check(answer == CUDA_SUCCESS || answer == CUDA_ERROR_NOT_READY);
    if (answer == CUDA_SUCCESS) check(device_.peek(lane.cell) >= lane.count);
  }
  void count_up(Lane& lane) {
    if (lane.count == 250) return;
    check(cuMemsetD8Async(lane.cell, ++lane.count, 1, lane.stream) == CUDA_SUCCESS);
  }
  void record(Mark& mark, Lane& lane, bool lands) {
    count_up(lane);
    mark.landed = nullptr;
    const std::size_t slot = next_slot_++;
    if (lands && slot < kSlots) {
      check(cuMemcpyDtoHAsync_v2(slots_ + slot, lane.cell, 1, lane.stream) == CUDA_SUCCESS);
      mark.landed = slots_ + slot;
    }
    check(cuEventRecord(mark.event, lane.stream) == CUDA_SUCCESS);
    mark.lane = &lane;
    mark.count = lane.count;
  }
  void renew(Mark& mark) {
    check(cuEventDestroy_v2(mark.event) == CUDA_SUCCESS);
    check(cuEventCreate(&mark.event, 0) == CUDA_SUCCESS);
    mark.lane = nullptr;
    mark.landed = nullptr;
  }
  void read_back(Lane& lane) {
    unsigned char now = 0;
    ++asked;
    check(cuMemcpyDtoHAsync_v2(&now, lane.cell, 1, lane.stream) == CUDA_SUCCESS);
    check(now == lane.count);
    judge(lane, cuStreamSynchronize(lane.stream));
  }
  void wait_for_all() {
    std::array<unsigned char, kLanes> counts;
    for (std::size_t i = 0; i < kLanes; ++i) {
      std::lock_guard lock(lanes_[i].mutex);
      counts[i] = lanes_[i].count;
    }
    ++asked;
    check(cuCtxSynchronize() == CUDA_SUCCESS);
    for (std::size_t i = 0; i < kLanes; ++i) check(device_.peek(lanes_[i].cell) >= counts[i]);
  }
  void step(std::mt19937& random) {
    Mark& mark = marks_[random() % kMarks];
    Lane& lane = lanes_[random() % kLanes];
    const auto what = random() % 100;
    if (what < 2) return wait_for_all();
    if (what < 25) {
      std::scoped_lock lock(mark.mutex, lane.mutex);
      return record(mark, lane, what < 10);
    }
    if (what < 75) {
      std::lock_guard lock(mark.mutex);
      if (what < 65) return judge(mark, cuEventQuery(mark.event));
      if (what < 72) return judge(mark, cuEventSynchronize(mark.event));
      return renew(mark);
    }
    std::lock_guard lock(lane.mutex);
    if (what < 85) return count_up(lane);
    if (what < 90) return read_back(lane);
    judge(lane, what < 95 ? cuStreamQuery(lane.stream) : cuStreamSynchronize(lane.stream));
  }

  StreamDevice& device_;
  CUcontext context_ = nullptr;
  std::array<Lane, kLanes> lanes_;
  std::array<Mark, kMarks> marks_;
  unsigned char* slots_ = nullptr;
  std::atomic<std::size_t> next_slot_{0};
};

}  // namespace

TEST_CASE("random programs of several threads are told only what is so") {
  Switched all_on("");
  for (unsigned seed = 1; seed <= 8; ++seed) {
    StreamDevice device(seed);
    World world(device);
    world.use_device();
    Program program(device);
    const std::uint64_t before = current_client()->session().stats().round_trips;
    std::vector<std::thread> threads;
    for (unsigned i = 0; i < 1 + seed % 4; ++i) {
      threads.emplace_back([&program, seed, i] { program.run(100 * seed + i, 400); });
    }
    for (std::thread& thread : threads) thread.join();
    program.finish();
    CAPTURE(seed);
    CHECK(program.wrong == 0);
    CHECK(current_client()->session().stats().round_trips - before < program.asked);
  }
}

TEST_CASE("a reply about something else brings word of the events that are done") {
  Switched all_on("");
  StreamDevice device(1);
  World world(device);
  world.use_device();
  std::array<CUevent, 6> events;
  CUstream stream = nullptr;
  CUDA_OK(cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING));
  CUdeviceptr memory = 0;
  CUDA_OK(cuMemAlloc_v2(&memory, 256));
  for (CUevent& event : events) {
    CUDA_OK(cuEventCreate(&event, 0));
    CUDA_OK(cuEventQuery(event));  // the kind of event that is asked for
  }
  for (int round = 0; round < 3; ++round) {
    for (CUevent event : events) {
      CUDA_OK(cuMemsetD8Async(memory, 1, 16, stream));
      CUDA_OK(cuEventRecord(event, stream));
    }
    // Until the last is done; from then on every one is known.
    CHECK(world.round_trips([&] {
      while (cuEventQuery(events.back()) == CUDA_ERROR_NOT_READY) {
      }
    }) >= 1);
    CHECK(world.round_trips([&] {
      for (CUevent event : events) CUDA_OK(cuEventQuery(event));
    }) == 0);
    // Told ahead: of a call that has nothing to do with them.
    for (CUevent event : events) CUDA_OK(cuEventRecord(event, stream));
    std::size_t free = 0, total = 0;
    (void)cuMemGetInfo_v2(&free, &total);  // by now they are in the device's streams
    device.drain();
    (void)cuMemGetInfo_v2(&free, &total);
    CUDA_OK(cuMemsetD8Async(memory, 1, 16, stream));  // hides nothing
    CHECK(world.round_trips([&] {
      for (CUevent event : events) CUDA_OK(cuEventQuery(event));
    }) == 0);
    // A record that is not done is asked for, however often.
    device.hold(true);
    CUDA_OK(cuEventRecord(events[0], stream));
    CHECK(world.round_trips([&] {
      for (int i = 0; i < 3; ++i) CHECK(cuEventQuery(events[0]) == CUDA_ERROR_NOT_READY);
    }) == 3);
    device.hold(false);
    while (cuEventQuery(events[0]) == CUDA_ERROR_NOT_READY) {
    }
  }
}

TEST_CASE("without tell-done on the client every event is asked for, with the same answers") {
  Switched off("tell-done,skip-sync");
  StreamDevice device(3);
  World world(device);
  world.use_device();
  Program program(device);
  program.run(7, 200);
  program.finish();
  CHECK(program.wrong == 0);
}
