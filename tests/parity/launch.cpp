// Launches: shapes, parameters, handles, attributes.
#include <thread>
#include <vector>

#include "tests/parity/setup.h"

using namespace parity;

BODY(launch_shapes) {
  Primary primary;
  Kernels kernels;
  const CUfunction f = kernels.get("empty");
  const CUfunction sized = kernels.get("sized");
  CUdeviceptr p = allocate(64);
  void* parameters[] = {&p};
  CALL(cuLaunchKernel, f, 1, 1, 1, 1, 1, 1, 0, nullptr, nullptr, nullptr);
  CALL(cuLaunchKernel, f, 0, 1, 1, 1, 1, 1, 0, nullptr, nullptr, nullptr);
  CALL(cuLaunchKernel, f, 1, 0, 1, 1, 1, 1, 0, nullptr, nullptr, nullptr);
  CALL(cuLaunchKernel, f, 1, 1, 0, 1, 1, 1, 0, nullptr, nullptr, nullptr);
  CALL(cuLaunchKernel, f, 1, 1, 1, 0, 1, 1, 0, nullptr, nullptr, nullptr);
  CALL(cuLaunchKernel, f, 1, 1, 1, 1, 0, 1, 0, nullptr, nullptr, nullptr);
  CALL(cuLaunchKernel, f, 1, 1, 1, 1, 1, 0, 0, nullptr, nullptr, nullptr);
  CALL(cuLaunchKernel, f, 1, 1, 1, 1024, 1, 1, 0, nullptr, nullptr, nullptr);
  CALL(cuLaunchKernel, f, 1, 1, 1, 1025, 1, 1, 0, nullptr, nullptr, nullptr);
  CALL(cuLaunchKernel, f, 1, 1, 1, 1, 1, 65, 0, nullptr, nullptr, nullptr);
  CALL(cuLaunchKernel, f, 1, 1, 1, 64, 64, 1, 0, nullptr, nullptr, nullptr);
  CALL(cuLaunchKernel, f, 1, 1, 1, 1U << 31, 2, 1, 0, nullptr, nullptr, nullptr);
  CALL(cuLaunchKernel, f, 1, 65536, 1, 1, 1, 1, 0, nullptr, nullptr, nullptr);
  CALL(cuLaunchKernel, f, 1, 1, 65536, 1, 1, 1, 0, nullptr, nullptr, nullptr);
  CALL(cuLaunchKernel, f, ~0U, 1, 1, 1, 1, 1, 0, nullptr, nullptr, nullptr);
  CALL(cuLaunchKernel, f, 1, 1, 1, 1, 1, 1, 48 << 10, nullptr, nullptr, nullptr);
  CALL(cuLaunchKernel, f, 1, 1, 1, 1, 1, 1, (48 << 10) + 1, nullptr, nullptr, nullptr);
  CALL(cuLaunchKernel, f, 1, 1, 1, 1, 1, 1, ~0U, nullptr, nullptr, nullptr);
  CALL(cuLaunchKernel, sized, 1, 1, 1, 64, 1, 1, 0, nullptr, parameters, nullptr);
  CALL(cuLaunchKernel, sized, 1, 1, 1, 65, 1, 1, 0, nullptr, parameters, nullptr);
  CALL(cuLaunchKernel, sized, 1, 1, 1, 64, 1, 1, 48 << 10, nullptr, parameters, nullptr);
  CALL(cuCtxSynchronize);
}

