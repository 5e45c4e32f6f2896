#include "client_shim/completions.h"

#include "client_shim/known_waits.h"
#include "tests/client_shim/world.h"
#include "tests/support/switched.h"

using namespace farcall;
using namespace farcall::shim;

namespace {

namespace row = api::row;

struct Page {
  CUdeviceptr address = 0;
  Page() { CUDA_OK(cuMemAlloc_v2(&address, 4096)); }
  void fill() { CUDA_OK(cuMemsetD8_v2(address, 1, 16)); }
};

std::uint64_t trips(World& world, CUresult (*wait)()) {
  return world.round_trips([&] { CUDA_OK(wait()); });
}
constexpr auto wait_all = [] { return cuCtxSynchronize(); };

const auto kContext = reinterpret_cast<CUcontext>(0x10);
const auto kEvent = reinterpret_cast<CUevent>(0x20);
const auto kStream = reinterpret_cast<CUstream>(0x3000);
const auto kOther = reinterpret_cast<CUstream>(0x4000);

void record(Completions& known, const WorkPlace& place, std::uint32_t call,
            CUevent event = kEvent) {
  const std::uint64_t before = known.work();
  known.sent(row::cuEventRecord::info(), false);
  known.recorded(event, place, {call, before});
}

}  // namespace

TEST_CASE("a wait with nothing new to wait for costs no round trip") {
  Switched all_on("");
  FakeDevice device;
  World world(device);
  world.use_device();
  Page memory;
  CHECK(trips(world, wait_all) == 1);
  CHECK(trips(world, wait_all) == 0);
  memory.fill();
  CHECK(trips(world, wait_all) == 1);
  CHECK(trips(world, wait_all) == 0);
  // What only looks, starts nothing.
  std::vector<unsigned char> host(16);
  CUDA_OK(cuMemcpyDtoH_v2(host.data(), memory.address, host.size()));
  CHECK(trips(world, wait_all) == 0);
  CHECK(trips(world, [] { return cuStreamSynchronize(nullptr); }) == 0);
}

TEST_CASE("a wait sees what another thread started, and another thread's wait counts") {
  Switched all_on("");
  FakeDevice device;
  World world(device);
  world.use_device();
  Page memory;
  CHECK(trips(world, wait_all) == 1);
  CUcontext context = nullptr;
  CUDA_OK(cuCtxGetCurrent(&context));
  auto elsewhere = [&](auto body) {
    std::thread([&] {
      CUDA_OK(cuCtxSetCurrent(context));
      body();
    }).join();
  };
  elsewhere([&] { memory.fill(); });
  CHECK(trips(world, wait_all) == 1);
  elsewhere([&] {
    memory.fill();
    CUDA_OK(cuCtxSynchronize());
  });
  CHECK(trips(world, wait_all) == 0);
}

TEST_CASE("a failure that is still to be reported is reported by the wait") {
  Switched all_on("");
  FakeDevice device;
  World world(device);
  world.use_device();
  Page memory;
  CUcontext context = nullptr;
  CUDA_OK(cuCtxGetCurrent(&context));
  device.fail_memset = CUDA_ERROR_INVALID_VALUE;
  memory.fill();
  std::thread([&] {
    CUDA_OK(cuCtxSetCurrent(context));
    CUDA_OK(cuCtxSynchronize());
  }).join();
  CHECK(cuCtxSynchronize() == CUDA_ERROR_INVALID_VALUE);
  CUDA_OK(cuCtxSynchronize());
}

TEST_CASE("an event is done when its stream has been waited for since") {
  Switched all_on("");
  FakeDevice device;
  World world(device);
  world.use_device();
  static CUevent event = nullptr;
  static CUstream stream = nullptr;
  CUDA_OK(cuStreamCreate(&stream, 0));
  CUDA_OK(cuEventCreate(&event, 0));
  auto query = [] { return cuEventQuery(event); };
  CHECK(trips(world, query) == 1);  // never recorded: the driver's to say
  CUDA_OK(cuEventRecord(event, stream));
  CHECK(trips(world, [] { return cuStreamSynchronize(stream); }) == 1);
  CHECK(trips(world, query) == 0);
  CUDA_OK(cuEventRecord(event, stream));
  CHECK(trips(world, wait_all) == 1);
  CHECK(trips(world, query) == 0);
  CUDA_OK(cuEventRecord(event, stream));
  CHECK(trips(world, query) == 1);
  CHECK(trips(world, query) == 0);
  CHECK(trips(world, [] { return cuStreamSynchronize(stream); }) == 1);
  CUDA_OK(cuEventDestroy_v2(event));
  CHECK(world.round_trips([] { (void)cuEventQuery(event); }) == 1);
}

