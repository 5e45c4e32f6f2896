// Failures that are reported by another call than the one that failed.
#include "client_shim/origins.h"

#include <sys/mman.h>
#include <unistd.h>

#include "client_shim/receiver.h"
#include "tests/client_shim/world.h"
#include "transport/api/rows.h"
#include "transport/base/log.h"

using namespace farcall;
using namespace farcall::shim;

namespace {

namespace row = api::row;

// What is logged while it lives.
class CapturedLog {
 public:
  CapturedLog() : file_(::memfd_create("log", MFD_CLOEXEC)) {
    set_log(LogLevel::kWarn, file_.get());
  }
  ~CapturedLog() { set_log(LogLevel::kOff, STDERR_FILENO); }
  std::string text() const {
    std::string all(64 << 10, '\0');
    const auto bytes = ::pread(file_.get(), all.data(), all.size(), 0);
    all.resize(bytes > 0 ? static_cast<std::size_t>(bytes) : 0);
    return all;
  }
  bool says(const std::string& what) const {
    const bool found = text().find(what) != std::string::npos;
    CHECK_MESSAGE(found, text());
    return found;
  }
  bool is_silent() const { return text().empty(); }

 private:
  Fd file_;
};

CUfunction load_kernel() {
  CUmodule module = nullptr;
  CUfunction function = nullptr;
  CUDA_OK(cuModuleLoadData(&module, ".version 8.0\n.target sm_80\n.address_size 64\n"));
  CUDA_OK(cuModuleGetFunction(&function, module, "kernel"));
  return function;
}

CUresult launch(CUfunction function) {
  char a = 'a';
  double b = 2.5;
  int c = 77;
  void* params[] = {&a, &b, &c};
  return cuLaunchKernel(function, 1, 1, 1, 32, 1, 1, 0, nullptr, params, nullptr);
}

std::string call(std::uint32_t number) { return "(call " + std::to_string(number) + ")"; }

FunctionFacts named(std::uint64_t id, const char* name) {
  FunctionFacts facts;
  facts.id = id;
  facts.name = name;
  return facts;
}

// A server that sends one notice of an earlier failure, and then `status` as the reply.
CUresult receive(const api::hand::FailedEarlier& earlier, std::uint32_t thread, std::size_t bytes) {
  auto pair = link::make_loopback_session_pair();
  REQUIRE(pair.ok());
  Landings landings;
  Completions completions;
  Receiver receiver(*pair.value().client, landings, completions);
  auto take = [](Reply& reply) { return reply.status; };
  Waiter waiter(take);
  receiver.expect(waiter, 1);
  wire::FrameHeader notice{
      .id = row::failed_earlier::info().id, .flags = wire::kReply, .thread = thread};
  auto put = [&](wire::Writer& out) { out.bytes(&earlier, bytes); };
  REQUIRE(pair.value().server->post(notice, link::Flush::kNow, put).ok());
  wire::FrameHeader reply{.id = row::cuCtxSynchronize::info().id, .flags = wire::kReply, .call = 1};
  reply.thread = 1;
  REQUIRE(pair.value()
              .server
              ->post(reply, link::Flush::kNow,
                     [&](wire::Writer& out) { out.put(std::uint32_t{CUDA_ERROR_INVALID_VALUE}); })
              .ok());
  CUresult result = receiver.wait(waiter);
  CHECK(waiter.earlier().has_value() == (result == CUDA_ERROR_INVALID_VALUE));
  return result;
}

}  // namespace

TEST_CASE("a launch that failed is named when another call reports it, and is counted") {
  FakeDevice device;
  World world(device);
  world.use_device();
  CUfunction kernel = load_kernel();
  CUDA_OK(launch(kernel));
  CUDA_OK(cuCtxSynchronize());
  CapturedLog log;
  device.fail_launch = CUDA_ERROR_INVALID_HANDLE;
  CUDA_OK(launch(kernel));
  const std::uint32_t failed = current_client()->this_thread().last_call;
  CUDA_OK(launch(kernel));
  CHECK(log.is_silent());
  CHECK(cuCtxSynchronize() == CUDA_ERROR_INVALID_HANDLE);
  CHECK(log.says("cuLaunchKernel(kernel) failed earlier " + call(failed) +
                 ": CUDA_ERROR_INVALID_HANDLE; reported by cuCtxSynchronize " + call(failed + 2) +
                 "; 1 more of the thread's calls failed after it\n"));
  CHECK(current_client()->origins().counts() ==
        std::map<std::string, std::uint64_t>{{"cuLaunchKernel", 1}});
  CUDA_OK(cuCtxSynchronize());
}

