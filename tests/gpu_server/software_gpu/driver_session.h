// A current context on the software GPU for one test, and what several tests need beside it.
//
//   DriverSession session;                       // device 0's primary context is current
//   CUmodule module = session.load(kAddPtx);
//
// Owner: the test.  Threads: the test's.
#pragma once
#include <doctest/doctest.h>

#include <condition_variable>
#include <cstdlib>
#include <mutex>
#include <string>

#include "transport/cuda/cuda_abi.h"

namespace farcall::softgpu::tests {

inline constexpr std::size_t kTestMemoryBytes = std::size_t{64} << 20;

// Two small devices, whichever test comes first.
inline void start_driver() {
  ::setenv("FARCALL_SOFTGPU_DEVICES", "2", 1);
  ::setenv("FARCALL_SOFTGPU_MEMORY", "64M", 1);
  ::setenv("FARCALL_SOFTGPU_THREADS", "2", 1);
  REQUIRE(cuInit(0) == CUDA_SUCCESS);
}

class DriverSession {
 public:
  DriverSession() {
    start_driver();
    REQUIRE(cuDevicePrimaryCtxRetain(&context_, 0) == CUDA_SUCCESS);
    REQUIRE(cuCtxSetCurrent(context_) == CUDA_SUCCESS);
  }
  ~DriverSession() {
    cuDevicePrimaryCtxRelease_v2(0);
    cuCtxSetCurrent(nullptr);
  }
  DriverSession(const DriverSession&) = delete;
  DriverSession& operator=(const DriverSession&) = delete;

  CUcontext context() const { return context_; }
  CUmodule load(const char* ptx) {
    CUmodule module = nullptr;
    REQUIRE(cuModuleLoadData(&module, ptx) == CUDA_SUCCESS);
    return module;
  }
  CUfunction function(const char* ptx, const char* name) {
    CUfunction found = nullptr;
    REQUIRE(cuModuleGetFunction(&found, load(ptx), name) == CUDA_SUCCESS);
    return found;
  }
  CUdeviceptr allocate(std::size_t bytes) {
    CUdeviceptr address = 0;
    REQUIRE(cuMemAlloc_v2(&address, bytes) == CUDA_SUCCESS);
    return address;
  }
  std::size_t free_bytes() {
    std::size_t free = 0, total = 0;
    REQUIRE(cuMemGetInfo_v2(&free, &total) == CUDA_SUCCESS);
    return free;
  }

 private:
  CUcontext context_ = nullptr;
};

// A gate that a stream's host function waits at, so that a test decides when work goes on.
class Gate {
 public:
  ~Gate() { open(); }
  void open() {
    {
      std::lock_guard lock(mutex_);
      open_ = true;
    }
    changed_.notify_all();
  }
  // For cuLaunchHostFunc.
  static void wait_at(void* gate) {
    auto* self = static_cast<Gate*>(gate);
    std::unique_lock lock(self->mutex_);
    self->changed_.wait(lock, [&] { return self->open_; });
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool open_ = false;
};

// add(out, a, b, n): out[i] = a[i] + b[i] for i < n; one block of threads.
inline constexpr const char* kAddPtx = R"(
.version 8.0
.target sm_75
.address_size 64
.visible .global .align 4 .u32 counter = 7;
.visible .const .align 4 .b8 table[16];
.visible .entry add(.param .u64 out, .param .u64 a, .param .u64 b, .param .u32 n)
{
  .reg .pred %p<2>;
  .reg .b32 %r<8>;
  .reg .b64 %rd<12>;
  ld.param.u64 %rd1, [out];
  ld.param.u64 %rd2, [a];
  ld.param.u64 %rd3, [b];
  ld.param.u32 %r1, [n];
  mov.u32 %r2, %ctaid.x;
  mov.u32 %r3, %ntid.x;
  mov.u32 %r4, %tid.x;
  mad.lo.s32 %r5, %r2, %r3, %r4;
  setp.ge.s32 %p1, %r5, %r1;
  @%p1 bra $done;
  mul.wide.s32 %rd4, %r5, 4;
  add.s64 %rd5, %rd2, %rd4;
  add.s64 %rd6, %rd3, %rd4;
  add.s64 %rd7, %rd1, %rd4;
  ld.global.u32 %r6, [%rd5];
  ld.global.u32 %r7, [%rd6];
  add.s32 %r6, %r6, %r7;
  st.global.u32 [%rd7], %r6;
$done:
  ret;
}
.visible .entry store(.param .u64 where)
{
  .reg .b32 %r<2>;
  .reg .b64 %rd<2>;
  ld.param.u64 %rd1, [where];
  mov.u32 %r1, 42;
  st.global.u32 [%rd1], %r1;
  ret;
}
.visible .entry stop()
{
  trap;
}
.visible .entry mixed(.param .u8 flag, .param .align 8 .b8 box[24], .param .u16 s, .param .u64 p)
{
  ret;
}
.visible .entry small(.param .u64 where) .maxntid 64, 1, 1
{
  ret;
}
)";

}  // namespace farcall::softgpu::tests
