// FakeDevice: a driver of one device over ordinary memory, behind the real server code.
//
//   FakeDevice device;
//   World world(device);                  // world.h: the shim talks to it
//   CHECK(device.count("cuMemAlloc_v2") == 1);
//
// The functions are plain C functions, so there is one FakeDevice at a time.  Threads: any.
#pragma once
#include <algorithm>
#include <atomic>
#include <cstring>
#include <map>
#include <mutex>
#include <string>
#include <vector>

#include "transport/api/driver.h"

namespace farcall::shim {

class FakeDevice {
 public:
  static constexpr CUdeviceptr kBase = 0x10'0000'0000;
  static constexpr int kBlockThreadsMax = 1024;
  static constexpr int kKernelThreadsMax = 512;
  static constexpr int kKernelSharedMax = 4096;

  explicit FakeDevice(std::size_t memory_bytes = 8 << 20) : memory(memory_bytes) { self() = this; }
  ~FakeDevice() { self() = nullptr; }
  FakeDevice(const FakeDevice&) = delete;
  FakeDevice& operator=(const FakeDevice&) = delete;

  api::Driver table();

  // What a module says it has: "kernel" first, then those of a very long name. The few tests that
  // set it are told of functions with the load.
  std::atomic<unsigned> functions{0};
  const std::string long_name = std::string(10'000, 'n');
  static inline const auto kFunction = reinterpret_cast<CUfunction>(0x5000);
  static inline const auto kLongFunction = reinterpret_cast<CUfunction>(0x5100);

  int count(const std::string& function) {
    std::lock_guard lock(mutex_);
    return counts_[function];
  }
  std::atomic<int> fail_retain{0};       // CUresult of cuDevicePrimaryCtxRetain
  std::atomic<int> fail_memset{0};       // of cuMemsetD8_v2
  std::atomic<int> fail_launch{0};       // of cuLaunchKernel
  std::atomic<int> fail_sync{0};         // of cuCtxSynchronize
  std::atomic<int> fail_free{0};         // of cuMemFree_v2
  std::atomic<int> fail_event{0};        // of cuEventQuery
  std::atomic<int> retains_twice{0};     // of the primary context, without a release between
  std::atomic<bool> refuse_init{false};  // cuInit fails
  std::vector<std::byte> memory;         // device memory, at kBase
  std::vector<std::byte> launched;       // parameters of the last launch, back to back
  unsigned launched_grid[3] = {};

 protected:
  static void note(const char* function) {
    std::lock_guard lock(self()->mutex_);
    ++self()->counts_[function];
  }

 private:
  static FakeDevice*& self() {
    static FakeDevice* the_one = nullptr;
    return the_one;
  }
  static CUresult copy(CUdeviceptr at, void* host, std::size_t bytes, bool to_device);
  void add_contexts(api::Driver& driver);
  void add_memory(api::Driver& driver);
  void add_modules(api::Driver& driver);

  std::mutex mutex_;
  std::map<std::string, int> counts_;
  std::size_t used_ = 0;
  std::atomic<bool> retained_{false};
};

inline CUresult FakeDevice::copy(CUdeviceptr at, void* host, std::size_t bytes, bool to_device) {
  auto& memory = self()->memory;
  if (at < kBase || at - kBase > memory.size() || bytes > memory.size() - (at - kBase)) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  std::byte* device = memory.data() + (at - kBase);
  if (bytes > 0) std::memcpy(to_device ? device : host, to_device ? host : device, bytes);
  return CUDA_SUCCESS;
}

inline void FakeDevice::add_contexts(api::Driver& driver) {
  driver.cuInit = [](unsigned) {
    return self()->refuse_init ? CUDA_ERROR_NO_DEVICE : CUDA_SUCCESS;
  };
  driver.cuDriverGetVersion = [](int* version) { return *version = 12080, CUDA_SUCCESS; };
  driver.cuDeviceGetCount = [](int* count) { return *count = 1, CUDA_SUCCESS; };
  driver.cuDeviceGetName = [](char* name, int bytes, CUdevice) {
    std::snprintf(name, static_cast<std::size_t>(bytes), "Fake device");
    return CUDA_SUCCESS;
  };
  driver.cuDeviceTotalMem_v2 = [](std::size_t* bytes, CUdevice) {
    return *bytes = self()->memory.size(), CUDA_SUCCESS;
  };
  driver.cuDeviceGetPCIBusId = [](char* id, int bytes, CUdevice) {
    std::snprintf(id, static_cast<std::size_t>(bytes), "0000:3B:00.0");
    return CUDA_SUCCESS;
  };
  driver.cuDeviceGetAttribute = [](int* value, CUdevice_attribute which, CUdevice) {
    switch (which) {
      case CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_X: *value = 100'000; break;
      case CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_Y:
      case CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_Z: *value = 65'535; break;
      case CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_Z: *value = 64; break;
      case CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_X:
      case CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_Y:
      case CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_BLOCK: *value = kBlockThreadsMax; break;
      case CU_DEVICE_ATTRIBUTE_GPU_OVERLAP: return CUDA_ERROR_INVALID_VALUE;
      default: *value = 1;
    }
    return CUDA_SUCCESS;
  };
  driver.cuDevicePrimaryCtxRetain = [](CUcontext* context, CUdevice) {
    note("cuDevicePrimaryCtxRetain");
    if (self()->fail_retain != 0) return static_cast<CUresult>(self()->fail_retain.load());
    if (self()->retained_.exchange(true)) ++self()->retains_twice;
    return *context = reinterpret_cast<CUcontext>(0x1000), CUDA_SUCCESS;
  };
  driver.cuDevicePrimaryCtxRelease_v2 = [](CUdevice) {
    note("cuDevicePrimaryCtxRelease_v2");
    self()->retained_ = false;
    return CUDA_SUCCESS;
  };
  driver.cuDevicePrimaryCtxReset_v2 = [](CUdevice) {
    return note("cuDevicePrimaryCtxReset_v2"), CUDA_SUCCESS;
  };
  driver.cuCtxSetCurrent = [](CUcontext) { return note("cuCtxSetCurrent"), CUDA_SUCCESS; };
  driver.cuCtxCreate_v2 = [](CUcontext* context, unsigned, CUdevice) {
    note("cuCtxCreate_v2");
    return *context = reinterpret_cast<CUcontext>(0x7000), CUDA_SUCCESS;
  };
  driver.cuCtxPopCurrent_v2 = [](CUcontext* context) {
    return *context = reinterpret_cast<CUcontext>(0x7000), CUDA_SUCCESS;
  };
  driver.cuCtxDestroy_v2 = [](CUcontext) { return note("cuCtxDestroy_v2"), CUDA_SUCCESS; };
  driver.cuCtxSynchronize = [] {
    return note("cuCtxSynchronize"), static_cast<CUresult>(self()->fail_sync.load());
  };
  driver.cuCtxGetDevice = [](CUdevice* device) { return *device = 0, CUDA_SUCCESS; };
  driver.cuDeviceCanAccessPeer = [](int* can, CUdevice, CUdevice) {
    note("cuDeviceCanAccessPeer");
    return *can = 7, CUDA_SUCCESS;
  };
}

inline void FakeDevice::add_memory(api::Driver& driver) {
  driver.cuMemAlloc_v2 = [](CUdeviceptr* at, std::size_t bytes) {
    note("cuMemAlloc_v2");
    std::lock_guard lock(self()->mutex_);
    std::size_t rounded = (bytes + 255) / 256 * 256;
    if (rounded > self()->memory.size() - self()->used_) return CUDA_ERROR_OUT_OF_MEMORY;
    *at = kBase + self()->used_;
    self()->used_ += rounded;
    return CUDA_SUCCESS;
  };
  driver.cuMemMap = [](CUdeviceptr, std::size_t, std::size_t, CUmemGenericAllocationHandle,
                       unsigned long long) { return note("cuMemMap"), CUDA_SUCCESS; };
  driver.cuMemUnmap = [](CUdeviceptr, std::size_t) { return note("cuMemUnmap"), CUDA_SUCCESS; };
  driver.cuMemFree_v2 = [](CUdeviceptr) {
    return note("cuMemFree_v2"), static_cast<CUresult>(self()->fail_free.load());
  };
  driver.cuMemcpyHtoD_v2 = [](CUdeviceptr to, const void* from, std::size_t bytes) {
    note("cuMemcpyHtoD_v2");
    return copy(to, const_cast<void*>(from), bytes, true);
  };
  driver.cuMemcpyDtoH_v2 = [](void* to, CUdeviceptr from, std::size_t bytes) {
    note("cuMemcpyDtoH_v2");
    return copy(from, to, bytes, false);
  };
  driver.cuMemsetD8_v2 = [](CUdeviceptr at, unsigned char value, std::size_t bytes) {
    note("cuMemsetD8_v2");
    if (self()->fail_memset != 0) return static_cast<CUresult>(self()->fail_memset.load());
    std::memset(self()->memory.data() + (at - kBase), value, bytes);
    return CUDA_SUCCESS;
  };
  driver.cuStreamCreate = [](CUstream* stream, unsigned) {
    note("cuStreamCreate");
    return *stream = reinterpret_cast<CUstream>(0x2000), CUDA_SUCCESS;
  };
  driver.cuStreamDestroy_v2 = [](CUstream) { return note("cuStreamDestroy_v2"), CUDA_SUCCESS; };
  driver.cuStreamSynchronize = [](CUstream) { return note("cuStreamSynchronize"), CUDA_SUCCESS; };
  driver.cuEventCreate = [](CUevent* event, unsigned) {
    note("cuEventCreate");
    return *event = reinterpret_cast<CUevent>(0x3000), CUDA_SUCCESS;
  };
  driver.cuEventSynchronize = [](CUevent) { return note("cuEventSynchronize"), CUDA_SUCCESS; };
  driver.cuEventRecord = [](CUevent, CUstream) { return note("cuEventRecord"), CUDA_SUCCESS; };
  driver.cuEventQuery = [](CUevent) {
    return note("cuEventQuery"), static_cast<CUresult>(self()->fail_event.load());
  };
}

inline void FakeDevice::add_modules(api::Driver& driver) {
  driver.cuModuleLoadDataEx = [](CUmodule* module, const void*, unsigned, CUjit_option*, void**) {
    note("cuModuleLoadDataEx");
    return *module = reinterpret_cast<CUmodule>(0x4000), CUDA_SUCCESS;
  };
  driver.cuModuleUnload = [](CUmodule) { return note("cuModuleUnload"), CUDA_SUCCESS; };
  driver.cuModuleGetFunction = [](CUfunction* function, CUmodule, const char* name) {
    note("cuModuleGetFunction");
    if (name == self()->long_name) return *function = kLongFunction, CUDA_SUCCESS;
    if (std::strcmp(name, "kernel") != 0) return CUDA_ERROR_NOT_FOUND;
    return *function = kFunction, CUDA_SUCCESS;
  };
  driver.cuModuleGetFunctionCount = [](unsigned* count, CUmodule) {
    return *count = self()->functions, CUDA_SUCCESS;
  };
  driver.cuModuleEnumerateFunctions = [](CUfunction* functions, unsigned count, CUmodule) {
    if (count > 0) functions[0] = kFunction;
    for (unsigned i = 1; i < std::min<unsigned>(count, self()->functions); ++i) {
      functions[i] = kLongFunction;
    }
    return CUDA_SUCCESS;
  };
  driver.cuFuncGetName = [](const char** name, CUfunction function) {
    *name = function == kLongFunction ? self()->long_name.c_str() : "kernel";
    return CUDA_SUCCESS;
  };
  // kernel(char, double, int): the sizes a launch goes by.
  driver.cuFuncGetParamInfo = [](CUfunction, std::size_t index, std::size_t* at,
                                 std::size_t* size) {
    constexpr std::size_t kSizes[] = {1, 8, 4};
    if (index >= 3) return CUDA_ERROR_INVALID_VALUE;
    *at = index * 8;
    *size = kSizes[index];
    return CUDA_SUCCESS;
  };
  driver.cuFuncGetAttribute = [](int* value, CUfunction_attribute which, CUfunction) {
    switch (which) {
      case CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK: *value = kKernelThreadsMax; break;
      case CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES: *value = kKernelSharedMax; break;
      default: *value = 0;
    }
    return CUDA_SUCCESS;
  };
  driver.cuFuncSetAttribute = [](CUfunction, CUfunction_attribute, int) {
    return note("cuFuncSetAttribute"), CUDA_SUCCESS;
  };
  driver.cuLaunchKernel = [](CUfunction, unsigned x, unsigned y, unsigned z, unsigned, unsigned,
                             unsigned, unsigned, CUstream, void** params, void**) {
    note("cuLaunchKernel");
    if (self()->fail_launch != 0) return static_cast<CUresult>(self()->fail_launch.load());
    std::lock_guard lock(self()->mutex_);
    self()->launched_grid[0] = x;
    self()->launched_grid[1] = y;
    self()->launched_grid[2] = z;
    self()->launched.clear();
    constexpr std::size_t kSizes[] = {1, 8, 4};
    for (std::size_t i = 0; i < 3; ++i) {
      auto* from = static_cast<const std::byte*>(params[i]);
      self()->launched.insert(self()->launched.end(), from, from + kSizes[i]);
    }
    return CUDA_SUCCESS;
  };
}

inline api::Driver FakeDevice::table() {
  api::Driver driver;
  add_contexts(driver);
  add_memory(driver);
  add_modules(driver);
  return driver;
}

}  // namespace farcall::shim
