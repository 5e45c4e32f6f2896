// What structures name on two devices that cannot reach each other: copies with a shape, arrays,
// graphs, virtual memory and textures of one while the other is current; and what is refused.
#include <cuda.h>

#include <cstring>

#include "tests/e2e/programs/expect.h"

#define DRIVER_OK(call) EXPECT((call) == CUDA_SUCCESS)

__global__ void add(int* data, int count, int value) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < count) data[i] += value;
}

__global__ void read_texture(cudaTextureObject_t texture, float* out, int width, int height) {
  const int x = blockIdx.x * blockDim.x + threadIdx.x;
  const int y = blockIdx.y;
  if (x < width && y < height) out[y * width + x] = tex2D<float>(texture, x + 0.5f, y + 0.5f);
}

std::vector<int> pattern(std::size_t count, std::uint64_t seed) {
  Random random(seed);
  std::vector<int> numbers(count);
  for (int& number : numbers) number = static_cast<int>(random.next());
  return numbers;
}

// --- copies --------------------------------------------------------------------------------------

struct Pitched {
  char* data = nullptr;
  std::size_t pitch = 0;
};

Pitched allocate(int device, std::size_t width, std::size_t rows) {
  CUDA_OK(cudaSetDevice(device));
  Pitched made;
  CUDA_OK(cudaMallocPitch(&made.data, &made.pitch, width, rows));
  CUDA_OK(cudaMemset2D(made.data, made.pitch, 0, width, rows));
  return made;
}

