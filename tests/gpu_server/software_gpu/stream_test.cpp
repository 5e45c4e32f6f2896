#include <poll.h>

#include <atomic>
#include <mutex>
#include <thread>
#include <vector>

#include "gpu_server/software_gpu/context.h"
#include "gpu_server/software_gpu/driver.h"
#include "tests/gpu_server/software_gpu/driver_session.h"

namespace farcall::softgpu::tests {
namespace {

CUstream make_stream(unsigned flags) {
  CUstream stream = nullptr;
  REQUIRE(cuStreamCreate(&stream, flags) == CUDA_SUCCESS);
  return stream;
}

CUevent make_event(unsigned flags = 0) {
  CUevent event = nullptr;
  REQUIRE(cuEventCreate(&event, flags) == CUDA_SUCCESS);
  return event;
}

}  // namespace

TEST_CASE("work of one stream runs in order") {
  DriverSession session;
  CUstream stream = make_stream(0);
  struct Step {
    std::vector<int>* seen;
    int number;
  };
  std::vector<int> seen;
  std::vector<Step> steps;
  for (int i = 0; i < 50; ++i) steps.push_back({&seen, i});
  for (Step& step : steps) {
    CHECK(cuLaunchHostFunc(
              stream,
              [](void* data) {
                auto* self = static_cast<Step*>(data);
                self->seen->push_back(self->number);
              },
              &step) == CUDA_SUCCESS);
  }
  CHECK(cuStreamSynchronize(stream) == CUDA_SUCCESS);
  REQUIRE(seen.size() == 50);
  for (int i = 0; i < 50; ++i) CHECK(seen[static_cast<std::size_t>(i)] == i);
  CHECK(cuStreamDestroy_v2(stream) == CUDA_SUCCESS);
  CHECK(cuStreamSynchronize(stream) == CUDA_ERROR_INVALID_HANDLE);
}

TEST_CASE("who queues more than a stream takes waits until work was done, and loses none") {
  DriverSession session;
  CUstream handle = make_stream(0);
  std::shared_ptr<Stream> stream;
  REQUIRE(find_stream(handle, &stream) == CUDA_SUCCESS);
  Gate gate;
  CHECK(cuLaunchHostFunc(handle, &Gate::wait_at, &gate) == CUDA_SUCCESS);
  constexpr std::size_t kMore = 3 * kStreamTasksMax;
  std::atomic<std::size_t> queued{0};
  std::atomic<std::size_t> done{0};
  std::thread pusher([&, context = session.context()] {
    CHECK(cuCtxSetCurrent(context) == CUDA_SUCCESS);
    const auto count = [](void* data) { ++*static_cast<std::atomic<std::size_t>*>(data); };
    for (; queued < kMore; ++queued) {
      CHECK(cuLaunchHostFunc(handle, count, &done) == CUDA_SUCCESS);
    }
  });
  while (stream->waiting_for_room() == 0 && queued < kMore) ::poll(nullptr, 0, 1);
  // The gate itself is no longer in the queue, or still is.
  CHECK(queued <= kStreamTasksMax);
  CHECK(done == 0);
  gate.open();
  pusher.join();
  CHECK(cuStreamSynchronize(handle) == CUDA_SUCCESS);
  CHECK(done == kMore);
  CHECK(cuStreamDestroy_v2(handle) == CUDA_SUCCESS);
}

TEST_CASE("the legacy stream waits for blocking streams and they for it") {
  DriverSession session;
  CUstream blocking = make_stream(0);
  CUstream free_running = make_stream(CU_STREAM_NON_BLOCKING);
  Gate gate;
  CHECK(cuLaunchHostFunc(blocking, &Gate::wait_at, &gate) == CUDA_SUCCESS);
  CUdeviceptr device = session.allocate(4096);
  CHECK(cuMemsetD8Async(device, 1, 4096, nullptr) == CUDA_SUCCESS);
  CHECK(cuStreamQuery(nullptr) == CUDA_ERROR_NOT_READY);
  CHECK(cuStreamQuery(blocking) == CUDA_ERROR_NOT_READY);
  CHECK(cuStreamQuery(free_running) == CUDA_SUCCESS);
  CUstream later = make_stream(0);
  CHECK(cuMemsetD8Async(device, 2, 4096, later) == CUDA_SUCCESS);
  CHECK(cuStreamQuery(later) == CUDA_ERROR_NOT_READY);
  gate.open();
  CHECK(cuCtxSynchronize() == CUDA_SUCCESS);
  unsigned char first = 0;
  CHECK(cuMemcpyDtoH_v2(&first, device, 1) == CUDA_SUCCESS);
  CHECK(first == 2);
}

TEST_CASE("each thread has a default stream of its own") {
  DriverSession session;
  Gate gate;
  CHECK(cuLaunchHostFunc_ptsz(nullptr, &Gate::wait_at, &gate) == CUDA_SUCCESS);
  CHECK(cuStreamQuery_ptsz(nullptr) == CUDA_ERROR_NOT_READY);
  CHECK(cuStreamQuery(CU_STREAM_PER_THREAD) == CUDA_ERROR_NOT_READY);
  unsigned long long mine = 0, legacy = 0;
  CHECK(cuStreamGetId(CU_STREAM_PER_THREAD, &mine) == CUDA_SUCCESS);
  CHECK(cuStreamGetId(CU_STREAM_LEGACY, &legacy) == CUDA_SUCCESS);
  CHECK(mine != legacy);
  std::thread([&] {
    CHECK(cuCtxSetCurrent(session.context()) == CUDA_SUCCESS);
    CHECK(cuStreamQuery(CU_STREAM_PER_THREAD) == CUDA_SUCCESS);
    unsigned long long other = 0;
    CHECK(cuStreamGetId_ptsz(nullptr, &other) == CUDA_SUCCESS);
    CHECK(other != mine);
  }).join();
  gate.open();
  CHECK(cuStreamSynchronize_ptsz(nullptr) == CUDA_SUCCESS);
}

TEST_CASE("an event is done when the work before it is, and another stream can wait for it") {
  DriverSession session;
  CUstream first = make_stream(CU_STREAM_NON_BLOCKING);
  CUstream second = make_stream(CU_STREAM_NON_BLOCKING);
  CUevent event = make_event(CU_EVENT_DISABLE_TIMING);
  CHECK(cuEventQuery(event) == CUDA_SUCCESS);  // never recorded
  Gate gate;
  std::atomic<int> reached{0};
  CHECK(cuLaunchHostFunc(first, &Gate::wait_at, &gate) == CUDA_SUCCESS);
  CHECK(cuEventRecord(event, first) == CUDA_SUCCESS);
  CHECK(cuEventQuery(event) == CUDA_ERROR_NOT_READY);
  CHECK(cuStreamWaitEvent(second, event, 0) == CUDA_SUCCESS);
  CHECK(cuLaunchHostFunc(
            second, [](void* data) { *static_cast<std::atomic<int>*>(data) = 1; }, &reached) ==
        CUDA_SUCCESS);
  CHECK(cuStreamQuery(second) == CUDA_ERROR_NOT_READY);
  CHECK(reached == 0);
  gate.open();
  CHECK(cuEventSynchronize(event) == CUDA_SUCCESS);
  CHECK(cuStreamSynchronize(second) == CUDA_SUCCESS);
  CHECK(reached == 1);
  CHECK(cuEventDestroy_v2(event) == CUDA_SUCCESS);
  CHECK(cuEventQuery(event) == CUDA_ERROR_INVALID_HANDLE);
}

TEST_CASE("elapsed time needs two recorded, finished, timed events") {
  DriverSession session;
  CUstream stream = make_stream(0);
  CUevent start = make_event(), end = make_event(), untimed = make_event(CU_EVENT_DISABLE_TIMING);
  float ms = -1;
  CHECK(cuEventElapsedTime_v2(&ms, start, end) == CUDA_ERROR_INVALID_HANDLE);
  CHECK(cuEventRecord(start, stream) == CUDA_SUCCESS);
  CHECK(cuEventRecord(untimed, stream) == CUDA_SUCCESS);
  Gate gate;
  CHECK(cuLaunchHostFunc(stream, &Gate::wait_at, &gate) == CUDA_SUCCESS);
  CHECK(cuEventRecord(end, stream) == CUDA_SUCCESS);
  CHECK(cuEventElapsedTime_v2(&ms, start, end) == CUDA_ERROR_NOT_READY);
  gate.open();
  CHECK(cuEventSynchronize(end) == CUDA_SUCCESS);
  CHECK(cuEventElapsedTime_v2(&ms, start, end) == CUDA_SUCCESS);
  CHECK(ms >= 0);
  CHECK(cuEventElapsedTime_v2(&ms, start, untimed) == CUDA_ERROR_INVALID_HANDLE);
}

TEST_CASE("a destroyed stream still finishes its work") {
  DriverSession session;
  CUstream stream = make_stream(CU_STREAM_NON_BLOCKING);
  Gate gate;
  std::atomic<int> reached{0};
  CHECK(cuLaunchHostFunc(stream, &Gate::wait_at, &gate) == CUDA_SUCCESS);
  CHECK(cuLaunchHostFunc(
            stream, [](void* data) { *static_cast<std::atomic<int>*>(data) = 1; }, &reached) ==
        CUDA_SUCCESS);
  CHECK(cuStreamDestroy_v2(stream) == CUDA_SUCCESS);
  gate.open();
  CHECK(cuCtxSynchronize() == CUDA_SUCCESS);
  CHECK(reached == 1);
}

TEST_CASE("an asynchronous copy from pageable memory takes the bytes along") {
  DriverSession session;
  CUstream stream = make_stream(CU_STREAM_NON_BLOCKING);
  Gate gate;
  CUdeviceptr device = session.allocate(4);
  int value = 11;
  CHECK(cuLaunchHostFunc(stream, &Gate::wait_at, &gate) == CUDA_SUCCESS);
  CHECK(cuMemcpyHtoDAsync_v2(device, &value, 4, stream) == CUDA_SUCCESS);
  value = 12;
  gate.open();
  CHECK(cuStreamSynchronize(stream) == CUDA_SUCCESS);
  CHECK(cuMemcpyDtoH_v2(&value, device, 4) == CUDA_SUCCESS);
  CHECK(value == 11);
}

TEST_CASE("brief work on an idle stream is over when the call returns") {
  DriverSession session;
  CUstream stream = make_stream(CU_STREAM_NON_BLOCKING);
  CUdeviceptr device = session.allocate(1 << 20);
  CHECK(cuMemsetD8Async(device, 1, 64, stream) == CUDA_SUCCESS);
  CHECK(cuStreamQuery(stream) == CUDA_SUCCESS);
  Gate gate;
  CHECK(cuLaunchHostFunc(stream, &Gate::wait_at, &gate) == CUDA_SUCCESS);
  CHECK(cuMemsetD8Async(device, 2, 64, stream) == CUDA_SUCCESS);
  CHECK(cuStreamQuery(stream) == CUDA_ERROR_NOT_READY);
  gate.open();
  CHECK(cuStreamSynchronize(stream) == CUDA_SUCCESS);
  unsigned char seen = 0;
  CHECK(cuMemcpyDtoH_v2(&seen, device, 1) == CUDA_SUCCESS);
  CHECK(seen == 2);
}

TEST_CASE("what a thread does itself is followed by what is queued behind it") {
  DriverSession session;
  auto& context = *reinterpret_cast<Context*>(session.context());
  auto stream = context.open_stream(StreamKind::kNonBlocking, 0);
  auto other = context.open_stream(StreamKind::kNonBlocking, 0);
  auto mine = std::make_shared<Completion>();
  {
    std::lock_guard lock(context.order());
    stream->claim(mine);
  }
  std::atomic<bool> over{false};
  bool seen = false;
  auto later = context.submit(*stream, {[&] { seen = over.load(); }});
  // Another stream's thread gets as far in the meantime.
  for (int i = 0; i < 20; ++i) context.submit(*other, {[] {}})->wait();
  CHECK_FALSE(later->done());
  over = true;
  mine->finish(1);
  later->wait();
  CHECK(seen);
  context.close_stream(stream);
  context.close_stream(other);
}

TEST_CASE("several threads use streams of one context at once") {
  DriverSession session;
  CUcontext context = session.context();
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([context, t] {
      CHECK(cuCtxSetCurrent(context) == CUDA_SUCCESS);
      for (int round = 0; round < 20; ++round) {
        CUstream stream = make_stream(round % 2 == 0 ? 0 : CU_STREAM_NON_BLOCKING);
        CUevent event = make_event();
        CUdeviceptr device = 0;
        CHECK(cuMemAlloc_v2(&device, 4096) == CUDA_SUCCESS);
        CHECK(cuMemsetD8Async(device, static_cast<unsigned char>(t), 4096, stream) == CUDA_SUCCESS);
        // A non-blocking stream has no order with the legacy one of its own accord.
        CHECK(cuStreamSynchronize(stream) == CUDA_SUCCESS);
        CHECK(cuMemsetD8Async(device, static_cast<unsigned char>(t), 4096, nullptr) ==
              CUDA_SUCCESS);
        CHECK(cuEventRecord(event, stream) == CUDA_SUCCESS);
        CHECK(cuEventSynchronize(event) == CUDA_SUCCESS);
        unsigned char seen = 99;
        CHECK(cuMemcpyDtoH_v2(&seen, device + 100, 1) == CUDA_SUCCESS);
        CHECK(seen == t);
        CHECK(cuMemFree_v2(device) == CUDA_SUCCESS);
        CHECK(cuEventDestroy_v2(event) == CUDA_SUCCESS);
        CHECK(cuStreamDestroy_v2(stream) == CUDA_SUCCESS);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
}

}  // namespace farcall::softgpu::tests
