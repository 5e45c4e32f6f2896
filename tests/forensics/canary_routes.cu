// Brings canaries to the device and back by every way that data takes, then waits to be looked at.
//
// Reads from standard input: a seed in hexadecimal, of which the canaries are made (canary.py makes
// the same), so that they are in no file; then, after it has said "live", either "free", on which
// it frees everything and says "freed", or "leave". Ends at the next line, or at the end of input.
#include <cstring>
#include <string>

#include "tests/e2e/programs/expect_driver.h"

struct alignas(16) Canary {
  unsigned long long head, tail;
};

// In the order of canary.py.
enum Route {
  kPageable,
  kPinned,
  kGlobal,
  kArgument,
  kConstant,
  kArray,
  kManaged,
  kMapped,
  kGraph,
  kPrinted,
  kPool,
  kShared,
  kHeap,
  kVirtual,
  kPitched,
  kSmall
};

constexpr int kMany = 8192;  // 128 KiB: more than rides in a frame
constexpr int kFew = 256;    // 4 KiB

struct Argument {
  Canary each[64];
};

__constant__ Canary constant_canaries[kFew];
__device__ Canary global_canaries[kMany];
__device__ Canary* heap_canaries;

__global__ void copy(const Canary* in, Canary* out, int count) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < count) out[i] = in[i];
}

__global__ void keep_argument(Argument argument, Canary* out) {
  out[threadIdx.x] = argument.each[threadIdx.x % 64];
}

__global__ void keep_constant(Canary* out) { out[threadIdx.x] = constant_canaries[threadIdx.x]; }

__global__ void read_array(cudaTextureObject_t texture, Canary* out) {
  const uint4 texel = tex2D<uint4>(texture, threadIdx.x + 0.5f, blockIdx.x + 0.5f);
  out[blockIdx.x * blockDim.x + threadIdx.x] = *reinterpret_cast<const Canary*>(&texel);
}

// Through shared memory, and through an array that the compiler cannot keep in registers.
__global__ void through_shared(const Canary* in, Canary* out, int step) {
  __shared__ Canary shared[kFew];
  Canary local[16];
  shared[threadIdx.x] = in[threadIdx.x];
  __syncthreads();
  for (int i = 0; i < 16; i++) local[i * step % 16] = shared[(threadIdx.x + i) % kFew];
  out[threadIdx.x] = local[threadIdx.x * step % 16];
}

__global__ void fill_heap(const Canary* in, int count) {
  heap_canaries = static_cast<Canary*>(malloc(count * sizeof(Canary)));
  for (int i = 0; i < count; i++) heap_canaries[i] = in[i];
}

__global__ void free_heap() { free(heap_canaries); }

__global__ void print(Canary canary) { printf("%016llx%016llx\n", canary.head, canary.tail); }

unsigned long long seed;

// splitmix64
unsigned long long drawn(unsigned long long number) {
  unsigned long long z = seed + (number + 1) * 0x9e3779b97f4a7c15ull;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
  return z ^ (z >> 31);
}

Canary canary_of(Route route) { return {drawn(0), drawn(1 + route)}; }

std::vector<Canary> canaries(Route route, int count) {
  return std::vector<Canary>(count, canary_of(route));
}

bool all_are(const Canary* found, int count, Route route) {
  const std::vector<Canary> wanted = canaries(route, count);
  return std::memcmp(found, wanted.data(), count * sizeof(Canary)) == 0;
}

bool device_has(const Canary* device, int count, Route route) {
  return all_are(to_host(device, count).data(), count, route);
}

// All that lives until it is freed.
struct Kept {
  std::vector<void*> device, host;
  cudaStream_t stream = nullptr;
  cudaArray_t array = nullptr;
  cudaTextureObject_t texture = 0;
  void* pooled = nullptr;
  cudaGraph_t graph = nullptr;
  cudaGraphExec_t runnable = nullptr;
  CUdeviceptr reserved = 0;
  std::size_t reserved_bytes = 0;
};

Canary* room(Kept& kept, int count) {
  void* made = nullptr;
  CUDA_OK(cudaMalloc(&made, count * sizeof(Canary)));
  kept.device.push_back(made);
  return static_cast<Canary*>(made);
}

Canary* sent(Kept& kept, Route route, int count) {
  Canary* device = room(kept, count);
  CUDA_OK(cudaMemcpy(device, canaries(route, count).data(), count * sizeof(Canary),
                     cudaMemcpyHostToDevice));
  return device;
}

