// What many bodies need first: a context, a module with a few kernels, a stream that is held up.
//
//   Primary context;                      // cuInit, device 0, its primary context current
//   Kernels kernels;                      // the module of kPtx, loaded
//   Held held(stream);                    // the stream waits from here …
//   held.release();                       // … until here
//
// None of this prints: what it does is tested elsewhere. What fails ends the body.
// Owner: the body. Threads: one.
#pragma once
#include <atomic>
#include <vector>

#include "tests/parity/parity.h"

namespace parity {

// Ends the body unless `code` is success.
void need(CUresult code, const char* what);

// cuInit and device 0, no context.
struct Device {
  Device();
  CUdevice device = 0;
};

// The primary context of device 0, retained and current. Not released: bodies end with the process.
struct Primary : Device {
  Primary();
  CUcontext context = nullptr;
};

// A context of its own, made by cuCtxCreate_v2 (every driver has it), current.
CUcontext new_context(CUdevice device);

// kPtx, loaded into the current context.
//   fill(p, value, count)  p[i] = value, i over the whole grid
//   add(p, value)          atomically adds to *p, once for each thread
//   fault(p)               writes to *p; give it a bad address
//   trap()                 stops with trap
//   fail_assert()          an assertion that does not hold
//   empty()                nothing
//   sized(…)               __launch_bounds__ of 64, 1 KiB of static shared memory
// Its variables: counter (4 bytes), table (256 bytes), fixed (constant, 64 bytes).
struct Kernels {
  Kernels();
  CUfunction get(const char* name) const;
  CUmodule module = nullptr;
};
extern const char* const kPtx;

// Launches fill(p, value, count) on `stream` as one block a 64 threads. Returns the driver's code.
CUresult fill(CUfunction kernel, CUdeviceptr p, int value, int count, CUstream stream);

CUdeviceptr allocate(size_t bytes);
CUstream new_stream(unsigned flags = CU_STREAM_NON_BLOCKING);
CUevent new_event(unsigned flags = CU_EVENT_DEFAULT);
std::vector<int> read_back(CUdeviceptr p, size_t count);
// "1 1 1 1", or "7 x 1024" where all are the same.
std::string text(const std::vector<int>& values);

// Holds `stream` up by a host function that waits.
class Held {
 public:
  explicit Held(CUstream stream);
  ~Held() { release(); }
  void release();

 private:
  std::atomic<bool>* open_;  // outlives the body's frame: the host function may still look
};

// What no driver gave out, as a handle that looks like one.
template <class Handle>
Handle bogus() {
  static unsigned char room[4096];  // readable, so that a driver which looks there need not crash
  return reinterpret_cast<Handle>(room + 1024);
}

}  // namespace parity
