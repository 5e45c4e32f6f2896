#include <atomic>
#include <vector>

#include "tests/gpu_server/software_gpu/driver_session.h"

namespace farcall::softgpu::tests {
namespace {

CUresult launch(CUfunction function, unsigned grid, unsigned block, void** params,
                CUstream stream = nullptr) {
  return cuLaunchKernel(function, grid, 1, 1, block, 1, 1, 0, stream, params, nullptr);
}

struct Sum {
  explicit Sum(DriverSession& session) {
    CHECK(cuMemcpyHtoD_v2(a = session.allocate(400), left.data(), 400) == CUDA_SUCCESS);
    CHECK(cuMemcpyHtoD_v2(b = session.allocate(400), right.data(), 400) == CUDA_SUCCESS);
    out = session.allocate(400);
    CHECK(cuMemsetD8_v2(out, 0, 400) == CUDA_SUCCESS);
  }
  std::vector<int> result() {
    std::vector<int> all(100);
    CHECK(cuMemcpyDtoH_v2(all.data(), out, 400) == CUDA_SUCCESS);
    return all;
  }
  std::vector<int> left = std::vector<int>(100, 30), right = std::vector<int>(100, 12);
  CUdeviceptr a = 0, b = 0, out = 0;
  unsigned n = 100;
  void* params[4] = {&out, &a, &b, &n};
};

}  // namespace

TEST_CASE("a kernel adds two arrays, by parameter list or by buffer") {
  DriverSession session;
  CUfunction add = session.function(kAddPtx, "add");
  Sum sum(session);
  CHECK(launch(add, 4, 32, sum.params) == CUDA_SUCCESS);
  CHECK(sum.result() == std::vector<int>(100, 42));
  CHECK(cuMemsetD8_v2(sum.out, 0, 400) == CUDA_SUCCESS);
  struct {
    CUdeviceptr out, a, b;
    unsigned n;
  } buffer{sum.out, sum.a, sum.b, 50};
  std::size_t bytes = 28;
  void* extra[] = {CU_LAUNCH_PARAM_BUFFER_POINTER, &buffer, CU_LAUNCH_PARAM_BUFFER_SIZE, &bytes,
                   CU_LAUNCH_PARAM_END};
  CHECK(cuLaunchKernel(add, 4, 1, 1, 32, 1, 1, 0, nullptr, nullptr, extra) == CUDA_SUCCESS);
  CHECK(sum.result()[49] == 42);
  CHECK(sum.result()[50] == 0);
  bytes = 27;
  CHECK(cuLaunchKernel(add, 4, 1, 1, 32, 1, 1, 0, nullptr, nullptr, extra) ==
        CUDA_ERROR_INVALID_VALUE);
}

TEST_CASE("a small kernel without loops is over when its launch returns") {
  DriverSession session;
  CUfunction add = session.function(kAddPtx, "add");
  Sum sum(session);
  CUstream stream = nullptr;
  REQUIRE(cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING) == CUDA_SUCCESS);
  CHECK(launch(add, 4, 32, sum.params, stream) == CUDA_SUCCESS);
  CHECK(cuStreamQuery(stream) == CUDA_SUCCESS);
  CHECK(sum.result() == std::vector<int>(100, 42));
  CHECK(cuStreamDestroy_v2(stream) == CUDA_SUCCESS);
}

TEST_CASE("a kernel that waits for the host does not hold up its launch") {
  DriverSession session;
  CUfunction wait = session.function(R"(
.version 8.0
.target sm_75
.address_size 64
.visible .entry wait(.param .u64 flag)
{
  .reg .pred %p;
  .reg .b32 %r;
  .reg .b64 %rd;
  ld.param.u64 %rd, [flag];
$again:
  ld.volatile.global.u32 %r, [%rd];
  setp.eq.u32 %p, %r, 0;
  @%p bra $again;
  ret;
}
)",
                                     "wait");
  void* flag = nullptr;
  REQUIRE(cuMemAllocHost_v2(&flag, 4) == CUDA_SUCCESS);
  auto* word = static_cast<std::atomic<unsigned>*>(flag);
  *word = 0;
  void* params[] = {&flag};
  CHECK(launch(wait, 1, 1, params) == CUDA_SUCCESS);
  CHECK(cuStreamQuery(nullptr) == CUDA_ERROR_NOT_READY);
  *word = 1;
  CHECK(cuCtxSynchronize() == CUDA_SUCCESS);
  CHECK(cuMemFreeHost(flag) == CUDA_SUCCESS);
}

