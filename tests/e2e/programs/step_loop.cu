// A training loop as it should be: every step posts its work and waits once. What it costs far away
// is what tests/e2e/slow_link.py measures.
//   step_loop STEPS wait|read|pinned
//     wait    cudaStreamSynchronize each step, the loss is read at the end
//     read    the loss is read each step by cudaMemcpy, which waits
//     pinned  the loss comes each step by cudaMemcpyAsync into page-locked memory, then
//             cudaStreamSynchronize
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "expect.h"

constexpr int kItems = 1024;
constexpr int kLayers = 6;

__global__ void layer(float* weights, const float* in, float* out) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  out[i] = weights[i] * in[i] + 1.0f;
  weights[i] += 0.125f;
}

__global__ void judge(const float* out, float* loss) {
  if (threadIdx.x == 0) *loss += out[0];
}

int main(int argc, char** argv) {
  const int steps = argc > 1 ? std::atoi(argv[1]) : 20;
  const char* mode = argc > 2 ? argv[2] : "wait";
  const bool reads = std::strcmp(mode, "read") == 0, pinned = std::strcmp(mode, "pinned") == 0;
  float *weights, *data[2], *loss, *seen = nullptr;
  CUDA_OK(cudaMalloc(&weights, kItems * sizeof(float)));
  CUDA_OK(cudaMalloc(&data[0], kItems * sizeof(float)));
  CUDA_OK(cudaMalloc(&data[1], kItems * sizeof(float)));
  CUDA_OK(cudaMalloc(&loss, sizeof(float)));
  CUDA_OK(cudaMallocHost(&seen, sizeof(float)));
  CUDA_OK(cudaMemset(weights, 0, kItems * sizeof(float)));
  cudaStream_t stream;
  CUDA_OK(cudaStreamCreate(&stream));
  std::vector<float> batch(kItems);
  float expected = 0, weight = 0;
  for (int step = 0; step < steps; step++) {
    const float first = static_cast<float>(step % 8);
    batch.assign(kItems, first);
    CUDA_OK(cudaMemcpyAsync(data[0], batch.data(), kItems * sizeof(float), cudaMemcpyHostToDevice,
                            stream));
    CUDA_OK(cudaMemsetAsync(loss, 0, sizeof(float), stream));
    float value = first;
    for (int l = 0; l < kLayers; l++) {
      layer<<<kItems / 256, 256, 0, stream>>>(weights, data[l % 2], data[(l + 1) % 2]);
      value = weight * value + 1.0f;
      weight += 0.125f;
    }
    expected = value;
    judge<<<1, 32, 0, stream>>>(data[kLayers % 2], loss);
    // Kept small: the weights of the next step begin at nought again.
    CUDA_OK(cudaMemsetAsync(weights, 0, kItems * sizeof(float), stream));
    weight = 0;
    if (reads) {
      CUDA_OK(cudaMemcpy(seen, loss, sizeof(float), cudaMemcpyDeviceToHost));
    } else {
      if (pinned) {
        CUDA_OK(cudaMemcpyAsync(seen, loss, sizeof(float), cudaMemcpyDeviceToHost, stream));
      }
      CUDA_OK(cudaStreamSynchronize(stream));
    }
    if ((reads || pinned) && *seen != expected) {
      std::printf("step %d: loss %f, expected %f\n", step, *seen, expected);
      return 1;
    }
  }
  CUDA_OK(cudaMemcpy(seen, loss, sizeof(float), cudaMemcpyDeviceToHost));
  std::printf("%d steps: loss %.3f, expected %.3f\n", steps, *seen, expected);
  return *seen == expected ? 0 : 1;
}
