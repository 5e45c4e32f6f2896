// Matrix products by warps (wmma) in f16, bf16, tf32, int8 and f64, against plain sums, and atomic
// sums of halves.
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <mma.h>

#include "tests/e2e/programs/expect.h"

using namespace nvcuda;

constexpr int kSize = 64;  // of square matrices

// What a matrix of T holds as a host number, and which fragment type multiplies it.
template <class T>
struct Kind;
template <>
struct Kind<__half> {
  using Fragment = __half;
  using Sum = float;
  static constexpr int kDepth = 16;
  static __half from(int x) { return __float2half(float(x)); }
};
template <>
struct Kind<__nv_bfloat16> {
  using Fragment = __nv_bfloat16;
  using Sum = float;
  static constexpr int kDepth = 16;
  static __nv_bfloat16 from(int x) { return __float2bfloat16(float(x)); }
};
template <>
struct Kind<float> {
  using Fragment = wmma::precision::tf32;
  using Sum = float;
  static constexpr int kDepth = 8;
  static float from(int x) { return float(x); }
};
template <>
struct Kind<signed char> {
  using Fragment = signed char;
  using Sum = int;
  static constexpr int kDepth = 16;
  static signed char from(int x) { return static_cast<signed char>(x); }
};

// Each block of one warp makes one tile of 16 x 16, through shared memory for every other one.
template <class T>
__global__ void multiply(const T* a, const T* b, typename Kind<T>::Sum* c) {
  constexpr int kDepth = Kind<T>::kDepth;
  using Sum = typename Kind<T>::Sum;
  __shared__ Sum room[16 * 16];
  wmma::fragment<wmma::matrix_a, 16, 16, kDepth, typename Kind<T>::Fragment, wmma::row_major> fa;
  wmma::fragment<wmma::matrix_b, 16, 16, kDepth, typename Kind<T>::Fragment, wmma::col_major> fb;
  wmma::fragment<wmma::accumulator, 16, 16, kDepth, Sum> sum;
  wmma::fill_fragment(sum, Sum(1));
  const int row = blockIdx.y * 16, column = blockIdx.x * 16;
  for (int k = 0; k < kSize; k += kDepth) {
    wmma::load_matrix_sync(fa, a + row * kSize + k, kSize);
    wmma::load_matrix_sync(fb, b + column * kSize + k, kSize);
    wmma::mma_sync(sum, fa, fb, sum);
  }
  for (int i = 0; i < sum.num_elements; i++) sum.x[i] *= 2;
  Sum* to = c + row * kSize + column;
  if ((blockIdx.x + blockIdx.y) % 2 == 0) {
    wmma::store_matrix_sync(to, sum, kSize, wmma::mem_row_major);
    return;
  }
  wmma::store_matrix_sync(room, sum, 16, wmma::mem_col_major);
  __syncwarp();
  for (int n = threadIdx.x; n < 256; n += 32)
    to[n / 16 * kSize + n % 16] = room[n % 16 * 16 + n / 16];
}

// The smaller shape that f64 has.
__global__ void multiply_doubles(const double* a, const double* b, double* c) {
  wmma::fragment<wmma::matrix_a, 8, 8, 4, double, wmma::row_major> fa;
  wmma::fragment<wmma::matrix_b, 8, 8, 4, double, wmma::col_major> fb;
  wmma::fragment<wmma::accumulator, 8, 8, 4, double> sum;
  wmma::fill_fragment(sum, 1.0);
  const int row = blockIdx.y * 8, column = blockIdx.x * 8;
  for (int k = 0; k < kSize; k += 4) {
    wmma::load_matrix_sync(fa, a + row * kSize + k, kSize);
    wmma::load_matrix_sync(fb, b + column * kSize + k, kSize);
    wmma::mma_sync(sum, fa, fb, sum);
  }
  for (int i = 0; i < sum.num_elements; i++) sum.x[i] *= 2;
  wmma::store_matrix_sync(c + row * kSize + column, sum, kSize, wmma::mem_row_major);
}

__global__ void count_halves(__half* one, __half2* pair) {
  atomicAdd(one, __float2half(0.5f));
  atomicAdd(pair, __floats2half2_rn(1, 2));
}

// Small whole numbers, so that every format holds every sum exactly.
std::vector<int> small_numbers(int seed) {
  Random random(seed);
  std::vector<int> all(kSize * kSize);
  for (int& x : all) x = static_cast<int>(random.next() % 9) - 4;
  return all;
}

// b is stored by columns.
template <class Sum>
void check(const std::vector<int>& a, const std::vector<int>& b, const std::vector<Sum>& c) {
  for (int i = 0; i < kSize * kSize; i++) {
    int sum = 1;
    for (int k = 0; k < kSize; k++) sum += a[i / kSize * kSize + k] * b[i % kSize * kSize + k];
    EXPECT(c[i] == Sum(2 * sum));
  }
}

template <class T>
void run() {
  const std::vector<int> a = small_numbers(1), b = small_numbers(2);
  std::vector<T> ta, tb;
  for (int i = 0; i < kSize * kSize; i++) {
    ta.push_back(Kind<T>::from(a[i]));
    tb.push_back(Kind<T>::from(b[i]));
  }
  typename Kind<T>::Sum* c = nullptr;
  CUDA_OK(cudaMalloc(&c, kSize * kSize * sizeof *c));
  multiply<T><<<dim3(kSize / 16, kSize / 16), 32>>>(to_device(ta), to_device(tb), c);
  check(a, b, to_host(c, kSize * kSize));
}

void run_doubles() {
  const std::vector<int> a = small_numbers(1), b = small_numbers(2);
  double* c = nullptr;
  CUDA_OK(cudaMalloc(&c, kSize * kSize * sizeof *c));
  multiply_doubles<<<dim3(kSize / 8, kSize / 8), 32>>>(
      to_device(std::vector<double>(a.begin(), a.end())),
      to_device(std::vector<double>(b.begin(), b.end())), c);
  check(a, b, to_host(c, kSize * kSize));
}

int main() {
  run<__half>();
  run<__nv_bfloat16>();
  run<float>();
  run<signed char>();
  run_doubles();
  __half* one = to_device(std::vector<__half>(2));
  __half2* pair = to_device(std::vector<__half2>(1));
  count_halves<<<4, 64>>>(one, pair);
  EXPECT(__half2float(to_host(one, 1)[0]) == 128);
  const float2 sums = __half22float2(to_host(pair, 1)[0]);
  EXPECT(sums.x == 256 && sums.y == 512);
  std::puts("tensor cores ok");
}
