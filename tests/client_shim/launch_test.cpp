// Modules, functions and launches over a real server session.
#include "client_shim/launch.h"

#include "tests/client_shim/world.h"

using namespace farcall;
using namespace farcall::shim;

namespace {

constexpr const char* kPtx = ".version 8.0\n.target sm_80\n.address_size 64\n";

struct Loaded {
  CUmodule module = nullptr;
  CUfunction function = nullptr;
  Loaded() {
    CUDA_OK(cuModuleLoadData(&module, kPtx));
    CUDA_OK(cuModuleGetFunction(&function, module, "kernel"));
  }
};

CUresult launch(CUfunction function, unsigned grid, unsigned block, unsigned shared) {
  char a = 'a';
  double b = 2.5;
  int c = 77;
  void* params[] = {&a, &b, &c};
  return cuLaunchKernel(function, grid, 1, 1, block, 1, 1, shared, nullptr, params, nullptr);
}

}  // namespace

TEST_CASE("parameters arrive back to back, and a launch waits for nothing") {
  FakeDevice device;
  World world(device);
  world.use_device();
  Loaded loaded;
  CHECK(world.round_trips([&] { CUDA_OK(launch(loaded.function, 3, 64, 0)); }) == 0);
  CUDA_OK(cuCtxSynchronize());
  CHECK(device.launched_grid[0] == 3);
  REQUIRE(device.launched.size() == 13);
  CHECK(static_cast<char>(device.launched[0]) == 'a');
  double b = 0;
  std::memcpy(&b, &device.launched[1], sizeof b);
  CHECK(b == 2.5);
  int c = 0;
  std::memcpy(&c, &device.launched[9], sizeof c);
  CHECK(c == 77);
}

TEST_CASE("a function that was enumerated can be launched") {
  FakeDevice device;
  World world(device);
  world.use_device();
  CUmodule module = nullptr;
  CUDA_OK(cuModuleLoadData(&module, kPtx));
  CUfunction functions[2] = {};
  CUDA_OK(cuModuleEnumerateFunctions(functions, 2, module));
  CHECK(functions[1] == nullptr);
  CUDA_OK(launch(functions[0], 3, 64, 0));
  CUDA_OK(cuCtxSynchronize());
  CHECK(device.launched.size() == 13);
}

TEST_CASE("a function is asked for once") {
  FakeDevice device;
  World world(device);
  world.use_device();
  Loaded loaded;
  CUfunction again = nullptr;
  CHECK(world.round_trips([&] { CUDA_OK(cuModuleGetFunction(&again, loaded.module, "kernel")); }) ==
        0);
  CHECK(again == loaded.function);
  CHECK(cuModuleGetFunction(&again, loaded.module, "no such") == CUDA_ERROR_NOT_FOUND);
  CHECK(cuModuleGetFunction(&again, nullptr, "kernel") == CUDA_ERROR_INVALID_HANDLE);
}