TEST_CASE("a failure belongs to its own thread, and is told there") {
  FakeDevice device;
  World world(device);
  world.use_device();
  CUdeviceptr at = 0;
  CUDA_OK(cuMemAlloc_v2(&at, 64));
  CUcontext context = nullptr;
  CUDA_OK(cuCtxGetCurrent(&context));
  CapturedLog log;
  device.fail_memset = CUDA_ERROR_INVALID_VALUE;
  CUDA_OK(cuMemsetD8_v2(at, 1, 64));
  const std::uint32_t failed = current_client()->this_thread().last_call;
  std::thread([&] {
    CUDA_OK(cuCtxSetCurrent(context));
    CUDA_OK(cuMemsetD8_v2(at, 1, 64));  // fails as well
    CHECK(cuCtxSynchronize() == CUDA_ERROR_INVALID_VALUE);
  }).join();
  std::size_t free = 0, total = 0;
  CHECK(cuMemGetInfo_v2(&free, &total) == CUDA_ERROR_INVALID_VALUE);
  CHECK(log.says("cuMemsetD8_v2 failed earlier " + call(failed) +
                 ": CUDA_ERROR_INVALID_VALUE; reported by cuMemGetInfo_v2"));
  CHECK(current_client()->origins().counts()["cuMemsetD8_v2"] == 2);
}

TEST_CASE("in strict mode the call that fails says so itself, and no other does") {
  FakeDevice device;
  World world(device, true);
  world.use_device();
  CUfunction kernel = load_kernel();
  CapturedLog log;
  device.fail_launch = CUDA_ERROR_INVALID_HANDLE;
  CHECK(launch(kernel) == CUDA_ERROR_INVALID_HANDLE);
  CUDA_OK(cuCtxSynchronize());
  CHECK(log.is_silent());
  CHECK(current_client()->origins().counts().empty());
}

TEST_CASE("a fault that shows at a synchronize comes with the kernels launched last, once") {
  FakeDevice device;
  World world(device);
  world.use_device();
  CUfunction kernel = load_kernel();
  CUDA_OK(launch(kernel));
  const std::uint32_t launched = current_client()->this_thread().last_call;
  {
    CapturedLog log;
    device.fail_sync = CUDA_ERROR_ILLEGAL_ADDRESS;
    CHECK(cuCtxSynchronize() == CUDA_ERROR_ILLEGAL_ADDRESS);
    CHECK(log.says("CUDA_ERROR_ILLEGAL_ADDRESS reported by cuCtxSynchronize " + call(launched + 1) +
                   ": a kernel faulted, and no device says which; launched last: kernel " +
                   call(launched) + "\n"));
  }
  CapturedLog again;
  CHECK(cuCtxSynchronize() == CUDA_ERROR_ILLEGAL_ADDRESS);
  CHECK(again.is_silent());
  CHECK(current_client()->origins().counts().empty());
}

TEST_CASE("a launch that only hears of a fault is not blamed for it") {
  Functions functions;
  functions.add(named(7, "_Z5saxpyifPfS_"));
  functions.add(named(8, "_ZN3net4reluIfEEvPT_"));
  functions.add(named(9, "plain_c"));
  Origins origins(functions);
  origins.launched(7, 100);
  origins.launched(8, 101);
  origins.launched(9, 102);
  origins.launched(6, 103);
  CapturedLog log;
  origins.report({.function = 9,
                  .call = 102,
                  .status = CUDA_ERROR_ILLEGAL_ADDRESS,
                  .row = row::cuLaunchKernel::info().id,
                  .zero = 0,
                  .others = 0},
                 {"cuCtxSynchronize", 104});
  CHECK(log.says("cuLaunchKernel(plain_c) failed earlier (call 102)"));
  CHECK(
      log.says("a kernel before it faulted: launched last: void net::relu<float>(float*) (call "
               "101), saxpy (call 100)\n"));
  origins.report_fault(CUDA_ERROR_LAUNCH_FAILED, {"cuEventSynchronize", 104});
  CHECK(log.says("launched last: a kernel unloaded since (call 103), plain_c (call 102), "));
}

TEST_CASE("only the last calls are remembered, and numbers go round") {
  Functions functions;
  functions.add(named(7, "old"));
  functions.add(named(8, "new"));
  Origins origins(functions);
  origins.launched(7, UINT32_MAX - 1);
  origins.launched(8, 2);
  CapturedLog log;
  origins.report_fault(CUDA_ERROR_ASSERT, {"cuCtxSynchronize", 3});
  CHECK(log.says("launched last: new (call 2), old (call 4294967294)\n"));
  origins.launched(8, 2 + limits::kRecentCalls);  // where `new` was
  origins.report_fault(CUDA_ERROR_ASSERT, {"cuCtxSynchronize", 3 + limits::kRecentCalls});
  CHECK(log.says("launched last: new (call 258)\n"));
}

TEST_CASE("a notice of an earlier failure that no reply can report ends the session") {
  const api::hand::FailedEarlier good{.function = 0,
                                      .call = 1,
                                      .status = CUDA_ERROR_INVALID_VALUE,
                                      .row = row::cuMemsetD8_v2::info().id,
                                      .zero = 0,
                                      .others = 0};
  CHECK(receive(good, 1, sizeof good) == CUDA_ERROR_INVALID_VALUE);
  CHECK(receive(good, 1, sizeof good - 1) == kLinkLost);
  CHECK(receive(good, 2, sizeof good) == kLinkLost);       // a thread that asked nothing
  CHECK(receive(good, 70'000, sizeof good) == kLinkLost);  // or never was
  api::hand::FailedEarlier fine = good;
  fine.status = CUDA_SUCCESS;
  CHECK(receive(fine, 1, sizeof fine) == kLinkLost);
}