TEST_CASE("every wait asks when skipping is turned off, and in strict mode") {
  FakeDevice device;
  {
    Switched off("skip-sync");
    World world(device);
    world.use_device();
    CHECK(trips(world, wait_all) == 1);
    CHECK(trips(world, wait_all) == 1);
  }
  Switched all_on("");
  World strict(device, true);
  strict.use_device();
  CHECK(trips(strict, wait_all) == 1);
  CHECK(trips(strict, wait_all) == 1);
}

TEST_CASE("a query that succeeded stands for the next one, and not for a wait") {
  Switched all_on("");
  FakeDevice device;
  World world(device);
  world.use_device();
  static CUevent event = nullptr;
  CUDA_OK(cuEventCreate(&event, 0));
  CUDA_OK(cuEventRecord(event, nullptr));
  auto query = [] { return cuEventQuery(event); };
  auto wait = [] { return cuEventSynchronize(event); };
  CHECK(trips(world, query) == 1);
  CHECK(trips(world, query) == 0);
  // What kernels printed comes with a wait only.
  CHECK(trips(world, wait) == 1);
  CHECK(trips(world, wait) == 0);
}

TEST_CASE("work posted since does not hide that an event before it is done") {
  Switched all_on("");
  FakeDevice device;
  World world(device);
  world.use_device();
  Page memory;
  static CUevent event = nullptr;
  CUDA_OK(cuEventCreate(&event, 0));
  CUDA_OK(cuEventRecord(event, nullptr));
  CHECK(trips(world, wait_all) == 1);
  memory.fill();
  auto query = [] { return cuEventQuery(event); };
  CHECK(trips(world, query) == 0);
  CUDA_OK(cuEventRecord(event, nullptr));
  CHECK(trips(world, query) == 1);
}

TEST_CASE("after a failure that another call reported, nothing is taken for done") {
  Switched all_on("");
  FakeDevice device;
  World world(device);
  world.use_device();
  Page memory;
  CUevent event = nullptr;
  CUDA_OK(cuEventCreate(&event, 0));
  CUDA_OK(cuEventRecord(event, nullptr));
  CUDA_OK(cuCtxSynchronize());
  device.fail_memset = CUDA_ERROR_INVALID_VALUE;
  memory.fill();
  CHECK(cuCtxSynchronize() == CUDA_ERROR_INVALID_VALUE);
  CHECK(world.round_trips([&] { CUDA_OK(cuEventQuery(event)); }) == 1);
}

TEST_CASE("a thread that has not heard of its own failures asks, whatever others know") {
  Switched all_on("");
  FakeDevice device;
  World world(device);
  world.use_device();
  Page memory;
  CUcontext context = nullptr;
  CUDA_OK(cuCtxGetCurrent(&context));
  CUevent event = nullptr;
  CUDA_OK(cuEventCreate(&event, 0));
  device.fail_memset = CUDA_ERROR_INVALID_VALUE;
  memory.fill();
  CUDA_OK(cuEventRecord(event, nullptr));
  std::thread([&] {
    CUDA_OK(cuCtxSetCurrent(context));
    CUDA_OK(cuCtxSynchronize());
    CHECK(world.round_trips([&] { CUDA_OK(cuEventQuery(event)); }) == 0);
  }).join();
  CHECK(cuEventQuery(event) == CUDA_ERROR_INVALID_VALUE);
}