TEST_CASE("a CUkernel is accepted where a CUfunction is asked for") {
  DriverSession session;
  CUlibrary library = nullptr;
  CUkernel kernel = nullptr;
  CHECK(cuLibraryLoadData(&library, kAddPtx, nullptr, nullptr, 0, nullptr, nullptr, 0) ==
        CUDA_SUCCESS);
  CHECK(cuLibraryGetKernel(&kernel, library, "add") == CUDA_SUCCESS);
  Sum sum(session);
  CHECK(launch(reinterpret_cast<CUfunction>(kernel), 4, 32, sum.params) == CUDA_SUCCESS);
  CHECK(sum.result() == std::vector<int>(100, 42));
  CHECK(launch(reinterpret_cast<CUfunction>(kernel), 0, 32, sum.params) ==
        CUDA_ERROR_INVALID_VALUE);
  CHECK(cuLibraryUnload(library) == CUDA_SUCCESS);
  // cudaErrorInvalidConfiguration, which only kernels that libcudart loaded in its way may see.
  CUlibraryOption preserved = CU_LIBRARY_BINARY_IS_PRESERVED;
  void* yes[] = {nullptr};
  CHECK(cuLibraryLoadData(&library, kAddPtx, nullptr, nullptr, 0, &preserved, yes, 1) ==
        CUDA_SUCCESS);
  CHECK(cuLibraryGetKernel(&kernel, library, "add") == CUDA_SUCCESS);
  CHECK(static_cast<int>(launch(reinterpret_cast<CUfunction>(kernel), 0, 32, sum.params)) == 9);
  CHECK(cuLibraryUnload(library) == CUDA_SUCCESS);
}

TEST_CASE("sizes that no device accepts are refused before anything runs") {
  DriverSession session;
  CUfunction add = session.function(kAddPtx, "add");
  CUfunction small = session.function(kAddPtx, "small");
  Sum sum(session);
  CHECK(launch(add, 0, 32, sum.params) == CUDA_ERROR_INVALID_VALUE);
  CHECK(launch(add, 1, 0, sum.params) == CUDA_ERROR_INVALID_VALUE);
  CHECK(launch(add, 1, 1025, sum.params) == CUDA_ERROR_INVALID_VALUE);
  CHECK(cuLaunchKernel(add, 1, 1, 1, 32, 32, 2, 0, nullptr, sum.params, nullptr) ==
        CUDA_ERROR_INVALID_VALUE);
  CHECK(cuLaunchKernel(add, 1, 70000, 1, 32, 1, 1, 0, nullptr, sum.params, nullptr) ==
        CUDA_ERROR_INVALID_VALUE);
  CHECK(cuLaunchKernel(add, 1, 1, 1, 32, 1, 1, 48 * 1024 + 1, nullptr, sum.params, nullptr) ==
        CUDA_ERROR_INVALID_VALUE);
  CHECK(launch(add, 1, 32, nullptr) == CUDA_ERROR_INVALID_VALUE);
  CHECK(launch(small, 1, 128, sum.params) == CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES);
  CHECK(launch(reinterpret_cast<CUfunction>(&sum), 1, 1, nullptr) == CUDA_ERROR_INVALID_HANDLE);
  CHECK(launch(add, 1, 32, sum.params, reinterpret_cast<CUstream>(0x77)) ==
        CUDA_ERROR_INVALID_HANDLE);
  CHECK(cuCtxSynchronize() == CUDA_SUCCESS);
}

TEST_CASE("more dynamic shared memory must be asked for, up to the device's limit") {
  DriverSession session;
  CUfunction add = session.function(kAddPtx, "add");
  Sum sum(session);
  constexpr int kMuch = 100 * 1024;
  CHECK(cuFuncSetAttribute(add, CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES, kMuch) ==
        CUDA_SUCCESS);
  CHECK(cuLaunchKernel(add, 1, 1, 1, 32, 1, 1, kMuch, nullptr, sum.params, nullptr) ==
        CUDA_SUCCESS);
  CHECK(cuFuncSetAttribute(add, CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES, 228 * 1024) ==
        CUDA_ERROR_INVALID_VALUE);
  CHECK(cuCtxSynchronize() == CUDA_SUCCESS);
}

TEST_CASE("an access outside every allocation poisons the context until it is reset") {
  DriverSession session;
  CUfunction store = session.function(kAddPtx, "store");
  CUdeviceptr nowhere = 0x10;
  void* params[] = {&nowhere};
  CHECK(launch(store, 1, 1, params) == CUDA_SUCCESS);
  CHECK(cuCtxSynchronize() == CUDA_ERROR_ILLEGAL_ADDRESS);
  CUdeviceptr address = 0;
  CHECK(cuMemAlloc_v2(&address, 16) == CUDA_ERROR_ILLEGAL_ADDRESS);
  CHECK(launch(store, 1, 1, params) == CUDA_ERROR_ILLEGAL_ADDRESS);
  CHECK(cuStreamSynchronize(nullptr) == CUDA_ERROR_ILLEGAL_ADDRESS);
  CUdevice device = 9;
  CHECK(cuCtxGetDevice(&device) == CUDA_SUCCESS);
  CHECK(cuDevicePrimaryCtxReset_v2(0) == CUDA_SUCCESS);
  CUcontext context = nullptr;
  CHECK(cuDevicePrimaryCtxRetain(&context, 0) == CUDA_SUCCESS);
  CHECK(cuMemAlloc_v2(&address, 16) == CUDA_SUCCESS);
  CHECK(cuDevicePrimaryCtxRelease_v2(0) == CUDA_SUCCESS);
}

