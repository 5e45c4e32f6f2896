// Device memory: sizes, frees, ranges, pitch, fills.
#include <cstdint>

#include "tests/parity/setup.h"

using namespace parity;

BODY(memory_sizes) {
  Primary primary;
  CUdeviceptr p = 77;
  // "If bytesize is 0, cuMemAlloc() returns CUDA_ERROR_INVALID_VALUE."
  EXPECT(CUDA_ERROR_INVALID_VALUE, "cuda.h, cuMemAlloc", cuMemAlloc_v2, &p, 0);
  VALUE("pointer untouched", p == 77);
  EXPECT(CUDA_ERROR_INVALID_VALUE, "cuda.h, cuMemAlloc", cuMemAlloc_v2, nullptr, 64);
  EXPECT(CUDA_ERROR_OUT_OF_MEMORY, "cuda.h, cuMemAlloc", cuMemAlloc_v2, &p, 1UL << 50);
  CALL(cuMemAlloc_v2, &p, SIZE_MAX);
  CALL(cuMemAlloc_v2, &p, SIZE_MAX - 4096);
  VALUE("pointer untouched", p == 77);
  CALL(cuMemAlloc_v2, &p, 1);
  VALUE("aligned to 256", p % 256);
  CALL(cuMemFree_v2, p + 1);
  CALL(cuMemFree_v2, p);
  CALL(cuMemFree_v2, p);
  CALL(cuMemFree_v2, 0);
  CALL(cuMemFree_v2, 1);
  CALL(cuMemFree_v2, ~0ULL);
  int local = 0;
  CALL(cuMemFree_v2, reinterpret_cast<CUdeviceptr>(&local));
}

BODY(memory_range) {
  Primary primary;
  const CUdeviceptr p = allocate(1000);
  CUdeviceptr base = 0;
  size_t bytes = 0;
  int local = 0;
  CALL(cuMemGetAddressRange_v2, &base, &bytes, p);
  VALUE("base", base == p);
  VALUE("bytes", static_cast<long long>(bytes));
  CALL(cuMemGetAddressRange_v2, &base, &bytes, p + 999);
  VALUE("base", base == p);
  CALL(cuMemGetAddressRange_v2, nullptr, &bytes, p);
  CALL(cuMemGetAddressRange_v2, &base, nullptr, p);
  CALL(cuMemGetAddressRange_v2, nullptr, nullptr, p);
  CALL(cuMemGetAddressRange_v2, &base, &bytes, 0);
  CALL(cuMemGetAddressRange_v2, &base, &bytes, reinterpret_cast<CUdeviceptr>(&local));
  CALL(cuMemFree_v2, p);
  CALL(cuMemGetAddressRange_v2, &base, &bytes, p);
}

BODY(memory_info) {
  Primary primary;
  size_t free_before = 0;
  size_t free_now = 0;
  size_t total = 0;
  size_t device_total = 0;
  CALL(cuMemGetInfo_v2, &free_before, &total);
  CALL(cuDeviceTotalMem_v2, &device_total, 0);
  VALUE("total is the device's", total == device_total);
  VALUE("free is below it", free_before <= total);
  const CUdeviceptr p = allocate(64 << 20);
  CALL(cuMemGetInfo_v2, &free_now, &total);
  VALUE("64 MiB less", free_before - free_now >= (64U << 20));
  CALL(cuMemFree_v2, p);
  CALL(cuMemGetInfo_v2, &free_now, &total);
  VALUE("as before", free_before == free_now);
  CALL(cuMemGetInfo_v2, nullptr, &total);
  CALL(cuMemGetInfo_v2, &free_now, nullptr);
  CALL(cuMemGetInfo_v2, nullptr, nullptr);
}

BODY(memory_pitch) {
  Primary primary;
  CUdeviceptr p = 0;
  size_t pitch = 0;
  // "ElementSizeBytes … may be 4, 8, or 16."
  for (unsigned size : {0U, 1U, 3U, 4U, 8U, 16U, 32U}) {
    about("elements of " + std::to_string(size));
    CALL(cuMemAllocPitch_v2, &p, &pitch, 100, 10, size);
  }
  FACT("pitch", static_cast<long long>(pitch));
  VALUE("pitch is enough", pitch >= 100);
  CALL(cuMemAllocPitch_v2, nullptr, &pitch, 100, 10, 4);
  CALL(cuMemAllocPitch_v2, &p, nullptr, 100, 10, 4);
  CALL(cuMemAllocPitch_v2, &p, &pitch, 0, 10, 4);
  CALL(cuMemAllocPitch_v2, &p, &pitch, 100, 0, 4);
  CALL(cuMemAllocPitch_v2, &p, &pitch, SIZE_MAX, 2, 4);
  CALL(cuMemAllocPitch_v2, &p, &pitch, 1UL << 40, 1UL << 40, 4);
}