TEST_CASE("a copy back proves its stream, so the synchronize behind it costs nothing") {
  Switched all_on("");
  FakeDevice device;
  World world(device);
  world.use_device();
  Page memory;
  memory.fill();
  std::vector<unsigned char> host(16);
  CHECK(world.round_trips([&] {
    CUDA_OK(cuMemcpyDtoH_v2(host.data(), memory.address, host.size()));
    CUDA_OK(cuStreamSynchronize(nullptr));
  }) == 1);
  CHECK(trips(world, wait_all) == 1);
}

TEST_CASE("what is done of a context goes with it") {
  Switched all_on("");
  FakeDevice device;
  World world(device);
  world.use_device();
  CUevent event = nullptr;
  CUDA_OK(cuEventCreate(&event, 0));
  CUDA_OK(cuEventRecord(event, nullptr));
  CUDA_OK(cuCtxSynchronize());
  CHECK(world.round_trips([&] { CUDA_OK(cuEventQuery(event)); }) == 0);
  CUDA_OK(cuDevicePrimaryCtxReset_v2(0));
  CHECK(world.round_trips([&] { (void)cuEventQuery(event); }) == 1);
}

TEST_CASE("a proof holds for its own place and no other") {
  Completions known;
  const auto whole = WorkPlace::whole(kContext);
  const auto stream = WorkPlace::of(kContext, kStream, 1);
  const auto mine = WorkPlace::of(kContext, CU_STREAM_PER_THREAD, 1);
  known.sent(row::cuLaunchKernel::info(), false);
  known.prove(mine, known.work(), Proof::kWaited);
  CHECK(known.is_idle(mine, Proof::kWaited));
  CHECK_FALSE(known.is_idle(WorkPlace::of(kContext, CU_STREAM_PER_THREAD, 2), Proof::kSeen));
  CHECK_FALSE(known.is_idle(whole, Proof::kSeen));
  known.prove(whole, known.work(), Proof::kWaited);
  CHECK(known.is_idle(whole, Proof::kWaited));
  CHECK(known.is_idle(WorkPlace::of(kContext, nullptr, 1), Proof::kWaited));
  CHECK_FALSE(known.is_idle(stream, Proof::kSeen));  // may be another context's
  CHECK_FALSE(known.is_idle(WorkPlace::whole(reinterpret_cast<CUcontext>(0x11)), Proof::kSeen));
  known.prove(stream, known.work(), Proof::kSeen);
  CHECK(known.is_idle(stream, Proof::kSeen));
  CHECK_FALSE(known.is_idle(stream, Proof::kWaited));
  known.sent(row::cuEventQuery::info(), true);
  CHECK(known.is_idle(stream, Proof::kSeen));
  known.sent(row::cuMemFree_v2::info(), false);
  CHECK_FALSE(known.is_idle(stream, Proof::kSeen));
  CHECK_FALSE(known.is_idle(whole, Proof::kSeen));
}

TEST_CASE("waiting for a context proves the streams made in it, until they are destroyed") {
  Completions known;
  const auto whole = WorkPlace::whole(kContext);
  known.made(kStream, kContext);
  known.made(kOther, reinterpret_cast<CUcontext>(0x11));
  known.prove(whole, known.work(), Proof::kWaited);
  // Wherever it is used from.
  CHECK(known.is_idle(WorkPlace::of(kContext, kStream, 1), Proof::kWaited));
  CHECK(known.is_idle(WorkPlace::of(reinterpret_cast<CUcontext>(0x11), kStream, 1), Proof::kSeen));
  CHECK_FALSE(known.is_idle(WorkPlace::of(kContext, kOther, 1), Proof::kSeen));
  known.destroyed(kStream);
  CHECK_FALSE(known.is_idle(WorkPlace::of(kContext, kStream, 1), Proof::kSeen));
}

TEST_CASE("a wait that was sent before the work proves nothing about it") {
  Completions known;
  const auto stream = WorkPlace::of(kContext, kStream, 1);
  const std::uint64_t before = known.work();
  known.sent(row::cuLaunchKernel::info(), false);
  known.prove(stream, before, Proof::kWaited);
  CHECK_FALSE(known.is_idle(stream, Proof::kSeen));
  record(known, stream, 7);
  record(known, stream, 8);
  known.prove(kEvent, 7, Proof::kWaited);
  CHECK(known.known(kEvent).proof == Proof::kNone);
  known.prove(kEvent, 8, Proof::kSeen);
  CHECK(known.known(kEvent).proof == Proof::kSeen);
}

