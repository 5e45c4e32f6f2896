// Calls of the driver while the process ends: from exit handlers, static objects, a destructor of
// the program, what is left of a thread, and a thread that never stops calling. Whatever they
// answer, the program ends by itself, with its own exit code.
#include <cuda.h>

#include <future>
#include <thread>

#include "tests/e2e/programs/expect.h"

static CUcontext g_context;
static CUstream g_stream;
static CUevent g_event;
static CUdeviceptr g_memory;

static const char* name_of(CUresult result) {
  const char* name = nullptr;
  return cuGetErrorName(result, &name) == CUDA_SUCCESS ? name : "?";
}

// Calls of every kind, valid and not. What they say is the same here as locally.
static void use(const char* when) {
  CUcontext current = nullptr;
  CUdeviceptr more = 0;
  size_t free_bytes = 0, all_bytes = 0;
  int value = 0;
  const CUresult results[] = {cuCtxSetCurrent(g_context),
                              cuCtxGetCurrent(&current),
                              cuMemAlloc(&more, 1024),
                              cuMemsetD8(more, 1, 1024),
                              cuMemcpyDtoH(&value, more, sizeof value),
                              cuMemFree(more),
                              cuMemGetInfo(&free_bytes, &all_bytes),
                              cuEventRecord(g_event, g_stream),
                              cuStreamSynchronize(g_stream),
                              cuEventQuery(g_event),
                              cuMemFree(1),
                              cuCtxSynchronize()};
  std::printf("%s:", when);
  for (CUresult result : results) std::printf(" %s", name_of(result));
  std::printf(" %08x\n", value);
  std::fflush(stdout);
}

static void in_first_handler() { use("the handler that was there before CUDA"); }
static void in_last_handler() { use("a handler from after it"); }
__attribute__((destructor)) static void in_destructor() { use("a destructor of the program"); }

struct Global {
  ~Global() { use("a static object"); }
} g_object;

struct OfThread {
  ~OfThread() { use("what a thread leaves"); }
};

static std::promise<void> g_is_calling;
static void never_stops() {
  cuCtxSetCurrent(g_context);
  for (int calls = 1;; ++calls) {
    CUdeviceptr more = 0;
    (void)cuMemAlloc(&more, 64);
    (void)cuMemsetD8Async(more, 1, 64, nullptr);
    (void)cuMemFree(more);
    (void)cuCtxSynchronize();
    if (calls == 10) g_is_calling.set_value();
  }
}

int main() {
  std::atexit(in_first_handler);
  EXPECT(cuInit(0) == CUDA_SUCCESS);
  // A context of its own: what cudart does with its device at the end is no part of this.
  EXPECT(cuCtxCreate(&g_context, nullptr, 0, 0) == CUDA_SUCCESS);
  EXPECT(cuStreamCreate(&g_stream, CU_STREAM_NON_BLOCKING) == CUDA_SUCCESS);
  EXPECT(cuEventCreate(&g_event, 0) == CUDA_SUCCESS);
  EXPECT(cuMemAlloc(&g_memory, 4096) == CUDA_SUCCESS);
  float* runtimes = nullptr;
  CUDA_OK(cudaMalloc(&runtimes, 64));
  std::atexit(in_last_handler);
  std::thread([] {
    thread_local OfThread left;
    (void)left;
  }).join();
  use("the program");
  std::thread(never_stops).detach();
  g_is_calling.get_future().wait();
  return 0;
}
