// Compiles a kernel at run time with NVRTC and launches it by the driver API. With an argument,
// which names an architecture such as sm_90, it asks for machine code.
#include <nvrtc.h>

#include <string>

#include "tests/e2e/programs/expect_driver.h"

const char* const kSource = R"(
template <class T> __device__ T scaled(T a, T x, T y) { return a * x + y; }
extern "C" __global__ void saxpy(float a, const float* x, float* y, size_t count) {
  size_t i = blockIdx.x * static_cast<size_t>(blockDim.x) + threadIdx.x;
  if (i < count) y[i] = scaled(a, x[i], y[i]);
}
)";

int main(int count_of_words, char** words) {
  const bool machine_code = count_of_words > 1;
  nvrtcProgram program;
  EXPECT(nvrtcCreateProgram(&program, kSource, "saxpy.cu", 0, nullptr, nullptr) == NVRTC_SUCCESS);
  const std::string architecture = machine_code ? words[1] : "compute_75";
  const std::string option = "--gpu-architecture=" + architecture;
  const char* options[] = {option.c_str()};
  EXPECT(nvrtcCompileProgram(program, 1, options) == NVRTC_SUCCESS);
  const auto size = machine_code ? nvrtcGetCUBINSize : nvrtcGetPTXSize;
  const auto get = machine_code ? nvrtcGetCUBIN : nvrtcGetPTX;
  std::size_t bytes = 0;
  EXPECT(size(program, &bytes) == NVRTC_SUCCESS);
  std::string image(bytes, '\0');
  EXPECT(get(program, image.data()) == NVRTC_SUCCESS);
  EXPECT(nvrtcDestroyProgram(&program) == NVRTC_SUCCESS);

  CUDA_OK(cudaFree(nullptr));  // the runtime makes the context; the driver API shares it
  CUmodule module;
  CUfunction saxpy;
  DRIVER_OK(cuModuleLoadData(&module, image.data()));
  DRIVER_OK(cuModuleGetFunction(&saxpy, module, "saxpy"));
  std::size_t count = 12345;
  std::vector<float> x(count), y(count, 1.0f);
  for (std::size_t i = 0; i < count; i++) x[i] = static_cast<float>(i);
  float a = 2.0f;
  float* device_x = to_device(x);
  float* device_y = to_device(y);
  void* arguments[] = {&a, &device_x, &device_y, &count};
  const unsigned blocks = static_cast<unsigned>((count + 127) / 128);
  DRIVER_OK(cuLaunchKernel(saxpy, blocks, 1, 1, 128, 1, 1, 0, nullptr, arguments, nullptr));
  DRIVER_OK(cuCtxSynchronize());
  y = to_host(device_y, count);
  for (std::size_t i = 0; i < count; i++) EXPECT(y[i] == 2.0f * x[i] + 1.0f);
  DRIVER_OK(cuModuleUnload(module));
  CUDA_OK(cudaFree(device_x));
  CUDA_OK(cudaFree(device_y));
  std::printf("nvrtc_saxpy: %zu elements, last %.0f\n", count, y.back());
  return 0;
}