TEST_CASE("a misaligned access, a trap and a freed buffer each have their error") {
  DriverSession session;
  CUcontext context = nullptr;
  CHECK(cuCtxCreate_v2(&context, 0, 0) == CUDA_SUCCESS);
  CUdeviceptr odd = session.allocate(64) + 2;
  void* params[] = {&odd};
  CHECK(launch(session.function(kAddPtx, "store"), 1, 1, params) == CUDA_SUCCESS);
  CHECK(cuCtxSynchronize() == CUDA_ERROR_MISALIGNED_ADDRESS);
  CHECK(cuCtxDestroy_v2(context) == CUDA_SUCCESS);

  CHECK(cuCtxCreate_v2(&context, 0, 0) == CUDA_SUCCESS);
  CHECK(launch(session.function(kAddPtx, "stop"), 1, 1, nullptr) == CUDA_SUCCESS);
  CHECK(cuCtxSynchronize() == CUDA_ERROR_LAUNCH_FAILED);
  CHECK(cuCtxDestroy_v2(context) == CUDA_SUCCESS);

  CHECK(cuCtxCreate_v2(&context, 0, 0) == CUDA_SUCCESS);
  CUfunction store = session.function(kAddPtx, "store");
  CUdeviceptr freed = session.allocate(64);
  void* stale[] = {&freed};
  CHECK(cuMemFree_v2(freed) == CUDA_SUCCESS);
  CHECK(launch(store, 1, 1, stale) == CUDA_SUCCESS);
  CHECK(cuCtxSynchronize() == CUDA_ERROR_ILLEGAL_ADDRESS);
  CHECK(cuCtxDestroy_v2(context) == CUDA_SUCCESS);
  CHECK(cuCtxSynchronize() == CUDA_SUCCESS);  // the session's own context is untouched
}

TEST_CASE("a kernel reaches pinned host memory at its own address") {
  DriverSession session;
  void* pinned = nullptr;
  CHECK(cuMemHostAlloc(&pinned, 64, 0) == CUDA_SUCCESS);
  CUdeviceptr where = reinterpret_cast<CUdeviceptr>(pinned);
  void* params[] = {&where};
  CHECK(launch(session.function(kAddPtx, "store"), 1, 1, params) == CUDA_SUCCESS);
  CHECK(cuCtxSynchronize() == CUDA_SUCCESS);
  CHECK(*static_cast<int*>(pinned) == 42);
  CHECK(cuMemFreeHost(pinned) == CUDA_SUCCESS);
}

TEST_CASE("after a fault a callback is still called, with the error, and a host function is not") {
  DriverSession session;
  CUfunction stop = session.function(kAddPtx, "stop");
  Gate gate;
  CUresult told = CUDA_SUCCESS;
  bool ran = false;
  CHECK(cuLaunchHostFunc(nullptr, &Gate::wait_at, &gate) == CUDA_SUCCESS);
  CHECK(launch(stop, 1, 1, nullptr) == CUDA_SUCCESS);
  CHECK(cuLaunchHostFunc(
            nullptr, [](void* data) { *static_cast<bool*>(data) = true; }, &ran) == CUDA_SUCCESS);
  CHECK(cuStreamAddCallback(
            nullptr,
            [](CUstream, CUresult status, void* data) { *static_cast<CUresult*>(data) = status; },
            &told, 0) == CUDA_SUCCESS);
  gate.open();
  CHECK(cuCtxSynchronize() == CUDA_ERROR_LAUNCH_FAILED);
  CHECK(told == CUDA_ERROR_LAUNCH_FAILED);
  CHECK(!ran);
}

TEST_CASE("a cooperative launch must fit the device at once") {
  DriverSession session;
  CUfunction add = session.function(kAddPtx, "add");
  Sum sum(session);
  int per_processor = 0;
  CHECK(cuOccupancyMaxActiveBlocksPerMultiprocessor(&per_processor, add, 1024, 0) == CUDA_SUCCESS);
  CHECK(per_processor == 2);  // 2048 threads of a processor
  CHECK(cuLaunchCooperativeKernel(add, 2, 1, 1, 1024, 1, 1, 0, nullptr, sum.params) ==
        CUDA_SUCCESS);
  CHECK(cuLaunchCooperativeKernel(add, 9, 1, 1, 1024, 1, 1, 0, nullptr, sum.params) ==
        CUDA_ERROR_COOPERATIVE_LAUNCH_TOO_LARGE);
  int grid = 0, block = 0;
  CHECK(cuOccupancyMaxPotentialBlockSize(&grid, &block, add, nullptr, 0, 0) == CUDA_SUCCESS);
  CHECK(block > 0);
  CHECK(block <= 1024);
  CHECK(grid > 0);
  CHECK(cuCtxSynchronize() == CUDA_SUCCESS);
}

}  // namespace farcall::softgpu::tests
