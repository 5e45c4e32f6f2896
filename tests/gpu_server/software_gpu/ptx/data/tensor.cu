#include <mma.h>
#include <cuda/barrier>
#include <cuda_pipeline.h>
using namespace nvcuda;
__global__ void wm(half* a, half* b, float* c) { wmma::fragment<wmma::matrix_a,16,16,16,half,wmma::row_major> fa; wmma::fragment<wmma::matrix_b,16,16,16,half,wmma::col_major> fb; wmma::fragment<wmma::accumulator,16,16,16,float> fc; wmma::fill_fragment(fc,0.f); wmma::load_matrix_sync(fa,a,16); wmma::load_matrix_sync(fb,b,16); wmma::mma_sync(fc,fa,fb,fc); wmma::store_matrix_sync(c,fc,16,wmma::mem_row_major); }
__global__ void pipe(int* a) { __shared__ int s[128]; __pipeline_memcpy_async(&s[threadIdx.x], a+threadIdx.x, 4); __pipeline_commit(); __pipeline_wait_prior(0); a[threadIdx.x]=s[127-threadIdx.x]; __shared__ cuda::barrier<cuda::thread_scope_block> bar; if(threadIdx.x==0) init(&bar,128); __syncthreads(); bar.arrive_and_wait(); }
