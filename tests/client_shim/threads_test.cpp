// Many threads at once: replies find their callers, contexts stay with their threads.
#include <sys/stat.h>

#include <fstream>
#include <sstream>

#include "tests/client_shim/world.h"

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

TEST_CASE("a cut link releases every waiting thread") {
  FakeDevice device;
  World world(device);
  CUcontext context = nullptr;
  CUDA_OK(cuDevicePrimaryCtxRetain(&context, 0));
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
  CHECK(text.str().find("\"queued\": {\"total\": 1, \"cuMemsetD8_v2\": 1}") != std::string::npos);
}