BODY(memory_set) {
  Primary primary;
  const CUdeviceptr p = allocate(1024);
  CALL(cuMemsetD32_v2, p, 0x01010101, 256);
  CALL(cuMemsetD8_v2, p, 0xab, 0);
  CALL(cuMemsetD8_v2, 0, 1, 0);
  CALL(cuMemsetD8_v2, 0, 1, 16);
  CALL(cuMemsetD8_v2, p, 2, 1024);
  CALL(cuMemsetD8_v2, p, 2, 1025);
  CALL(cuMemsetD8_v2, p + 1023, 3, 1);
  CALL(cuMemsetD8_v2, p, 2, SIZE_MAX);
  // "Note that the address must be aligned".
  CALL(cuMemsetD16_v2, p + 1, 2, 4);
  CALL(cuMemsetD32_v2, p + 2, 2, 4);
  CALL(cuMemsetD32_v2, p, 2, SIZE_MAX / 2);
  CALL(cuMemsetD2D8_v2, p, 32, 4, 16, 4);
  CALL(cuMemsetD2D8_v2, p, 8, 4, 16, 4);
  CALL(cuMemsetD2D8_v2, p, 32, 4, 0, 4);
  CALL(cuMemsetD2D8_v2, p, 32, 4, 16, 0);
  CALL(cuMemsetD2D8_v2, p, 512, 4, 16, 3);
  CALL(cuMemsetD2D16_v2, p + 1, 32, 4, 8, 4);
  CALL(cuMemsetD2D32_v2, p, 33, 4, 8, 4);
  CALL(cuMemsetD2D32_v2, p, 0, 4, 8, 1);
  CALL(cuMemsetD8Async, p, 5, 16, nullptr);
  CALL(cuMemsetD16Async, p + 16, 0x0606, 8, nullptr);
  CALL(cuMemsetD32Async, p + 32, 0x07070707, 4, nullptr);
  CALL(cuMemsetD32Async, p + 33, 0x07070707, 4, nullptr);
  CALL(cuMemsetD8Async, 0, 5, 16, nullptr);
  CALL(cuCtxSynchronize);
  VALUE("memory", text(read_back(p, 16)));
}

BODY(memory_freed) {
  Primary primary;
  const CUdeviceptr p = allocate(1 << 20);
  int value = 0;
  CALL(cuMemFree_v2, p);
  CALL(cuMemcpyHtoD_v2, p, &value, 4);
  CALL(cuMemcpyDtoH_v2, &value, p, 4);
  CALL(cuMemsetD8_v2, p, 1, 16);
  CALL(cuMemcpyDtoD_v2, p, p + 64, 16);
  CALL(cuCtxSynchronize);
}

// Sizes and distances that do not fit 32 bits; hardly a page of it is touched.
BODY(memory_beyond_4_gib) {
  Primary primary;
  constexpr size_t kFar = (4UL << 30) + 4096;
  CUdeviceptr p = 0;
  if (CALL(cuMemAlloc_v2, &p, (5UL << 30)) != CUDA_SUCCESS) stop("too small a device");
  CUdeviceptr base = 0;
  size_t bytes = 0;
  CALL(cuMemGetAddressRange_v2, &base, &bytes, p + kFar);
  VALUE("bytes", static_cast<long long>(bytes));
  int value = 42;
  CALL(cuMemsetD32_v2, p + 4096, 1, 4);
  CALL(cuMemcpyHtoD_v2, p + kFar, &value, 4);
  VALUE("near", text(read_back(p + 4096, 1)));
  VALUE("far", text(read_back(p + kFar, 1)));
  CALL(cuMemcpyDtoD_v2, p + 4096, p + kFar, 4);
  VALUE("near", text(read_back(p + 4096, 1)));
  CALL(cuMemsetD8_v2, p + (5UL << 30) - 4, 9, 4);
  CALL(cuMemsetD8_v2, p + (5UL << 30) - 4, 9, 5);
  CALL(cuMemcpyDtoH_v2, &value, p + (5UL << 30) - 3, 4);
  Kernels kernels;
  VALUE("launch", name_of(fill(kernels.get("fill"), p + kFar, 17, 4, nullptr)));
  VALUE("far", text(read_back(p + kFar, 4)));
  CALL(cuMemFree_v2, p);
}
