// What kernels print stands where CUDA promises it: before the end of any call that waits for them,
// in the order of their launches, between what the host printed before and after.
#include <cassert>

#include "expect.h"

namespace {

__global__ void say(int number) {
  if (threadIdx.x == 0) printf("kernel %d\n", number);
}

__global__ void say_often(int lines) {
  for (int i = 0; i < lines; i++) printf("line %d\n", i);
}

__global__ void insist(int* cell) { assert(*cell == 0); }

void host(const char* what) {
  std::printf("host: %s\n", what);
  std::fflush(stdout);
}

void waits(cudaStream_t stream, int* cell) {
  host("before");
  say<<<1, 32>>>(1);
  CUDA_OK(cudaDeviceSynchronize());
  host("behind a device synchronize");
  say<<<1, 32, 0, stream>>>(2);
  say<<<1, 32, 0, stream>>>(3);
  CUDA_OK(cudaStreamSynchronize(stream));
  host("behind a stream synchronize");
  cudaEvent_t event;
  CUDA_OK(cudaEventCreate(&event));
  say<<<1, 32, 0, stream>>>(4);
  CUDA_OK(cudaEventRecord(event, stream));
  CUDA_OK(cudaEventSynchronize(event));
  host("behind an event synchronize");
  int word = 0;
  say<<<1, 32>>>(5);
  CUDA_OK(cudaMemcpy(&word, cell, sizeof word, cudaMemcpyDeviceToHost));
  host("behind a copy");
}

void launches(cudaStream_t stream) {
  cudaGraph_t graph;
  cudaGraphExec_t exec;
  CUDA_OK(cudaStreamBeginCapture(stream, cudaStreamCaptureModeGlobal));
  say<<<1, 32, 0, stream>>>(6);
  say<<<1, 32, 0, stream>>>(7);
  CUDA_OK(cudaStreamEndCapture(stream, &graph));
  CUDA_OK(cudaGraphInstantiate(&exec, graph, 0));
  for (int i = 0; i < 2; i++) {
    CUDA_OK(cudaGraphLaunch(exec, stream));
    CUDA_OK(cudaStreamSynchronize(stream));
    host("behind a graph");
  }
  say_often<<<1, 1, 0, stream>>>(200);
  CUDA_OK(cudaStreamSynchronize(stream));
  host("behind much");
}

}  // namespace

int main() {
  int* cell = to_device(std::vector<int>{1});
  cudaStream_t stream;
  CUDA_OK(cudaStreamCreate(&stream));
  waits(stream, cell);
  launches(stream);
  insist<<<1, 1>>>(cell);
  EXPECT(cudaDeviceSynchronize() == cudaErrorAssert);
  host("behind an assertion");
  return 0;
}