BODY(launch_parameters) {
  Primary primary;
  Kernels kernels;
  const CUfunction f = kernels.get("fill");
  CUdeviceptr p = allocate(256);
  int value = 4;
  int count = 4;
  void* parameters[] = {&p, &value, &count};
  CALL(cuLaunchKernel, nullptr, 1, 1, 1, 64, 1, 1, 0, nullptr, parameters, nullptr);
  CALL(cuLaunchKernel, f, 1, 1, 1, 64, 1, 1, 0, nullptr, parameters, nullptr);
  VALUE("memory", text(read_back(p, 4)));
  struct {
    CUdeviceptr p;
    int value;
    int count;
  } packed{p, 5, 4};
  size_t bytes = sizeof packed;
  void* extra[] = {CU_LAUNCH_PARAM_BUFFER_POINTER, &packed, CU_LAUNCH_PARAM_BUFFER_SIZE, &bytes,
                   CU_LAUNCH_PARAM_END};
  CALL(cuLaunchKernel, f, 1, 1, 1, 64, 1, 1, 0, nullptr, nullptr, extra);
  VALUE("memory", text(read_back(p, 4)));
  // "The error CUDA_ERROR_INVALID_VALUE will be returned if kernel parameters are specified with
  // both kernelParams and extra".
  EXPECT(CUDA_ERROR_INVALID_VALUE, "cuda.h, cuLaunchKernel", cuLaunchKernel, f, 1, 1, 1, 64, 1, 1,
         0, nullptr, parameters, extra);
  bytes = 12;
  CALL(cuLaunchKernel, f, 1, 1, 1, 64, 1, 1, 0, nullptr, nullptr, extra);
  bytes = 0;
  CALL(cuLaunchKernel, f, 1, 1, 1, 64, 1, 1, 0, nullptr, nullptr, extra);
  void* odd[] = {reinterpret_cast<void*>(77UL), &packed, CU_LAUNCH_PARAM_END};
  CALL(cuLaunchKernel, f, 1, 1, 1, 64, 1, 1, 0, nullptr, nullptr, odd);
  void* pointer_only[] = {CU_LAUNCH_PARAM_BUFFER_POINTER, &packed, CU_LAUNCH_PARAM_END};
  CALL(cuLaunchKernel, f, 1, 1, 1, 64, 1, 1, 0, nullptr, nullptr, pointer_only);
  void* nothing[] = {CU_LAUNCH_PARAM_END};
  CALL(cuLaunchKernel, kernels.get("empty"), 1, 1, 1, 64, 1, 1, 0, nullptr, nullptr, nothing);
  CALL(cuCtxSynchronize);
}

BODY(launch_as_kernel) {
  Primary primary;
  CUlibrary library = nullptr;
  CUkernel kernel = nullptr;
  need(CU(cuLibraryLoadData)(&library, kPtx, nullptr, nullptr, 0, nullptr, nullptr, 0), "load");
  need(CU(cuLibraryGetKernel)(&kernel, library, "fill"), "cuLibraryGetKernel");
  const CUdeviceptr p = allocate(64);
  const auto f = reinterpret_cast<CUfunction>(kernel);
  VALUE("launch", name_of(fill(f, p, 6, 16, nullptr)));
  VALUE("memory", text(read_back(p, 16)));
  int is = 0;
  CALL(cuFuncGetAttribute, &is, CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK, f);
  CALL(cuLaunchKernel, f, 1, 1, 1, 2048, 1, 1, 0, nullptr, nullptr, nullptr);
  CALL(cuLaunchKernel, f, 1, 70000, 1, 1, 1, 1, 0, nullptr, nullptr, nullptr);
  CALL(cuLaunchKernel, f, 0, 1, 1, 1, 1, 1, 0, nullptr, nullptr, nullptr);
  CALL(cuLibraryUnload, library);
  VALUE("launch", name_of(fill(f, p, 6, 16, nullptr)));
}

