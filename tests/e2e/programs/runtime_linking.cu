// PTX linked at run time, a green context to run it in, and launches the way CUDA 3 made them.
#include <cstring>
#include <fstream>

#include "tests/e2e/programs/expect_driver.h"

// Two parts of one program: a kernel, and the function it calls.
const char* const kKernel = R"(
.version 7.0
.target sm_50
.address_size 64
.extern .func (.param .b32 out) twice(.param .b32 in);
.visible .entry fill(.param .u64 to, .param .u32 count)
{
  .reg .pred %p<2>;
  .reg .b32 %r<7>;
  .reg .b64 %rd<4>;
  mov.u32 %r1, %ctaid.x;
  mov.u32 %r2, %ntid.x;
  mov.u32 %r3, %tid.x;
  mad.lo.s32 %r4, %r1, %r2, %r3;
  ld.param.u32 %r5, [count];
  setp.ge.u32 %p1, %r4, %r5;
  @%p1 bra done;
  {
    .param .b32 argument;
    .param .b32 result;
    st.param.b32 [argument], %r4;
    call.uni (result), twice, (argument);
    ld.param.b32 %r6, [result];
  }
  ld.param.u64 %rd1, [to];
  mul.wide.u32 %rd2, %r4, 4;
  add.s64 %rd3, %rd1, %rd2;
  st.global.u32 [%rd3], %r6;
done:
  ret;
}
)";
const char* const kFunction = R"(
.version 7.0
.target sm_50
.address_size 64
.visible .func (.param .b32 out) twice(.param .b32 in)
{
  .reg .b32 %r<3>;
  ld.param.b32 %r1, [in];
  shl.b32 %r2, %r1, 1;
  st.param.b32 [out], %r2;
  ret;
}
)";

constexpr unsigned kCount = 1000;

CUresult add(CUlinkState link, const char* text, const char* name) {
  return cuLinkAddData(link, CU_JIT_INPUT_PTX, const_cast<char*>(text), std::strlen(text) + 1, name,
                       0, nullptr, nullptr);
}

CUmodule linked() {
  char info[1024] = {}, error[1024] = {};
  CUjit_option names[] = {CU_JIT_INFO_LOG_BUFFER, CU_JIT_INFO_LOG_BUFFER_SIZE_BYTES,
                          CU_JIT_ERROR_LOG_BUFFER, CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES,
                          CU_JIT_LOG_VERBOSE};
  void* values[] = {info, reinterpret_cast<void*>(sizeof info), error,
                    reinterpret_cast<void*>(sizeof error), reinterpret_cast<void*>(1)};
  CUlinkState link = nullptr;
  DRIVER_OK(cuLinkCreate(5, names, values, &link));
  DRIVER_OK(add(link, kKernel, "kernel.ptx"));
  char path[] = "/tmp/farcall-link-XXXXXX";
  EXPECT(mkstemp(path) >= 0);
  std::ofstream(path) << kFunction;
  DRIVER_OK(cuLinkAddFile(link, CU_JIT_INPUT_PTX, path, 0, nullptr, nullptr));
  std::remove(path);
  void* image = nullptr;
  std::size_t bytes = 0;
  DRIVER_OK(cuLinkComplete(link, &image, &bytes));
  EXPECT(image != nullptr && bytes > 0);
  CUmodule module = nullptr;
  DRIVER_OK(cuModuleLoadData(&module, image));
  DRIVER_OK(cuLinkDestroy(link));
  return module;
}

// A part of the device, where it can be split; the whole of it where it cannot.
CUgreenCtx part_of(CUdevice device) {
  CUdevResource all, part;
  DRIVER_OK(cuDeviceGetDevResource(device, &all, CU_DEV_RESOURCE_TYPE_SM));
  unsigned groups = 1;
  if (cuDevSmResourceSplitByCount(&part, &groups, &all, nullptr, 0, 1) != CUDA_SUCCESS) part = all;
  CUdevResourceDesc what = nullptr;
  DRIVER_OK(cuDevResourceGenerateDesc(&what, &part, 1));
  CUgreenCtx green = nullptr;
  DRIVER_OK(cuGreenCtxCreate(&green, what, device, CU_GREEN_CTX_DEFAULT_STREAM));
  return green;
}

void check(CUdeviceptr at) {
  unsigned host[kCount];
  DRIVER_OK(cuMemcpyDtoH(host, at, sizeof host));
  for (unsigned i = 0; i < kCount; i++) EXPECT(host[i] == 2 * i);
  DRIVER_OK(cuMemsetD8(at, 0, sizeof host));
}

int main() {
  DRIVER_OK(cuInit(0));
  CUcontext context, view;
  DRIVER_OK(cuDevicePrimaryCtxRetain(&context, 0));
  DRIVER_OK(cuCtxSetCurrent(context));
  CUmodule module = linked();
  CUfunction fill = nullptr;
  DRIVER_OK(cuModuleGetFunction(&fill, module, "fill"));
  CUdeviceptr at = 0;
  DRIVER_OK(cuMemAlloc(&at, kCount * sizeof(unsigned)));
  unsigned count = kCount;
  void* arguments[] = {&at, &count};
  DRIVER_OK(cuLaunchKernel(fill, 8, 1, 1, 128, 1, 1, 0, nullptr, arguments, nullptr));
  check(at);

  CUgreenCtx green = part_of(0);
  CUstream stream = nullptr;
  CUevent event = nullptr;
  DRIVER_OK(cuGreenCtxStreamCreate(&stream, green, CU_STREAM_NON_BLOCKING, 0));
  DRIVER_OK(cuEventCreate(&event, 0));
  DRIVER_OK(cuLaunchKernel(fill, 8, 1, 1, 128, 1, 1, 0, stream, arguments, nullptr));
  DRIVER_OK(cuGreenCtxRecordEvent(green, event));
  DRIVER_OK(cuEventSynchronize(event));
  check(at);
  DRIVER_OK(cuCtxFromGreenCtx(&view, green));
  DRIVER_OK(cuCtxSetCurrent(view));
  DRIVER_OK(cuLaunchKernel(fill, 8, 1, 1, 128, 1, 1, 0, nullptr, arguments, nullptr));
  check(at);
  DRIVER_OK(cuStreamDestroy(stream));
  DRIVER_OK(cuCtxSetCurrent(context));
  DRIVER_OK(cuGreenCtxDestroy(green));
  EXPECT(cuCtxSetCurrent(view) == CUDA_ERROR_INVALID_CONTEXT);

  // Deprecated, and asked for by programs older than CUDA 4.
  DRIVER_OK(cuFuncSetBlockShape(fill, 128, 1, 1));
  DRIVER_OK(cuParamSetv(fill, 0, &at, sizeof at));
  DRIVER_OK(cuParamSeti(fill, 8, kCount));
  DRIVER_OK(cuParamSetSize(fill, 12));
  DRIVER_OK(cuLaunchGrid(fill, 8, 1));
  check(at);
  DRIVER_OK(cuMemFree(at));
  DRIVER_OK(cuModuleUnload(module));
  std::printf("runtime_linking: %u values, last %u\n", kCount, 2 * (kCount - 1));
  return 0;
}