void by_copies(Kept& kept) {
  EXPECT(device_has(sent(kept, kPageable, kMany), kMany, kPageable));
  EXPECT(device_has(sent(kept, kSmall, kFew), kFew, kSmall));
  Canary* pinned = nullptr;
  CUDA_OK(cudaMallocHost(&pinned, 2 * kMany * sizeof(Canary)));
  kept.host.push_back(pinned);
  for (int i = 0; i < kMany; i++) pinned[i] = canary_of(kPinned);
  Canary* device = room(kept, kMany);
  CUDA_OK(
      cudaMemcpyAsync(device, pinned, kMany * sizeof(Canary), cudaMemcpyHostToDevice, kept.stream));
  CUDA_OK(cudaMemcpyAsync(pinned + kMany, device, kMany * sizeof(Canary), cudaMemcpyDeviceToHost,
                          kept.stream));
  CUDA_OK(cudaStreamSynchronize(kept.stream));
  EXPECT(all_are(pinned + kMany, kMany, kPinned));
  void* rows = nullptr;
  std::size_t pitch = 0;
  CUDA_OK(cudaMallocPitch(&rows, &pitch, 100 * sizeof(Canary), 64));
  kept.device.push_back(rows);
  const std::vector<Canary> host = canaries(kPitched, 6400);
  std::vector<Canary> back(6400);
  const std::size_t width = 100 * sizeof(Canary);
  CUDA_OK(cudaMemcpy2D(rows, pitch, host.data(), width, width, 64, cudaMemcpyHostToDevice));
  CUDA_OK(cudaMemcpy2D(back.data(), width, rows, pitch, width, 64, cudaMemcpyDeviceToHost));
  EXPECT(all_are(back.data(), 6400, kPitched));
}

void by_modules(Kept& kept) {
  const std::vector<Canary> global = canaries(kGlobal, kMany), constant = canaries(kConstant, kFew);
  CUDA_OK(cudaMemcpyToSymbol(global_canaries, global.data(), sizeof global_canaries));
  std::vector<Canary> back(kMany);
  CUDA_OK(cudaMemcpyFromSymbol(back.data(), global_canaries, sizeof global_canaries));
  EXPECT(all_are(back.data(), kMany, kGlobal));
  CUDA_OK(cudaMemcpyToSymbol(constant_canaries, constant.data(), sizeof constant_canaries));
  Canary* out = room(kept, kFew);
  keep_constant<<<1, kFew>>>(out);
  EXPECT(device_has(out, kFew, kConstant));
  Argument argument;
  for (Canary& each : argument.each) each = canary_of(kArgument);
  keep_argument<<<1, kFew>>>(argument, out);
  EXPECT(device_has(out, kFew, kArgument));
  print<<<1, 1>>>(canary_of(kPrinted));
  CUDA_OK(cudaDeviceSynchronize());
}

void by_kernels(Kept& kept) {
  Canary* out = room(kept, kFew);
  through_shared<<<1, kFew>>>(sent(kept, kShared, kFew), out, 5);
  EXPECT(device_has(out, kFew, kShared));
  fill_heap<<<1, 1>>>(sent(kept, kHeap, kFew), kFew);
  CUDA_OK(cudaDeviceSynchronize());
  const auto channels = cudaCreateChannelDesc(32, 32, 32, 32, cudaChannelFormatKindUnsigned);
  CUDA_OK(cudaMallocArray(&kept.array, &channels, 64, 32));
  CUDA_OK(cudaMemcpy2DToArray(kept.array, 0, 0, canaries(kArray, 2048).data(), 64 * sizeof(Canary),
                              64 * sizeof(Canary), 32, cudaMemcpyHostToDevice));
  cudaResourceDesc resource{};
  resource.resType = cudaResourceTypeArray;
  resource.res.array.array = kept.array;
  const cudaTextureDesc how{};
  CUDA_OK(cudaCreateTextureObject(&kept.texture, &resource, &how, nullptr));
  Canary* texels = room(kept, 2048);
  read_array<<<32, 64>>>(kept.texture, texels);
  EXPECT(device_has(texels, 2048, kArray));
}

void by_shared_addresses(Kept& kept) {
  Canary *managed = nullptr, *mapped = nullptr, *seen = nullptr;
  CUDA_OK(cudaMallocManaged(&managed, kMany * sizeof(Canary)));
  kept.device.push_back(managed);
  for (int i = 0; i < kMany; i++) managed[i] = canary_of(kManaged);
  Canary* out = room(kept, kMany);
  copy<<<kMany / 256, 256>>>(managed, out, kMany);
  EXPECT(device_has(out, kMany, kManaged));
  CUDA_OK(cudaHostAlloc(&mapped, kMany * sizeof(Canary), cudaHostAllocMapped));
  kept.host.push_back(mapped);
  for (int i = 0; i < kMany; i++) mapped[i] = canary_of(kMapped);
  CUDA_OK(cudaHostGetDevicePointer(&seen, mapped, 0));
  copy<<<kMany / 256, 256>>>(seen, out, kMany);
  EXPECT(device_has(out, kMany, kMapped));
}

