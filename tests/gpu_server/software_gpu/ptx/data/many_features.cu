#include <cstdio>
#include <cassert>
#include <cuda_fp16.h>
#include <cooperative_groups.h>
namespace cg = cooperative_groups;
__constant__ int table[4] = {1,2,3,-4};
__device__ int target[10];
__device__ int* ptrs[3] = {target, target+3, nullptr};
struct S { char c; int* p; double d; };
__device__ S s = {'x', &target[2], 1.5};
__constant__ float cf[3] = {1.0f, -2.5f, 3e10f};
__device__ __managed__ int man = 7;
__device__ const char* msg = "hello\n";
__device__ __noinline__ int addone(int x) { return x+1; }
__device__ __noinline__ float4 f4(float4 a, int n) { for (int i=0;i<n;i++) a.x*=a.y; return a; }
typedef int (*fp)(int);
__device__ __noinline__ int sub1(int x) { return x-1; }
__device__ fp fns[2] = {addone, sub1};
__global__ void indirect(int* o, int i) { o[0] = fns[i](o[1]); }
__global__ void __launch_bounds__(256,2) pr(int n) { printf("v %d %f %s\n", n, 2.0*n, msg); assert(n < 5); }
extern __shared__ float dyn[];
__global__ void sh(float* a, float4 b) { __shared__ float st[128]; st[threadIdx.x]=a[threadIdx.x]; __syncthreads(); dyn[threadIdx.x]=st[127-threadIdx.x]; float4 c=f4(b,threadIdx.x); a[threadIdx.x]=dyn[threadIdx.x]+c.x+cf[threadIdx.x&1]+table[2]+ *ptrs[1]+ s.p[0]; }
__global__ void sw(int* o, int n) { switch (n) { case 0: o[0]=3; break; case 1: o[1]=addone(5); break; case 2: o[7]=1; break; case 3: o[8]=n*3; break; case 4: o[1]=99; break; case 5: o[o[0]]=1;break; case 6: asm volatile("{ .reg .pred p; .reg .u32 t; setp.ne.u32 p, %1, 0; @p add.u32 t, %1, 1; @!p mov.u32 t, 5; mov.u32 %0, t; }" : "=r"(o[3]) : "r"(o[4])); break; default: o[2]=__shfl_xor_sync(~0u,o[5],3); } }
__global__ void h(__half2* a) { a[threadIdx.x] = __hfma2(a[0], a[1], a[2]); }
__global__ void grp(int* a) { auto g = cg::this_grid(); g.sync(); auto t=cg::tiled_partition<8>(cg::this_thread_block()); a[g.thread_rank()] = t.shfl_down(a[0],1) + t.any(a[2]); unsigned m = t.ballot(a[1]); atomicAdd(a, __popc(m)); }
template<class T> __global__ void tm(T* x, bool f) { __shared__ T q[33]; q[threadIdx.x]=x[threadIdx.x]; __syncwarp(); x[0]=f?q[3]:q[4]; }
template __global__ void tm<double>(double*,bool);
template __global__ void tm<unsigned char>(unsigned char*,bool);
__device__ int fact(int n) { return n<2?1:n*fact(n-1); }
__global__ void rec(int* o) { *o = fact(*o); double* p = (double*)malloc(64); p[1]=*o; *o=(int)p[1]; free(p); }
__global__ void tex(cudaTextureObject_t t, cudaSurfaceObject_t s2, float4* o) { o[0]=tex2D<float4>(t,1.f,2.f); o[1]=tex3D<float4>(t,1,2,3); surf2Dwrite(3.f,s2,4,5); }
__global__ void vec(float4* a, double2* d, long long* l) { a[1]=a[0]; d[1]=make_double2(d[0].y*1e-300,0.1); l[0]=l[1]/l[2]-0x123456789abLL; l[3]=clock64(); __nanosleep(100); float x=__ldg((float*)a); l[4]=__float_as_int(x)*l[0]; l[5]=__umul64hi(l[0],l[1]); local: int loc[40]; for(int i=0;i<40;i++) loc[i]=l[i]; l[9]=loc[l[8]&31]; }