TEST_CASE("a call that was under way when a wait was sent is not proven by it") {
  Completions known;
  const auto stream = WorkPlace::of(kContext, kStream, 1);
  known.sent(row::cuMemcpy3D_v2::info(), true);
  known.prove(stream, known.work(), Proof::kWaited);  // another thread's wait
  CHECK(known.is_idle(stream, Proof::kWaited));
  known.answered(row::cuMemcpy3D_v2::info());
  CHECK_FALSE(known.is_idle(stream, Proof::kWaited));
  // A copy back has been done by its reply.
  known.prove(stream, known.work(), Proof::kWaited);
  known.answered(row::cuMemcpyDtoHAsync_v2::info());
  CHECK(known.is_idle(stream, Proof::kWaited));
  known.sent(row::cuMemcpyDtoHAsync_v2::info(), false);
  CHECK_FALSE(known.is_idle(stream, Proof::kWaited));
}

TEST_CASE("an event that is done proves what was in its stream before it") {
  Completions known;
  const auto stream = WorkPlace::of(kContext, kStream, 1);
  const auto later = reinterpret_cast<CUevent>(0x21);
  record(known, stream, 7);
  record(known, stream, 8, later);
  known.prove(later, 8, Proof::kSeen);
  CHECK(known.known(kEvent).proof == Proof::kSeen);
  CHECK_FALSE(known.is_idle(stream, Proof::kSeen));  // the record of `later` may have been followed
  record(known, WorkPlace::of(kContext, kOther, 1), 9);
  known.prove(later, 8, Proof::kWaited);
  CHECK(known.known(kEvent).proof == Proof::kNone);
}

TEST_CASE("of two threads that record an event at once the later call counts") {
  Completions known;
  const auto stream = WorkPlace::of(kContext, kStream, 1);
  const auto other = WorkPlace::of(kContext, kOther, 2);
  const std::uint64_t before = known.work();
  known.sent(row::cuEventRecord::info(), false);
  known.sent(row::cuEventRecord::info(), false);
  known.recorded(kEvent, other, {UINT32_MAX, before});
  CHECK(known.latest_record(kEvent) == UINT32_MAX);
  known.recorded(kEvent, stream, {1, before});  // numbers go round
  CHECK(known.latest_record(kEvent) == 1);
  known.recorded(kEvent, other, {UINT32_MAX, before});
  CHECK(known.latest_record(kEvent) == 1);
  known.prove(other, known.work(), Proof::kWaited);
  CHECK(known.known(kEvent).proof == Proof::kNone);
  known.prove(stream, known.work(), Proof::kWaited);
  CHECK(known.known(kEvent).proof == Proof::kWaited);
  // Recorded anew after the numbers have gone half-way round: no overlap, so it counts.
  record(known, stream, 0x8000'0003);
  CHECK(known.known(kEvent).proof == Proof::kNone);
}

TEST_CASE("of an event that a graph may record nothing is known, until it is destroyed") {
  Completions known;
  const auto stream = WorkPlace::of(kContext, kStream, 1);
  record(known, stream, 7);
  known.prove(kEvent, 7, Proof::kWaited);
  known.kept_by_graph(kEvent);
  CHECK(known.known(kEvent).proof == Proof::kNone);
  record(known, stream, 8);
  known.prove(kEvent, 8, Proof::kWaited);
  known.prove(stream, known.work(), Proof::kWaited);
  known.forget_all();
  record(known, stream, 9);
  known.prove(kEvent, 9, Proof::kWaited);
  CHECK(known.known(kEvent).proof == Proof::kNone);
  known.destroyed(kEvent);
  record(known, stream, 10);
  known.prove(kEvent, 10, Proof::kWaited);
  CHECK(known.known(kEvent).proof == Proof::kWaited);
}

TEST_CASE("captures are counted") {
  Completions known;
  known.capture_begins();
  CHECK(known.is_capturing());
  known.capture_ends();
  known.capture_ends();
  CHECK_FALSE(known.is_capturing());
  known.capture_begins();
  CHECK(known.is_capturing());
}
