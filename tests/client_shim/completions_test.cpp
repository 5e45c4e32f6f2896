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

TEST_CASE("a proof holds for its own place and no other") {
  Completions known;
  const auto whole = WorkPlace::whole(kContext);
  const auto stream = WorkPlace::of(kContext, kStream, 1);
  const auto mine = WorkPlace::of(kContext, CU_STREAM_PER_THREAD, 1);
  known.sent(row::cuLaunchKernel::info());
  known.prove(mine, known.work());
  CHECK(known.is_idle(mine));
  CHECK_FALSE(known.is_idle(WorkPlace::of(kContext, CU_STREAM_PER_THREAD, 2)));
  CHECK_FALSE(known.is_idle(whole));
  known.prove(whole, known.work());
  CHECK(known.is_idle(whole));
  CHECK(known.is_idle(WorkPlace::of(kContext, nullptr, 1)));
  CHECK_FALSE(known.is_idle(stream));  // may be another context's
  CHECK_FALSE(known.is_idle(WorkPlace::whole(reinterpret_cast<CUcontext>(0x11))));
  known.prove(stream, known.work());
  CHECK(known.is_idle(stream));
  known.sent(row::cuEventQuery::info());
  CHECK(known.is_idle(stream));
  known.sent(row::cuMemFree_v2::info());
  CHECK_FALSE(known.is_idle(stream));
  CHECK_FALSE(known.is_idle(whole));
}

TEST_CASE("a wait that was sent before the work proves nothing about it") {
  Completions known;
  const auto stream = WorkPlace::of(kContext, kStream, 1);
  const std::uint64_t before = known.work();
  known.sent(row::cuLaunchKernel::info());
  known.prove(stream, before);
  CHECK_FALSE(known.is_idle(stream));
  known.recorded(kEvent, stream);
  const std::uint64_t record = known.latest_record(kEvent);
  known.sent(row::cuEventRecord::info());
  known.recorded(kEvent, stream);
  known.prove(kEvent, record);
  CHECK_FALSE(known.is_done(kEvent));
}

TEST_CASE("an event recorded in two places at once is done when it was waited for itself") {
  Completions known;
  const auto stream = WorkPlace::of(kContext, kStream, 1);
  known.sent(row::cuEventRecord::info());
  known.sent(row::cuEventRecord::info());
  known.recorded(kEvent, WorkPlace::of(kContext, kOther, 2));
  known.recorded(kEvent, stream);
  known.prove(stream, known.work());
  CHECK_FALSE(known.is_done(kEvent));
  known.prove(kEvent, known.latest_record(kEvent));
  CHECK(known.is_done(kEvent));
}

TEST_CASE("what is recorded in a capture is not known, and captures are counted") {
  Completions known;
  known.capture_begins();
  CHECK(known.is_capturing());
  known.sent(row::cuEventRecord::info());
  known.recorded(kEvent, WorkPlace::of(kContext, kStream, 1));
  CHECK(known.latest_record(kEvent) == 0);
  known.capture_ends();
  known.capture_ends();
  CHECK_FALSE(known.is_capturing());
  known.capture_begins();
  CHECK(known.is_capturing());
}