void by_graph_and_pool(Kept& kept) {
  static const std::vector<Canary> host = canaries(kGraph, kMany);
  Canary* device = room(kept, kMany);
  CUDA_OK(cudaGraphCreate(&kept.graph, 0));
  cudaGraphNode_t node;
  CUDA_OK(cudaGraphAddMemcpyNode1D(&node, kept.graph, nullptr, 0, device, host.data(),
                                   kMany * sizeof(Canary), cudaMemcpyHostToDevice));
  CUDA_OK(cudaGraphInstantiate(&kept.runnable, kept.graph, 0));
  CUDA_OK(cudaGraphLaunch(kept.runnable, kept.stream));
  CUDA_OK(cudaStreamSynchronize(kept.stream));
  EXPECT(device_has(device, kMany, kGraph));
  CUDA_OK(cudaMallocAsync(&kept.pooled, kMany * sizeof(Canary), kept.stream));
  const std::vector<Canary> pooled = canaries(kPool, kMany);
  CUDA_OK(cudaMemcpyAsync(kept.pooled, pooled.data(), kMany * sizeof(Canary),
                          cudaMemcpyHostToDevice, kept.stream));
  CUDA_OK(cudaStreamSynchronize(kept.stream));
  EXPECT(device_has(static_cast<Canary*>(kept.pooled), kMany, kPool));
}

void by_virtual_memory(Kept& kept) {
  CUmemAllocationProp kind{};
  kind.type = CU_MEM_ALLOCATION_TYPE_PINNED;
  kind.location = {CU_MEM_LOCATION_TYPE_DEVICE, 0};
  DRIVER_OK(
      cuMemGetAllocationGranularity(&kept.reserved_bytes, &kind, CU_MEM_ALLOC_GRANULARITY_MINIMUM));
  const std::size_t bytes = kept.reserved_bytes;
  DRIVER_OK(cuMemAddressReserve(&kept.reserved, bytes, 0, 0, 0));
  CUmemGenericAllocationHandle memory = 0;
  DRIVER_OK(cuMemCreate(&memory, bytes, &kind, 0));
  DRIVER_OK(cuMemMap(kept.reserved, bytes, 0, memory, 0));
  const CUmemAccessDesc access{{CU_MEM_LOCATION_TYPE_DEVICE, 0},
                               CU_MEM_ACCESS_FLAGS_PROT_READWRITE};
  DRIVER_OK(cuMemSetAccess(kept.reserved, bytes, &access, 1));
  DRIVER_OK(cuMemRelease(memory));  // the mapping keeps it
  const std::vector<Canary> host = canaries(kVirtual, kFew);
  DRIVER_OK(cuMemcpyHtoD(kept.reserved, host.data(), kFew * sizeof(Canary)));
  EXPECT(device_has(reinterpret_cast<Canary*>(kept.reserved), kFew, kVirtual));
}

void free_all(Kept& kept) {
  free_heap<<<1, 1>>>();
  CUDA_OK(cudaFreeAsync(kept.pooled, kept.stream));
  CUDA_OK(cudaStreamSynchronize(kept.stream));
  CUDA_OK(cudaGraphExecDestroy(kept.runnable));
  CUDA_OK(cudaGraphDestroy(kept.graph));
  CUDA_OK(cudaDestroyTextureObject(kept.texture));
  CUDA_OK(cudaFreeArray(kept.array));
  DRIVER_OK(cuMemUnmap(kept.reserved, kept.reserved_bytes));
  DRIVER_OK(cuMemAddressFree(kept.reserved, kept.reserved_bytes));
  for (void* each : kept.device) CUDA_OK(cudaFree(each));
  for (void* each : kept.host) CUDA_OK(cudaFreeHost(each));
  CUDA_OK(cudaStreamDestroy(kept.stream));
}

int main() {
  std::setvbuf(stdout, nullptr, _IOLBF, 4096);
  char line[64];
  if (std::fgets(line, sizeof line, stdin) == nullptr) return 2;
  seed = std::strtoull(line, nullptr, 16);
  Kept kept;
  CUDA_OK(cudaStreamCreate(&kept.stream));
  by_copies(kept);
  by_modules(kept);
  by_kernels(kept);
  by_shared_addresses(kept);
  by_graph_and_pool(kept);
  by_virtual_memory(kept);
  CUDA_OK(cudaDeviceSynchronize());
  std::printf("live\n");
  if (std::fgets(line, sizeof line, stdin) == nullptr) return 0;
  if (std::strcmp(line, "free\n") == 0) {
    free_all(kept);
    std::printf("freed\n");
    (void)std::fgets(line, sizeof line, stdin);
  }
  return 0;
}
