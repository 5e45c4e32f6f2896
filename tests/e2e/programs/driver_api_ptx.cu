// The driver API alone: contexts, a module from PTX text, launches both ways, error codes.
#include <cstring>

#include "tests/e2e/programs/expect_driver.h"

// Written by hand: out[i] = in[i] * factor + bias, where bias is a module variable.
const char* const kPtx = R"(
.version 7.0
.target sm_50
.address_size 64
.visible .global .align 4 .u32 bias = 5;
.visible .entry scale(.param .u64 in, .param .u64 out, .param .u32 factor, .param .u32 count)
{
  .reg .pred %p<2>;
  .reg .b32 %r<9>;
  .reg .b64 %rd<7>;
  mov.u32 %r1, %ctaid.x;
  mov.u32 %r2, %ntid.x;
  mov.u32 %r3, %tid.x;
  mad.lo.s32 %r4, %r1, %r2, %r3;
  ld.param.u32 %r5, [count];
  setp.ge.u32 %p1, %r4, %r5;
  @%p1 bra done;
  ld.param.u64 %rd1, [in];
  ld.param.u64 %rd2, [out];
  ld.param.u32 %r6, [factor];
  mul.wide.u32 %rd3, %r4, 4;
  add.s64 %rd4, %rd1, %rd3;
  add.s64 %rd5, %rd2, %rd3;
  ld.global.u32 %r7, [%rd4];
  ld.global.u32 %r8, [bias];
  mad.lo.s32 %r7, %r7, %r6, %r8;
  st.global.u32 [%rd5], %r7;
done:
  ret;
}
)";

int main() {
  EXPECT(cuCtxSynchronize() == CUDA_ERROR_NOT_INITIALIZED);
  DRIVER_OK(cuInit(0));
  int devices = 0;
  DRIVER_OK(cuDeviceGetCount(&devices));
  EXPECT(devices >= 1);
  CUdevice device;
  DRIVER_OK(cuDeviceGet(&device, 0));
  char name[128];
  DRIVER_OK(cuDeviceGetName(name, sizeof name, device));
  EXPECT(std::strlen(name) > 0);
  EXPECT(cuDeviceGet(&device, devices) == CUDA_ERROR_INVALID_DEVICE);
  EXPECT(cuCtxSynchronize() == CUDA_ERROR_INVALID_CONTEXT);

  CUcontext context, current;
  DRIVER_OK(cuDevicePrimaryCtxRetain(&context, 0));
  DRIVER_OK(cuCtxPushCurrent(context));
  DRIVER_OK(cuCtxGetCurrent(&current));
  EXPECT(current == context);

  CUmodule module;
  CUfunction scale;
  CUdeviceptr bias, in, out;
  std::size_t bytes = 0;
  EXPECT(cuModuleLoadData(&module, ".version 7.0\n.target sm_50\nnonsense") ==
         CUDA_ERROR_INVALID_PTX);
  DRIVER_OK(cuModuleLoadData(&module, kPtx));
  EXPECT(cuModuleGetFunction(&scale, module, "no_such_kernel") == CUDA_ERROR_NOT_FOUND);
  DRIVER_OK(cuModuleGetFunction(&scale, module, "scale"));
  DRIVER_OK(cuModuleGetGlobal(&bias, &bytes, module, "bias"));
  EXPECT(bytes == 4);

  unsigned count = 1000, factor = 3, host[1000];
  for (unsigned i = 0; i < count; i++) host[i] = i;
  DRIVER_OK(cuMemAlloc(&in, sizeof host));
  DRIVER_OK(cuMemAlloc(&out, sizeof host));
  DRIVER_OK(cuMemcpyHtoD(in, host, sizeof host));
  void* arguments[] = {&in, &out, &factor, &count};
  DRIVER_OK(cuLaunchKernel(scale, 8, 1, 1, 128, 1, 1, 0, nullptr, arguments, nullptr));
  DRIVER_OK(cuMemcpyDtoH(host, out, sizeof host));
  for (unsigned i = 0; i < count; i++) EXPECT(host[i] == i * 3 + 5);

  // Again with another bias, and the arguments packed into one buffer.
  DRIVER_OK(cuMemsetD32(bias, 100, 1));
  struct {
    CUdeviceptr in, out;
    unsigned factor, count;
  } packed = {in, out, 7, count};
  std::size_t packed_bytes = sizeof packed;
  void* extra[] = {CU_LAUNCH_PARAM_BUFFER_POINTER, &packed, CU_LAUNCH_PARAM_BUFFER_SIZE,
                   &packed_bytes, CU_LAUNCH_PARAM_END};
  DRIVER_OK(cuLaunchKernel(scale, 8, 1, 1, 128, 1, 1, 0, nullptr, nullptr, extra));
  DRIVER_OK(cuCtxSynchronize());
  DRIVER_OK(cuMemcpyDtoH(host, out, sizeof host));
  for (unsigned i = 0; i < count; i++) EXPECT(host[i] == i * 7 + 100);

  const char* text = nullptr;
  DRIVER_OK(cuGetErrorName(CUDA_ERROR_NOT_FOUND, &text));
  EXPECT(std::strcmp(text, "CUDA_ERROR_NOT_FOUND") == 0);
  EXPECT(cuMemFree(in + 4) == CUDA_ERROR_INVALID_VALUE);
  DRIVER_OK(cuMemFree(in));
  DRIVER_OK(cuMemFree(out));
  DRIVER_OK(cuModuleUnload(module));
  DRIVER_OK(cuCtxPopCurrent(&current));
  DRIVER_OK(cuDevicePrimaryCtxRelease(0));
  std::printf("driver_api_ptx: %u values, last %u\n", count, host[count - 1]);
  return 0;
}