TEST_CASE("a launch that a local driver would refuse is refused at its own call") {
  FakeDevice device;
  World world(device);
  world.use_device();
  Loaded loaded;
  CHECK(world.round_trips([&] {
    CHECK(launch(loaded.function, 0, 64, 0) == CUDA_ERROR_INVALID_VALUE);
    CHECK(launch(loaded.function, 1, 0, 0) == CUDA_ERROR_INVALID_VALUE);
    CHECK(launch(loaded.function, 100'001, 64, 0) == CUDA_ERROR_INVALID_VALUE);
    CHECK(launch(loaded.function, 1, 1025, 0) == CUDA_ERROR_INVALID_VALUE);
    CHECK(launch(loaded.function, 1, 513, 0) == CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES);
    CHECK(launch(loaded.function, 1, 64, 4097) == CUDA_ERROR_INVALID_VALUE);
    CHECK(launch(nullptr, 1, 64, 0) == CUDA_ERROR_INVALID_HANDLE);
    CHECK(launch(reinterpret_cast<CUfunction>(0x77), 1, 64, 0) == CUDA_ERROR_INVALID_HANDLE);
    CHECK(cuLaunchKernel(loaded.function, 1, 1, 1, 1, 1, 1, 0, nullptr, nullptr, nullptr) ==
          CUDA_ERROR_INVALID_VALUE);
  }) == 0);
  CUDA_OK(cuCtxSynchronize());
  CHECK(device.count("cuLaunchKernel") == 0);
}

TEST_CASE("raising a function's shared memory raises what a launch may ask for") {
  FakeDevice device;
  World world(device);
  world.use_device();
  Loaded loaded;
  CUDA_OK(
      cuFuncSetAttribute(loaded.function, CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES, 8192));
  CUDA_OK(launch(loaded.function, 1, 64, 8000));
  CUDA_OK(cuCtxSynchronize());
  CHECK(device.count("cuLaunchKernel") == 1);
}

TEST_CASE("what changed since the last launch of a kernel is seen by the next one") {
  FakeDevice device;
  World world(device);
  world.use_device();
  Loaded loaded;
  CHECK(launch(loaded.function, 1, 64, 4097) == CUDA_ERROR_INVALID_VALUE);
  CUDA_OK(launch(loaded.function, 1, 64, 0));
  // Another thread's change counts too.
  CUcontext context = nullptr;
  CUDA_OK(cuCtxGetCurrent(&context));
  std::thread([&] {
    CUDA_OK(cuCtxSetCurrent(context));
    CUDA_OK(
        cuFuncSetAttribute(loaded.function, CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES, 8192));
  }).join();
  CUDA_OK(launch(loaded.function, 1, 64, 4097));
  CUDA_OK(cuCtxPopCurrent(&context));
  CHECK(launch(loaded.function, 1, 64, 0) == CUDA_ERROR_INVALID_CONTEXT);
  CUDA_OK(cuCtxPushCurrent(context));
  CUDA_OK(launch(loaded.function, 1, 64, 0));
  CUDA_OK(cuModuleUnload(loaded.module));
  CHECK(launch(loaded.function, 1, 64, 0) == CUDA_ERROR_INVALID_HANDLE);
}

TEST_CASE("a module needs a context, and an image") {
  FakeDevice device;
  World world(device);
  CUmodule module = nullptr;
  CHECK(cuModuleLoadData(&module, kPtx) == CUDA_ERROR_INVALID_CONTEXT);
  world.use_device();
  CHECK(cuModuleLoadData(&module, nullptr) == CUDA_ERROR_INVALID_VALUE);
  CHECK(cuModuleLoad(&module, "/no/such/file") == CUDA_ERROR_FILE_NOT_FOUND);
}

TEST_CASE("every row of limits is checked against the device that was told") {
  Device device;
  device.attributes.assign(200, 65'535);
  device.attributes[CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_BLOCK - 1] = 256;
  device.attributes[CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_Z - 1] = 4;
  FunctionFacts kernel;
  CUlaunchConfig config{};
  config.gridDimX = config.gridDimY = config.gridDimZ = 1;
  config.blockDimX = config.blockDimY = config.blockDimZ = 1;
  CHECK(check_launch(launch_limits(device), kernel, config) == CUDA_SUCCESS);
  config.blockDimZ = 5;
  CHECK(check_launch(launch_limits(device), kernel, config) == CUDA_ERROR_INVALID_VALUE);
  config.blockDimZ = 4;
  config.blockDimX = 64;
  CHECK(check_launch(launch_limits(device), kernel, config) == CUDA_SUCCESS);
  config.blockDimX = 65;
  CHECK(check_launch(launch_limits(device), kernel, config) == CUDA_ERROR_INVALID_VALUE);
  config.blockDimX = 64;
  kernel.is_runtimes = true;
  config.gridDimY = 0;
  CHECK(static_cast<int>(check_launch(launch_limits(device), kernel, config)) == 9);
  config.gridDimY = 1;
  kernel.max_threads = 128;
  CHECK(check_launch(launch_limits(device), kernel, config) == CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES);
}