BODY(launch_extended) {
  Primary primary;
  Kernels kernels;
  const CUfunction f = kernels.get("empty");
  CUlaunchAttribute attribute{};
  CUlaunchConfig config{};
  config.gridDimX = config.gridDimY = config.gridDimZ = 1;
  config.blockDimX = config.blockDimY = config.blockDimZ = 1;
  config.attrs = &attribute;
  CALL(cuLaunchKernelEx, &config, f, nullptr, nullptr);
  CALL(cuLaunchKernelEx, nullptr, f, nullptr, nullptr);
  CALL(cuLaunchKernelEx, &config, nullptr, nullptr, nullptr);
  config.numAttrs = 1;
  attribute.id = CU_LAUNCH_ATTRIBUTE_IGNORE;
  CALL(cuLaunchKernelEx, &config, f, nullptr, nullptr);
  attribute.id = number<CUlaunchAttributeID>(999);
  CALL(cuLaunchKernelEx, &config, f, nullptr, nullptr);
  attribute.id = CU_LAUNCH_ATTRIBUTE_COOPERATIVE;
  attribute.value.cooperative = 1;
  CALL(cuLaunchKernelEx, &config, f, nullptr, nullptr);
  attribute.id = CU_LAUNCH_ATTRIBUTE_PRIORITY;
  attribute.value.priority = -1;
  CALL(cuLaunchKernelEx, &config, f, nullptr, nullptr);
  attribute.id = CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION;
  attribute.value.clusterDim.x = attribute.value.clusterDim.y = attribute.value.clusterDim.z = 1;
  CALL(cuLaunchKernelEx, &config, f, nullptr, nullptr);
  config.attrs = nullptr;
  CALL(cuLaunchKernelEx, &config, f, nullptr, nullptr);
  config.attrs = &attribute;
  config.numAttrs = 0;
  config.gridDimX = 0;
  CALL(cuLaunchKernelEx, &config, f, nullptr, nullptr);
  config.gridDimX = 1;
  config.blockDimX = 2048;
  CALL(cuLaunchKernelEx, &config, f, nullptr, nullptr);
  const auto large = CUDA_ERROR_COOPERATIVE_LAUNCH_TOO_LARGE;
  EXPECT(large, "cuda.h, cuLaunchCooperativeKernel", cuLaunchCooperativeKernel, f, 1 << 20, 1, 1,
         1024, 1, 1, 0, nullptr, nullptr);
  CALL(cuLaunchCooperativeKernel, f, 1, 1, 1, 32, 1, 1, 0, nullptr, nullptr);
  CALL(cuLaunchCooperativeKernel, nullptr, 1, 1, 1, 32, 1, 1, 0, nullptr, nullptr);
  CALL(cuLaunchCooperativeKernel, f, 0, 1, 1, 32, 1, 1, 0, nullptr, nullptr);
  CALL(cuCtxSynchronize);
}

// What many threads queue at once on their own streams and on one they share all comes to pass.
BODY(launch_from_threads) {
  Primary primary;
  Kernels kernels;
  const CUfunction f = kernels.get("add");
  const CUdeviceptr p = allocate(4);
  need(CU(cuMemsetD32_v2)(p, 0, 1), "cuMemsetD32");
  const CUstream shared = new_stream();
  std::vector<std::thread> threads;
  for (int thread = 0; thread < 8; ++thread) {
    threads.emplace_back([&] {
      need(CU(cuCtxSetCurrent)(primary.context), "cuCtxSetCurrent");
      const CUstream own = new_stream();
      CUdeviceptr to = p;
      int one = 1;
      void* parameters[] = {&to, &one};
      for (int i = 0; i < 25; ++i) {
        for (CUstream stream : {own, shared}) {
          need(CU(cuLaunchKernel)(f, 1, 1, 1, 32, 1, 1, 0, stream, parameters, nullptr), "launch");
        }
        const CUdeviceptr mine = allocate(1000);
        need(CU(cuMemFree_v2)(mine), "cuMemFree");
      }
      need(CU(cuStreamSynchronize)(own), "cuStreamSynchronize");
      need(CU(cuStreamDestroy_v2)(own), "cuStreamDestroy");
    });
  }
  for (std::thread& thread : threads) thread.join();
  CALL(cuStreamSynchronize, shared);
  VALUE("sum", text(read_back(p, 1)));
}
