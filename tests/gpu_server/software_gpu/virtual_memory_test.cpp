// Virtual memory of several devices: who may touch a mapping, and whose it is.
#include "tests/gpu_server/software_gpu/driver_session.h"

namespace farcall::softgpu::tests {
namespace {

constexpr std::size_t kStep = std::size_t{2} << 20;

// Mapped memory of device 1 that `access` may touch.
struct Mapped {
  CUdeviceptr address = 0;
  CUmemGenericAllocationHandle handle = 0;
  Mapped() {
    CUmemAllocationProp properties{};
    properties.type = CU_MEM_ALLOCATION_TYPE_PINNED;
    properties.location = {CU_MEM_LOCATION_TYPE_DEVICE, 1};
    REQUIRE(cuMemAddressReserve(&address, kStep, 0, 0, 0) == CUDA_SUCCESS);
    REQUIRE(cuMemCreate(&handle, kStep, &properties, 0) == CUDA_SUCCESS);
    REQUIRE(cuMemMap(address, kStep, 0, handle, 0) == CUDA_SUCCESS);
  }
  void allow(int device) const {
    const CUmemAccessDesc access{{CU_MEM_LOCATION_TYPE_DEVICE, device},
                                 CU_MEM_ACCESS_FLAGS_PROT_READWRITE};
    REQUIRE(cuMemSetAccess(address, kStep, &access, 1) == CUDA_SUCCESS);
  }
  ~Mapped() {
    (void)cuMemUnmap(address, kStep);
    (void)cuMemRelease(handle);
    (void)cuMemAddressFree(address, kStep);
  }
};

// What a kernel of a fresh context of that device comes to when it writes there.
CUresult kernel_writes(int device, CUdeviceptr address) {
  CUcontext context = nullptr;
  REQUIRE(cuCtxCreate_v2(&context, 0, device) == CUDA_SUCCESS);
  CUmodule module = nullptr;
  CUfunction add = nullptr;
  REQUIRE(cuModuleLoadData(&module, kAddPtx) == CUDA_SUCCESS);
  REQUIRE(cuModuleGetFunction(&add, module, "add") == CUDA_SUCCESS);
  unsigned n = 1;
  void* params[] = {&address, &address, &address, &n};
  REQUIRE(cuLaunchKernel(add, 1, 1, 1, 1, 1, 1, 0, nullptr, params, nullptr) == CUDA_SUCCESS);
  const CUresult result = cuCtxSynchronize();
  (void)cuCtxDestroy_v2(context);
  return result;
}

int device_of(CUdeviceptr address) {
  int ordinal = -1;
  CHECK(cuPointerGetAttribute(&ordinal, CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL, address) ==
        CUDA_SUCCESS);
  return ordinal;
}

}  // namespace

TEST_CASE("a mapping is open to the devices it was allowed for, and to no other") {
  DriverSession session;
  Mapped mapped;
  mapped.allow(1);
  CHECK(kernel_writes(1, mapped.address) == CUDA_SUCCESS);
  CHECK(kernel_writes(0, mapped.address) == CUDA_ERROR_ILLEGAL_ADDRESS);
  mapped.allow(0);
  CHECK(kernel_writes(0, mapped.address) == CUDA_SUCCESS);
}

TEST_CASE("access between peers opens no mapping") {
  DriverSession session;
  Mapped mapped;
  mapped.allow(1);
  CUcontext theirs = nullptr;
  REQUIRE(cuDevicePrimaryCtxRetain(&theirs, 1) == CUDA_SUCCESS);
  REQUIRE(cuCtxEnablePeerAccess(theirs, 0) == CUDA_SUCCESS);
  CHECK(kernel_writes(0, mapped.address) == CUDA_ERROR_ILLEGAL_ADDRESS);
  CHECK(cuCtxDisablePeerAccess(theirs) == CUDA_SUCCESS);
  CHECK(cuDevicePrimaryCtxRelease_v2(1) == CUDA_SUCCESS);
}

TEST_CASE("a pointer tells the device that its memory is on") {
  DriverSession session;
  Mapped mapped;
  mapped.allow(0);
  CHECK(device_of(mapped.address) == 1);
  CUcontext theirs = nullptr;
  REQUIRE(cuCtxCreate_v2(&theirs, 0, 1) == CUDA_SUCCESS);
  CUdeviceptr counter = 0;
  CUmodule module = session.load(kAddPtx);
  REQUIRE(cuModuleGetGlobal_v2(&counter, nullptr, module, "counter") == CUDA_SUCCESS);
  REQUIRE(cuCtxSetCurrent(session.context()) == CUDA_SUCCESS);
  REQUIRE(cuCtxEnablePeerAccess(theirs, 0) == CUDA_SUCCESS);
  CHECK(device_of(counter) == 1);
  CHECK(cuCtxDisablePeerAccess(theirs) == CUDA_SUCCESS);
  CHECK(cuCtxDestroy_v2(theirs) == CUDA_SUCCESS);
}

TEST_CASE("what cuMemCreate and cuMemAlloc give out together is no more than the device has") {
  DriverSession session;
  CUmemAllocationProp properties{};
  properties.type = CU_MEM_ALLOCATION_TYPE_PINNED;
  properties.location = {CU_MEM_LOCATION_TYPE_DEVICE, 0};
  CUmemGenericAllocationHandle handle = 0;
  const std::size_t most = session.free_bytes() / kStep * kStep;
  REQUIRE(cuMemCreate(&handle, most, &properties, 0) == CUDA_SUCCESS);
  CUdeviceptr address = 0;
  CHECK(cuMemAlloc_v2(&address, kStep) == CUDA_ERROR_OUT_OF_MEMORY);
  CHECK(cuMemRelease(handle) == CUDA_SUCCESS);
  CHECK(cuMemAlloc_v2(&address, kStep) == CUDA_SUCCESS);
  CHECK(cuMemFree_v2(address) == CUDA_SUCCESS);
}

}  // namespace farcall::softgpu::tests
