// Source of nvcc_kernels.ptx: nvcc -arch=compute_80 -ptx nvcc_kernels.cu
#include <cooperative_groups.h>
#include <cuda_fp16.h>

#include <cassert>
#include <cstdio>

namespace cg = cooperative_groups;

extern "C" __global__ void vadd(const float* a, const float* b, float* c, int n) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n) c[i] = a[i] + b[i];
}

extern "C" __global__ void reduce(const float* in, float* out, int n) {
  __shared__ float s[256];
  const int t = threadIdx.x, i = blockIdx.x * 256 + t;
  s[t] = i < n ? in[i] : 0;
  __syncthreads();
  for (int k = 128; k >= 32; k >>= 1) {
    if (t < k) s[t] += s[t + k];
    __syncthreads();
  }
  if (t < 32) {
    float v = s[t];
    for (int k = 16; k != 0; k >>= 1) v += __shfl_down_sync(0xffffffff, v, k);
    if (t == 0) atomicAdd(out, v);
  }
}

extern "C" __global__ void matmul(const float* a, const float* b, float* c, int n) {
  __shared__ float as[16][16], bs[16][16];
  const int x = threadIdx.x, y = threadIdx.y, col = blockIdx.x * 16 + x, row = blockIdx.y * 16 + y;
  float s = 0;
  for (int t = 0; t < n / 16; ++t) {
    as[y][x] = a[row * n + t * 16 + x];
    bs[y][x] = b[(t * 16 + y) * n + col];
    __syncthreads();
    for (int k = 0; k < 16; ++k) s += as[y][k] * bs[k][x];
    __syncthreads();
  }
  c[row * n + col] = s;
}

struct Item {
  int a;
  double b;
  float c[3];
};
__device__ __noinline__ Item changed(Item item, int k) {
  item.a += k;
  item.c[k % 3] += 1;
  return item;
}
__device__ __noinline__ int fib(int n) { return n < 2 ? n : fib(n - 1) + fib(n - 2); }

extern "C" __global__ void calls(Item* items, int* numbers, int n) {
  const int i = threadIdx.x;
  if (i < n) items[i] = changed(items[i], i);
  numbers[i] = fib(i % 12);
}

typedef float (*Function)(float);
__device__ float plus_one(float x) { return x + 1; }
__device__ float twice(float x) { return x * 2; }
__device__ Function g_functions[2] = {plus_one, twice};
extern "C" __global__ void pointers(float* p) {
  p[threadIdx.x] = g_functions[threadIdx.x & 1](p[threadIdx.x]);
}

extern "C" __global__ void prints(int x) {
  if (threadIdx.x < 2) {
    printf("thread %d of %s: %5.2f %llu %x %c %%|%-4d|\n", threadIdx.x, "kernel", 1.5 * x,
           123456789012345ull, 255, 'z', x);
  }
  assert(x != 9);
}

extern "C" __global__ void heap(int* out) {
  int* mine = static_cast<int*>(malloc(16));
  if (mine == nullptr) return;
  mine[0] = threadIdx.x;
  out[threadIdx.x] = mine[0] * 2;
  free(mine);
}

extern "C" __global__ void grid_sync(int* data, int rounds) {
  cg::grid_group grid = cg::this_grid();
  const unsigned n = grid.size(), me = grid.thread_rank();
  for (int r = 0; r < rounds; ++r) {
    const int seen = data[(me + 97) % n];
    grid.sync();
    data[me] = seen + 1;
    grid.sync();
  }
}

__device__ int g_lock = 0;
extern "C" __global__ void spin_lock(int* counter) {
  bool done = false;
  while (!done) {
    if (atomicCAS(&g_lock, 0, 1) == 0) {
      __threadfence();
      *static_cast<volatile int*>(counter) = *static_cast<volatile int*>(counter) + 1;
      __threadfence();
      atomicExch(&g_lock, 0);
      done = true;
    }
  }
}

// The careless form: lanes of one warp spin while another lane holds the lock.
extern "C" __global__ void careless_lock(int* counter) {
  while (atomicCAS(&g_lock, 0, 1) != 0) {
  }
  *static_cast<volatile int*>(counter) = *static_cast<volatile int*>(counter) + 1;
  __threadfence();
  atomicExch(&g_lock, 0);
}

// Every block waits for the one after it to have begun.
extern "C" __global__ void wait_for_later(volatile int* started, int blocks) {
  if (threadIdx.x == 0) {
    started[blockIdx.x] = 1;
    if (blockIdx.x + 1 < blocks) {
      while (started[blockIdx.x + 1] == 0) __nanosleep(100);
    }
  }
  __syncthreads();
  started[blockIdx.x] = 2;
}

__constant__ float g_weights[16];
extern "C" __global__ void math(const float* in, float* out, int n) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= n) return;
  const float x = in[i];
  switch (i & 7) {
    case 0: out[i] = sinf(x); break;
    case 1: out[i] = expf(x); break;
    case 2: out[i] = logf(fabsf(x) + 1e-3f); break;
    case 3: out[i] = powf(fabsf(x), 1.7f); break;
    case 4: out[i] = fmodf(x, 3.0f); break;
    case 5: out[i] = erff(x); break;
    case 6: out[i] = static_cast<float>(cos(static_cast<double>(x) * 1000.0)); break;
    default: out[i] = g_weights[i & 15] * atanf(x); break;
  }
}

extern "C" __global__ void halves(const float* in, float* out) {
  const int i = threadIdx.x;
  const __half2 x = __floats2half2_rn(in[i], in[i + 1]);
  const __half2 y = __hfma2(x, x, __float2half2_rn(1.0f));
  out[i] = __low2float(y) + __high2float(y);
}

extern "C" __global__ void histogram(const unsigned char* data, unsigned* bins, int n) {
  __shared__ unsigned mine[256];
  for (int b = threadIdx.x; b < 256; b += blockDim.x) mine[b] = 0;
  __syncthreads();
  for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += blockDim.x * gridDim.x) {
    atomicAdd(&mine[data[i]], 1u);
  }
  __syncthreads();
  for (int b = threadIdx.x; b < 256; b += blockDim.x) atomicAdd(&bins[b], mine[b]);
}

extern "C" __global__ void scan(const int* in, int* out, int n) {
  extern __shared__ int room[];
  const int t = threadIdx.x;
  int from = 1, to = 0;
  room[t] = t > 0 && t < n ? in[t - 1] : 0;
  __syncthreads();
  for (int step = 1; step < n; step *= 2) {
    to = 1 - to;
    from = 1 - to;
    room[to * n + t] = room[from * n + t] + (t >= step ? room[from * n + t - step] : 0);
    __syncthreads();
  }
  out[t] = room[to * n + t];
}
