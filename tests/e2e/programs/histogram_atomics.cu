// Counts bytes by value: atomics in shared memory, then in global memory.
#include "tests/e2e/programs/expect.h"

__global__ void histogram(const unsigned char* bytes, int count, unsigned* bins) {
  __shared__ unsigned own[256];
  for (int bin = threadIdx.x; bin < 256; bin += blockDim.x) own[bin] = 0;
  __syncthreads();
  for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < count; i += gridDim.x * blockDim.x) {
    atomicAdd(&own[bytes[i]], 1u);
  }
  __syncthreads();
  for (int bin = threadIdx.x; bin < 256; bin += blockDim.x) {
    if (own[bin] != 0) atomicAdd(&bins[bin], own[bin]);
  }
}

// Every other atomic once; all threads hit the same words.
struct Words {
  int smallest, largest;
  unsigned bits_and, bits_or, bits_xor, wrapped_up, wrapped_down;
  float float_sum;
  unsigned long long swapped;
};

__global__ void atomics(Words* words) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  atomicMin(&words->smallest, 500 - i);
  atomicMax(&words->largest, i * 3);
  atomicAnd(&words->bits_and, ~(1u << (i % 8)));
  atomicOr(&words->bits_or, 1u << (i % 16));
  atomicXor(&words->bits_xor, 0x10001u * (i & 1));
  atomicInc(&words->wrapped_up, 9);
  atomicDec(&words->wrapped_down, 9);
  atomicAdd(&words->float_sum, 0.25f);
  // A loop of compare-and-swap: adds 3, as any operation without an instruction of its own does.
  unsigned long long seen = words->swapped, expected;
  do {
    expected = seen;
    seen = atomicCAS(&words->swapped, expected, expected + 3);
  } while (seen != expected);
}

int main() {
  const int count = 3000001;
  Random random(5);
  std::vector<unsigned char> bytes(count);
  std::vector<unsigned> expected(256);
  for (unsigned char& byte : bytes) {
    byte = static_cast<unsigned char>((random.next() % 256) & (random.next() % 256));
    expected[byte]++;
  }
  unsigned char* device = to_device(bytes);
  unsigned* bins = to_device(std::vector<unsigned>(256));
  histogram<<<48, 192>>>(device, count, bins);
  CUDA_OK(cudaGetLastError());
  EXPECT(to_host(bins, 256) == expected);
  std::printf("histogram_atomics: %d bytes, %u of them zero\n", count, expected[0]);

  Words* words = to_device(std::vector<Words>{{1000, -1000, 0xffff, 0, 0, 0, 0, 0, 0}});
  atomics<<<10, 64>>>(words);
  CUDA_OK(cudaGetLastError());
  const Words w = to_host(words, 1)[0];
  std::printf("min %d max %d and %x or %x xor %x inc %u dec %u float %.2f cas %llu\n", w.smallest,
              w.largest, w.bits_and, w.bits_or, w.bits_xor, w.wrapped_up, w.wrapped_down,
              w.float_sum, w.swapped);
  EXPECT(w.smallest == 500 - 639 && w.largest == 639 * 3);
  EXPECT(w.bits_and == 0xff00 && w.bits_or == 0xffff && w.bits_xor == 0);
  EXPECT(w.wrapped_up == 0 && w.wrapped_down == 0);
  EXPECT(w.float_sum == 160.0f && w.swapped == 640 * 3);
  CUDA_OK(cudaFree(device));
  CUDA_OK(cudaFree(bins));
  CUDA_OK(cudaFree(words));
  return 0;
}
