// Kernels that launch kernels: a quicksort that hands its halves to new grids, streams made on the
// device, and memory that one kernel allocates and its child reads.
#include <algorithm>

#include "tests/e2e/programs/expect.h"

constexpr int kDepthMax = 12;

// Below a few numbers, or too deep, sorts where it is.
__device__ void selection_sort(int* data, int left, int right) {
  for (int i = left; i <= right; i++) {
    int smallest = i;
    for (int j = i + 1; j <= right; j++) {
      if (data[j] < data[smallest]) smallest = j;
    }
    const int value = data[i];
    data[i] = data[smallest];
    data[smallest] = value;
  }
}

__global__ void quicksort(int* data, int left, int right, int depth) {
  if (depth >= kDepthMax || right - left <= 24) {
    selection_sort(data, left, right);
    return;
  }
  int low = left, high = right;
  const int pivot = data[(left + right) / 2];
  while (low <= high) {
    while (data[low] < pivot) low++;
    while (data[high] > pivot) high--;
    if (low > high) break;
    const int value = data[low];
    data[low++] = data[high];
    data[high--] = value;
  }
  for (int half = 0; half < 2; half++) {
    const int from = half == 0 ? left : low, to = half == 0 ? high : right;
    if (from >= to) continue;
    cudaStream_t stream;
    cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking);
    quicksort<<<1, 1, 0, stream>>>(data, from, to, depth + 1);
    cudaStreamDestroy(stream);
  }
}

__global__ void add_all(const int* values, int count, int* sum) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < count) atomicAdd(sum, values[i]);
}

__global__ void allocate_and_launch(int count, int* sum) {
  int* values = nullptr;
  if (cudaMalloc(&values, count * sizeof(int)) != cudaSuccess) return;
  for (int i = 0; i < count; i++) values[i] = i + threadIdx.x;
  add_all<<<(count + 31) / 32, 32>>>(values, count, sum);
}

__global__ void too_large(int* error) {
  add_all<<<1, 5000>>>(nullptr, 0, nullptr);
  *error = cudaGetLastError();
}

int main() {
  Random random(11);
  std::vector<int> numbers(2000);
  for (int& x : numbers) x = static_cast<int>(random.next() % 100000);
  int* data = to_device(numbers);
  quicksort<<<1, 1>>>(data, 0, static_cast<int>(numbers.size()) - 1, 0);
  CUDA_OK(cudaDeviceSynchronize());
  std::sort(numbers.begin(), numbers.end());
  EXPECT(to_host(data, numbers.size()) == numbers);

  int* sum = to_device(std::vector<int>{0});
  allocate_and_launch<<<1, 4>>>(100, sum);
  CUDA_OK(cudaDeviceSynchronize());
  EXPECT(to_host(sum, 1)[0] == 4 * (99 * 100 / 2) + 100 * (0 + 1 + 2 + 3));

  int* error = to_device(std::vector<int>{0});
  too_large<<<1, 1>>>(error);
  CUDA_OK(cudaDeviceSynchronize());
  EXPECT(to_host(error, 1)[0] == cudaErrorInvalidConfiguration);
  std::puts("dynamic parallelism ok");
}
