// The few entry points the benchmark calls, from whatever libcuda.so.1 this process has preloaded:
// the shim, the software GPU, NVIDIA's.
//
//   Driver cuda = open_driver();
//   check(cuda.allocate(&memory, bytes), "cuMemAlloc");
//
// Ends the program with a message when something fails: a benchmark of errors is of no use.
// Owner: plain values; the library stays loaded.  Threads: any.
#pragma once
#include <dlfcn.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>

#include "transport/cuda/cuda_abi.h"

namespace farcall::bench {

struct Driver {
  decltype(&::cuInit) init;
  decltype(&::cuDeviceGetName) device_name;
  decltype(&::cuDevicePrimaryCtxRetain) retain_context;
  decltype(&::cuCtxSetCurrent) set_context;
  decltype(&::cuCtxSynchronize) synchronize;
  decltype(&::cuModuleLoadData) load_module;
  decltype(&::cuModuleGetFunction) get_function;
  decltype(&::cuLaunchKernel) launch;
  decltype(&::cuStreamCreate) create_stream;
  decltype(&::cuStreamSynchronize) synchronize_stream;
  decltype(&::cuMemAlloc_v2) allocate;
  decltype(&::cuMemFree_v2) release;
  decltype(&::cuMemGetInfo_v2) memory_info;
  decltype(&::cuMemcpyHtoD_v2) copy_in;
  decltype(&::cuMemcpyDtoH_v2) copy_out;
};

inline void check(CUresult result, const char* what) {
  if (result == CUDA_SUCCESS) return;
  std::fprintf(stderr, "%s: CUresult %d\n", what, static_cast<int>(result));
  std::exit(1);
}

template <class F>
void find(void* library, const char* name, F* function) {
  *function = reinterpret_cast<F>(::dlsym(library, name));
  if (*function != nullptr) return;
  std::fprintf(stderr, "libcuda.so.1 has no %s\n", name);
  std::exit(1);
}

inline Driver open_driver() {
  void* library = ::dlopen("libcuda.so.1", RTLD_NOW);
  if (library == nullptr) {
    std::fprintf(stderr, "%s\n", ::dlerror());
    std::exit(1);
  }
  Driver driver{};
  find(library, "cuInit", &driver.init);
  find(library, "cuDeviceGetName", &driver.device_name);
  find(library, "cuDevicePrimaryCtxRetain", &driver.retain_context);
  find(library, "cuCtxSetCurrent", &driver.set_context);
  find(library, "cuCtxSynchronize", &driver.synchronize);
  find(library, "cuModuleLoadData", &driver.load_module);
  find(library, "cuModuleGetFunction", &driver.get_function);
  find(library, "cuLaunchKernel", &driver.launch);
  find(library, "cuStreamCreate", &driver.create_stream);
  find(library, "cuStreamSynchronize", &driver.synchronize_stream);
  find(library, "cuMemAlloc_v2", &driver.allocate);
  find(library, "cuMemFree_v2", &driver.release);
  find(library, "cuMemGetInfo_v2", &driver.memory_info);
  find(library, "cuMemcpyHtoD_v2", &driver.copy_in);
  find(library, "cuMemcpyDtoH_v2", &driver.copy_out);
  return driver;
}

// What a program has before it can launch: a context, a kernel of two parameters that does nothing,
// a stream. Never given back: the process ends.
struct Ready {
  CUfunction nothing = nullptr;
  CUstream stream = nullptr;

  explicit Ready(const Driver& cuda) {
    constexpr const char* kPtx =
        ".version 7.0\n.target sm_50\n.address_size 64\n"
        ".visible .entry nothing(.param .u64 a, .param .u32 b) { ret; }\n";
    CUcontext context = nullptr;
    CUmodule module = nullptr;
    check(cuda.init(0), "cuInit");
    check(cuda.retain_context(&context, 0), "cuDevicePrimaryCtxRetain");
    check(cuda.set_context(context), "cuCtxSetCurrent");
    check(cuda.load_module(&module, kPtx), "cuModuleLoadData");
    check(cuda.get_function(&nothing, module, "nothing"), "cuModuleGetFunction");
    check(cuda.create_stream(&stream, CU_STREAM_NON_BLOCKING), "cuStreamCreate");
  }
  CUresult launch(const Driver& cuda, CUdeviceptr a) const {
    std::uint32_t b = 7;
    void* arguments[] = {&a, &b};
    return cuda.launch(nothing, 1, 1, 1, 32, 1, 1, 0, stream, arguments, nullptr);
  }
};

}  // namespace farcall::bench
