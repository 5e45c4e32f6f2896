// Green contexts, and functions that are made of others: older entry points, cuCtxAttach.
#include <array>
#include <cstring>

#include "tests/gpu_server/software_gpu/driver_session.h"

namespace farcall::softgpu::tests {
namespace {

CUdevResource whole(CUdevice device = 0) {
  CUdevResource all{};
  REQUIRE(cuDeviceGetDevResource(device, &all, CU_DEV_RESOURCE_TYPE_SM) == CUDA_SUCCESS);
  return all;
}

// A green context of one multiprocessor.
CUgreenCtx make_green() {
  CUdevResource all = whole(), part{};
  unsigned groups = 1;
  REQUIRE(cuDevSmResourceSplitByCount(&part, &groups, &all, nullptr, 0, 1) == CUDA_SUCCESS);
  CUdevResourceDesc what = nullptr;
  REQUIRE(cuDevResourceGenerateDesc(&what, &part, 1) == CUDA_SUCCESS);
  CUgreenCtx green = nullptr;
  REQUIRE(cuGreenCtxCreate(&green, what, 0, CU_GREEN_CTX_DEFAULT_STREAM) == CUDA_SUCCESS);
  return green;
}

}  // namespace

TEST_CASE("multiprocessors are split into equal parts and a rest") {
  DriverSession session;
  CUdevResource all = whole(), rest{};
  CHECK(all.sm.smCount == 2);
  unsigned groups = 0;
  CHECK(cuDevSmResourceSplitByCount(nullptr, &groups, &all, nullptr, 0, 1) == CUDA_SUCCESS);
  CHECK(groups == 2);
  std::array<CUdevResource, 4> parts{};
  groups = 1;
  CHECK(cuDevSmResourceSplitByCount(parts.data(), &groups, &all, &rest, 0, 1) == CUDA_SUCCESS);
  CHECK(groups == 1);
  CHECK(parts[0].sm.smCount == 1);
  CHECK(rest.sm.smCount == 1);
  groups = 4;
  CHECK(cuDevSmResourceSplitByCount(parts.data(), &groups, &all, &rest, 0, 0) == CUDA_SUCCESS);
  CHECK(groups == 2);
  CHECK(rest.type == CU_DEV_RESOURCE_TYPE_INVALID);
  CHECK(cuDevSmResourceSplitByCount(parts.data(), &groups, &all, &rest, 0, 3) ==
        CUDA_ERROR_INVALID_VALUE);
  CHECK(cuDevSmResourceSplitByCount(parts.data(), &groups, &parts[1], nullptr, 0, 1) ==
        CUDA_ERROR_INVALID_RESOURCE_CONFIGURATION);
  CUdevResource made_up{};
  CHECK(cuDevSmResourceSplitByCount(nullptr, &groups, &made_up, nullptr, 0, 1) ==
        CUDA_ERROR_INVALID_RESOURCE_TYPE);
  made_up.type = CU_DEV_RESOURCE_TYPE_SM;
  made_up.sm.smCount = 2;
  CHECK(cuDevSmResourceSplitByCount(nullptr, &groups, &made_up, nullptr, 0, 1) ==
        CUDA_ERROR_INVALID_RESOURCE_CONFIGURATION);
}

TEST_CASE("a description is of one split of one device") {
  DriverSession session;
  CUdevResource all = whole();
  std::array<CUdevResource, 2> parts{};
  unsigned groups = 2;
  REQUIRE(cuDevSmResourceSplitByCount(parts.data(), &groups, &all, nullptr, 0, 1) == CUDA_SUCCESS);
  CUdevResourceDesc what = nullptr;
  CHECK(cuDevResourceGenerateDesc(&what, parts.data(), 2) == CUDA_SUCCESS);
  CUgreenCtx green = nullptr;
  CHECK(cuGreenCtxCreate(&green, what, 1, CU_GREEN_CTX_DEFAULT_STREAM) ==
        CUDA_ERROR_INVALID_DEVICE);
  CHECK(cuGreenCtxCreate(&green, what, 0, 0) == CUDA_ERROR_INVALID_VALUE);
  CHECK(cuGreenCtxCreate(&green, nullptr, 0, CU_GREEN_CTX_DEFAULT_STREAM) ==
        CUDA_ERROR_INVALID_VALUE);
  parts[1] = whole(1);
  CHECK(cuDevResourceGenerateDesc(&what, parts.data(), 2) ==
        CUDA_ERROR_INVALID_RESOURCE_CONFIGURATION);
  CHECK(cuDevResourceGenerateDesc(&what, parts.data(), 0) == CUDA_ERROR_INVALID_VALUE);
}

TEST_CASE("a green context runs kernels on streams of its own, in the primary context's memory") {
  DriverSession session;
  CUfunction store = session.function(kAddPtx, "store");
  CUdeviceptr at = session.allocate(4);
  CUgreenCtx green = make_green(), found = nullptr;
  CUcontext view = nullptr, of_stream = nullptr;
  REQUIRE(cuCtxFromGreenCtx(&view, green) == CUDA_SUCCESS);
  CHECK(view != session.context());
  CUstream stream = nullptr;
  CHECK(cuGreenCtxStreamCreate(&stream, green, 0, 0) == CUDA_ERROR_INVALID_VALUE);
  REQUIRE(cuGreenCtxStreamCreate(&stream, green, CU_STREAM_NON_BLOCKING, 0) == CUDA_SUCCESS);
  CHECK(cuStreamGetGreenCtx(stream, &found) == CUDA_SUCCESS);
  CHECK(found == green);
  CHECK(cuStreamGetCtx_v2(stream, &of_stream, &found) == CUDA_SUCCESS);
  CHECK(of_stream == session.context());
  void* params[] = {&at};
  CHECK(cuLaunchKernel(store, 1, 1, 1, 1, 1, 1, 0, stream, params, nullptr) == CUDA_SUCCESS);
  CHECK(cuStreamSynchronize(stream) == CUDA_SUCCESS);
  unsigned value = 0;
  CHECK(cuMemcpyDtoH_v2(&value, at, 4) == CUDA_SUCCESS);
  CHECK(value == 42);

  // Under it: its own default stream, everybody's memory.
  REQUIRE(cuCtxSetCurrent(view) == CUDA_SUCCESS);
  CHECK(cuMemsetD32_v2(at, 0, 1) == CUDA_SUCCESS);
  CHECK(cuLaunchKernel(store, 1, 1, 1, 1, 1, 1, 0, nullptr, params, nullptr) == CUDA_SUCCESS);
  CHECK(cuCtxSynchronize() == CUDA_SUCCESS);
  CHECK(cuMemcpyDtoH_v2(&value, at, 4) == CUDA_SUCCESS);
  CHECK(value == 42);
  CUdeviceptr own = session.allocate(16);
  CHECK(cuStreamGetGreenCtx(nullptr, &found) == CUDA_SUCCESS);
  CHECK(found == green);
  CUdevResource part{};
  CHECK(cuCtxGetDevResource(nullptr, &part, CU_DEV_RESOURCE_TYPE_SM) == CUDA_SUCCESS);
  CHECK(part.sm.smCount == 1);
  CHECK(cuCtxDestroy_v2(view) == CUDA_ERROR_INVALID_CONTEXT);
  CHECK(cuStreamDestroy_v2(stream) == CUDA_SUCCESS);
  CHECK(cuGreenCtxDestroy(green) == CUDA_SUCCESS);
  CHECK(cuGreenCtxDestroy(green) == CUDA_ERROR_INVALID_CONTEXT);
  CHECK(cuCtxSetCurrent(view) == CUDA_ERROR_INVALID_CONTEXT);
  REQUIRE(cuCtxSetCurrent(session.context()) == CUDA_SUCCESS);
  CHECK(cuMemFree_v2(own) == CUDA_SUCCESS);  // it was the primary context's
}

TEST_CASE("an event of a green context covers its streams, and makes them wait") {
  DriverSession session;
  CUgreenCtx green = make_green();
  CUstream stream = nullptr;
  REQUIRE(cuGreenCtxStreamCreate(&stream, green, CU_STREAM_NON_BLOCKING, 0) == CUDA_SUCCESS);
  CUevent event = nullptr, later = nullptr;
  REQUIRE(cuEventCreate(&event, 0) == CUDA_SUCCESS);
  REQUIRE(cuEventCreate(&later, 0) == CUDA_SUCCESS);
  Gate gate;
  REQUIRE(cuLaunchHostFunc(stream, Gate::wait_at, &gate) == CUDA_SUCCESS);
  CHECK(cuGreenCtxRecordEvent(green, event) == CUDA_SUCCESS);
  CHECK(cuEventQuery(event) == CUDA_ERROR_NOT_READY);
  CUgreenCtx other = make_green();
  CUstream other_stream = nullptr;
  REQUIRE(cuGreenCtxStreamCreate(&other_stream, other, CU_STREAM_NON_BLOCKING, 0) == CUDA_SUCCESS);
  CHECK(cuGreenCtxWaitEvent(other, event) == CUDA_SUCCESS);
  CHECK(cuEventRecord(later, other_stream) == CUDA_SUCCESS);
  CHECK(cuEventQuery(later) == CUDA_ERROR_NOT_READY);
  gate.open();
  CHECK(cuEventSynchronize(later) == CUDA_SUCCESS);
  CHECK(cuEventQuery(event) == CUDA_SUCCESS);
  CHECK(cuGreenCtxDestroy(other) == CUDA_SUCCESS);
  CHECK(cuGreenCtxDestroy(green) == CUDA_SUCCESS);
}

TEST_CASE("a context that was attached is detached as often before it is destroyed") {
  start_driver();
  CUcontext context = nullptr, attached = nullptr;
  REQUIRE(cuCtxCreate_v2(&context, 0, 0) == CUDA_SUCCESS);
  CHECK(cuCtxAttach(&attached, 0) == CUDA_SUCCESS);
  CHECK(attached == context);
  CHECK(cuCtxAttach(&attached, 1) == CUDA_ERROR_INVALID_VALUE);
  CHECK(cuCtxDetach(context) == CUDA_SUCCESS);
  CHECK(cuCtxSynchronize() == CUDA_SUCCESS);
  CHECK(cuCtxDetach(reinterpret_cast<CUcontext>(1)) == CUDA_ERROR_INVALID_CONTEXT);
  CHECK(cuCtxDetach(context) == CUDA_SUCCESS);
  CHECK(cuCtxPushCurrent_v2(context) == CUDA_ERROR_INVALID_CONTEXT);
}

TEST_CASE("entry points of 32 bits are the wider ones where that can be") {
  DriverSession session;
  unsigned total = 0, free = 0;
  CHECK(cuDeviceTotalMem(&total, 0) == CUDA_SUCCESS);
  CHECK(total == kTestMemoryBytes);
  CHECK(cuMemGetInfo(&free, &total) == CUDA_SUCCESS);
  CHECK(free <= total);
  const CUDA_ARRAY_DESCRIPTOR_v1 like{8, 1, CU_AD_FORMAT_UNSIGNED_INT8, 1};
  CUarray array = nullptr;
  REQUIRE(cuArrayCreate(&array, &like) == CUDA_SUCCESS);
  CUDA_ARRAY_DESCRIPTOR_v1 read{};
  CHECK(cuArrayGetDescriptor(&read, array) == CUDA_SUCCESS);
  CHECK(read.Width == 8);
  const char text[] = "1234567";
  char back[8] = {};
  CHECK(cuMemcpyHtoA(array, 0, text, sizeof(text)) == CUDA_SUCCESS);
  CUDA_MEMCPY2D_v1 copy{};
  copy.srcMemoryType = CU_MEMORYTYPE_ARRAY;
  copy.srcArray = array;
  copy.dstMemoryType = CU_MEMORYTYPE_HOST;
  copy.dstHost = back;
  copy.WidthInBytes = sizeof(back);
  copy.Height = 1;
  CHECK(cuMemcpy2D(&copy) == CUDA_SUCCESS);
  CHECK(std::memcmp(text, back, sizeof(back)) == 0);
  CHECK(cuMemsetD8(0x1000, 1, 4) == CUDA_ERROR_INVALID_VALUE);
  CHECK(cuMemFree(0x1000) == CUDA_ERROR_INVALID_VALUE);
  CUdeviceptr_v1 address = 0;
  CHECK(cuMemAlloc(&address, 16) == CUDA_ERROR_NOT_SUPPORTED);
}

}  // namespace farcall::softgpu::tests