// More than one piece of a copy through the client, and rows with gaps between them.
void copy_rows() {
  constexpr std::size_t kWidth = 4004, kRows = 1500, kBytes = kWidth * kRows;
  const Pitched from = allocate(0, kWidth, kRows);
  const Pitched to = allocate(1, kWidth + 600, kRows + 2);
  const std::vector<int> numbers = pattern(kBytes / 4, 1);
  std::vector<int> back(kBytes / 4);
  CUDA_OK(cudaMemcpy2D(from.data, from.pitch, numbers.data(), kWidth, kWidth, kRows,
                       cudaMemcpyHostToDevice));  // the other device is current
  CUDA_OK(cudaMemcpy2D(to.data + to.pitch + 8, to.pitch, from.data, from.pitch, kWidth, kRows,
                       cudaMemcpyDefault));
  CUDA_OK(cudaSetDevice(0));
  CUDA_OK(cudaMemcpy2D(back.data(), kWidth, to.data + to.pitch + 8, to.pitch, kWidth, kRows,
                       cudaMemcpyDeviceToHost));
  EXPECT(back == numbers);

  cudaStream_t stream;
  CUDA_OK(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
  cudaMemcpy3DPeerParms boxes{};
  boxes.srcDevice = 1;
  boxes.dstDevice = 0;
  boxes.srcPtr = make_cudaPitchedPtr(to.data, to.pitch, kWidth + 600, 100);
  boxes.srcPos = make_cudaPos(8, 1, 0);
  boxes.dstPtr = make_cudaPitchedPtr(from.data, from.pitch, kWidth, 200);
  boxes.dstPos = make_cudaPos(0, 3, 1);
  boxes.extent = make_cudaExtent(1000, 90, 5);
  CUDA_OK(cudaMemset2DAsync(from.data, from.pitch, 0, kWidth, kRows, stream));
  CUDA_OK(cudaMemcpy3DPeerAsync(&boxes, stream));
  CUDA_OK(cudaStreamSynchronize(stream));
  std::vector<char> rows(kBytes);
  CUDA_OK(cudaMemcpy2D(rows.data(), kWidth, from.data, from.pitch, kWidth, kRows,
                       cudaMemcpyDeviceToHost));
  const char* sent = reinterpret_cast<const char*>(numbers.data());
  for (int slice = 0; slice < 5; slice++) {
    for (int row = 0; row < 90; row++) {
      EXPECT(std::memcmp(&rows[((slice + 1) * 200 + 3 + row) * kWidth],
                         &sent[(slice * 100 + row) * kWidth], 1000) == 0);
    }
  }
  EXPECT(rows[(200 + 3) * kWidth + 1000] == 0);
  CUDA_OK(cudaStreamDestroy(stream));
  CUDA_OK(cudaFree(from.data));
  CUDA_OK(cudaFree(to.data));
}

cudaArray_t make_array(int device, int width, int height) {
  CUDA_OK(cudaSetDevice(device));
  cudaArray_t array;
  const cudaChannelFormatDesc format = cudaCreateChannelDesc<float>();
  CUDA_OK(cudaMallocArray(&array, &format, width, height));
  return array;
}

void copy_arrays() {
  constexpr int kWidth = 64, kHeight = 48;
  cudaArray_t first = make_array(0, kWidth, kHeight);
  cudaArray_t second = make_array(1, kWidth, kHeight);
  std::vector<float> numbers(kWidth * kHeight), back(kWidth * kHeight);
  for (int i = 0; i < kWidth * kHeight; i++) numbers[i] = static_cast<float>(i);
  const std::size_t row = kWidth * sizeof(float);
  CUDA_OK(
      cudaMemcpy2DToArray(first, 0, 0, numbers.data(), row, row, kHeight, cudaMemcpyHostToDevice));
  cudaMemcpy3DPeerParms copy{};
  copy.srcArray = first;
  copy.srcDevice = 0;
  copy.dstArray = second;
  copy.dstDevice = 1;
  copy.extent = make_cudaExtent(kWidth, kHeight, 1);
  CUDA_OK(cudaMemcpy3DPeer(&copy));

  // Its texture is the second device's, whichever is current where it is made.
  CUDA_OK(cudaSetDevice(0));
  CUtexObject object = 0;
  CUDA_RESOURCE_DESC described{};
  described.resType = CU_RESOURCE_TYPE_ARRAY;
  described.res.array.hArray = reinterpret_cast<CUarray>(second);
  CUDA_TEXTURE_DESC sampling{};
  sampling.addressMode[0] = sampling.addressMode[1] = CU_TR_ADDRESS_MODE_CLAMP;
  DRIVER_OK(cuTexObjectCreate(&object, &described, &sampling, nullptr));
  CUDA_RESOURCE_DESC told{};
  DRIVER_OK(cuTexObjectGetResourceDesc(&told, object));
  EXPECT(told.res.array.hArray == described.res.array.hArray);
  CUDA_OK(cudaSetDevice(1));
  float* out = nullptr;
  CUDA_OK(cudaMalloc(&out, numbers.size() * sizeof(float)));
  read_texture<<<dim3(1, kHeight), kWidth>>>(object, out, kWidth, kHeight);
  CUDA_OK(cudaGetLastError());
  EXPECT(to_host(out, numbers.size()) == numbers);
  CUDA_OK(cudaSetDevice(0));
  DRIVER_OK(cuTexObjectDestroy(object));
  CUDA_OK(cudaFree(out));
  CUDA_OK(cudaFreeArray(first));
  CUDA_OK(cudaFreeArray(second));
}

// --- graphs --------------------------------------------------------------------------------------

void graph_of_the_second() {
  constexpr int kCount = 1000;
  int *here = nullptr, *there = nullptr;
  CUDA_OK(cudaSetDevice(0));
  CUDA_OK(cudaMalloc(&there, kCount * sizeof(int)));
  CUDA_OK(cudaSetDevice(1));
  CUDA_OK(cudaMalloc(&here, kCount * sizeof(int)));
  cudaStream_t stream;
  CUDA_OK(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
  cudaGraph_t graph;
  CUDA_OK(cudaGraphCreate(&graph, 0));
  cudaGraphNode_t filled, added;
  cudaGraphNodeParams any{};
  any.type = cudaGraphNodeTypeMemset;
  any.memset.dst = here;
  any.memset.elementSize = 4;
  any.memset.value = 30;
  any.memset.width = kCount;
  any.memset.height = 1;
  CUDA_OK(cudaGraphAddNode(&filled, graph, nullptr, nullptr, 0, &any));
  int count = kCount, value = 12;
  void* arguments[] = {&here, &count, &value};
  cudaKernelNodeParams launch{};
  launch.func = reinterpret_cast<void*>(add);
  launch.gridDim = dim3((kCount + 127) / 128);
  launch.blockDim = dim3(128);
  launch.kernelParams = arguments;
  CUDA_OK(cudaGraphAddKernelNode(&added, graph, &filled, 1, &launch));
  cudaGraphExec_t exec;
  CUDA_OK(cudaSetDevice(0));  // the graph needs not be the current device's from here on
  CUDA_OK(cudaGraphInstantiate(&exec, graph, 0));
  CUDA_OK(cudaGraphLaunch(exec, stream));
  CUDA_OK(cudaStreamSynchronize(stream));
  for (int one : to_host(here, kCount)) EXPECT(one == 42);

  // A node works where its graph is: what is the other device's it cannot name.
  cudaGraphNode_t refused;
  EXPECT(cudaGraphAddKernelNode(&refused, graph, nullptr, 0, &launch) ==
         cudaErrorInvalidResourceHandle);
  (void)cudaGetLastError();
  CUgraphNode none;
  CUDA_MEMSET_NODE_PARAMS wrong{};
  wrong.dst = reinterpret_cast<CUdeviceptr>(there);
  wrong.elementSize = 4;
  wrong.width = kCount;
  wrong.height = 1;
  CUcontext context = nullptr;
  CUDA_OK(cudaSetDevice(1));
  DRIVER_OK(cuCtxGetCurrent(&context));
  EXPECT(cuGraphAddMemsetNode(&none, graph, nullptr, 0, &wrong, context) ==
         CUDA_ERROR_INVALID_VALUE);
  CUDA_MEMCPY3D copy{};
  copy.srcMemoryType = copy.dstMemoryType = CU_MEMORYTYPE_DEVICE;
  copy.srcDevice = reinterpret_cast<CUdeviceptr>(here);
  copy.dstDevice = reinterpret_cast<CUdeviceptr>(there);
  copy.WidthInBytes = 64;
  copy.Height = copy.Depth = 1;
  EXPECT(cuGraphAddMemcpyNode(&none, graph, nullptr, 0, &copy, context) ==
         CUDA_ERROR_INVALID_VALUE);
  CUDA_OK(cudaGraphExecDestroy(exec));
  CUDA_OK(cudaGraphDestroy(graph));
  CUDA_OK(cudaStreamDestroy(stream));
  CUDA_OK(cudaFree(here));
  CUDA_OK(cudaFree(there));
}

// --- virtual memory ------------------------------------------------------------------------------

CUmemAllocationProp on_device(int device) {
  CUmemAllocationProp wanted{};
  wanted.type = CU_MEM_ALLOCATION_TYPE_PINNED;
  wanted.location = {CU_MEM_LOCATION_TYPE_DEVICE, device};
  return wanted;
}

void map_memory() {
  CUDA_OK(cudaSetDevice(0));
  const CUmemAllocationProp wanted = on_device(1), other = on_device(0);
  std::size_t bytes = 0;
  DRIVER_OK(cuMemGetAllocationGranularity(&bytes, &wanted, CU_MEM_ALLOC_GRANULARITY_MINIMUM));
  CUmemGenericAllocationHandle memory = 0, foreign = 0;
  DRIVER_OK(cuMemCreate(&memory, bytes, &wanted, 0));
  DRIVER_OK(cuMemCreate(&foreign, bytes, &other, 0));
  CUDA_OK(cudaSetDevice(1));
  CUdeviceptr at = 0;
  DRIVER_OK(cuMemAddressReserve(&at, bytes, 0, 0, 0));
  CUDA_OK(cudaSetDevice(0));
  EXPECT(cuMemMap(at, bytes, 0, foreign, 0) == CUDA_ERROR_NOT_SUPPORTED);
  DRIVER_OK(cuMemMap(at, bytes, 0, memory, 0));
  CUmemAccessDesc access{other.location, CU_MEM_ACCESS_FLAGS_PROT_READWRITE};
  EXPECT(cuMemSetAccess(at, bytes, &access, 1) == CUDA_ERROR_INVALID_DEVICE);
  access.location = wanted.location;
  DRIVER_OK(cuMemSetAccess(at, bytes, &access, 1));
  unsigned long long flags = 9;
  DRIVER_OK(cuMemGetAccess(&flags, &access.location, at));
  EXPECT(flags == CU_MEM_ACCESS_FLAGS_PROT_READWRITE);
  CUmemAllocationProp told{};
  DRIVER_OK(cuMemGetAllocationPropertiesFromHandle(&told, memory));
  EXPECT(told.location.id == 1);
  DRIVER_OK(cuMemsetD8(at, 0x5a, bytes));
  std::vector<unsigned char> back(bytes);
  DRIVER_OK(cuMemcpyDtoH(back.data(), at, bytes));
  EXPECT(back.front() == 0x5a && back.back() == 0x5a);
  DRIVER_OK(cuMemUnmap(at, bytes));
  DRIVER_OK(cuMemAddressFree(at, bytes));
  DRIVER_OK(cuMemRelease(memory));
  DRIVER_OK(cuMemRelease(foreign));
}

// --- what is refused -----------------------------------------------------------------------------

void refuse() {
  CUDA_OK(cudaSetDevice(0));
  int* here = nullptr;
  cudaEvent_t first, second;
  CUDA_OK(cudaMalloc(&here, 64));
  CUDA_OK(cudaEventCreate(&first));
  CUDA_OK(cudaEventRecord(first));
  CUDA_OK(cudaSetDevice(1));
  cudaStream_t stream;
  CUDA_OK(cudaStreamCreate(&stream));
  CUDA_OK(cudaEventCreate(&second));
  CUDA_OK(cudaEventRecord(second));
  float ms = 0;
  EXPECT(cudaEventElapsedTime(&ms, first, second) == cudaErrorInvalidResourceHandle);
  EXPECT(cudaEventRecord(first, stream) == cudaErrorInvalidResourceHandle);
  int can = -1;
  CUDA_OK(cudaDeviceCanAccessPeer(&can, 0, 1));
  EXPECT(can == 0);
  EXPECT(cudaDeviceEnablePeerAccess(0, 0) == cudaErrorPeerAccessUnsupported);
  EXPECT(cudaDeviceDisablePeerAccess(0) == cudaErrorPeerAccessNotEnabled);
  (void)cudaGetLastError();
  CUDA_OK(cudaEventDestroy(first));
  CUDA_OK(cudaEventDestroy(second));
  CUDA_OK(cudaStreamDestroy(stream));
  CUDA_OK(cudaFree(here));
}

int main() {
  int count = 0;
  CUDA_OK(cudaGetDeviceCount(&count));
  EXPECT(count == 2);
  copy_rows();
  copy_arrays();
  graph_of_the_second();
  map_memory();
  refuse();
  std::printf("as on one machine\n");
  return 0;
}
