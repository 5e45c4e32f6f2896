#include <atomic>
#include <cstring>
#include <numeric>
#include <thread>
#include <vector>

#include "tests/gpu_server/software_gpu/driver_session.h"
#include "transport/cuda/direct_memory.h"

namespace farcall::softgpu::tests {

TEST_CASE("memory runs out at the limit, says so truthfully and comes back when freed") {
  DriverSession session;
  std::size_t free = 0, total = 0;
  CHECK(cuMemGetInfo_v2(&free, &total) == CUDA_SUCCESS);
  CHECK(total == kTestMemoryBytes);
  CHECK(free == total);
  CUdeviceptr large = session.allocate(total / 2);
  CUdeviceptr refused = 0;
  CHECK(cuMemAlloc_v2(&refused, total / 2 + 4096) == CUDA_ERROR_OUT_OF_MEMORY);
  CHECK(refused == 0);
  CHECK(session.free_bytes() == total / 2);
  CHECK(cuMemFree_v2(large) == CUDA_SUCCESS);
  CHECK(session.free_bytes() == total);
  CHECK(cuMemFree_v2(large) == CUDA_ERROR_INVALID_VALUE);
  CHECK(cuMemFree_v2(0) == CUDA_SUCCESS);
  CHECK(cuMemAlloc_v2(&refused, 0) == CUDA_ERROR_INVALID_VALUE);
  CHECK(cuMemAlloc_v2(&refused, SIZE_MAX) == CUDA_ERROR_OUT_OF_MEMORY);
}

TEST_CASE("bytes travel to the device, within it and back") {
  DriverSession session;
  std::vector<int> sent(1000), received(1000);
  std::iota(sent.begin(), sent.end(), 1);
  const std::size_t bytes = sent.size() * sizeof(int);
  CUdeviceptr a = session.allocate(bytes), b = session.allocate(bytes);
  CHECK(cuMemcpyHtoD_v2(a, sent.data(), bytes) == CUDA_SUCCESS);
  CHECK(cuMemcpyDtoD_v2(b, a, bytes) == CUDA_SUCCESS);
  CHECK(cuMemcpyDtoH_v2(received.data(), b, bytes) == CUDA_SUCCESS);
  CHECK(sent == received);
  CHECK(cuMemsetD32_v2(b, 5, sent.size()) == CUDA_SUCCESS);
  CHECK(cuMemcpy(reinterpret_cast<CUdeviceptr>(received.data()), b, bytes) == CUDA_SUCCESS);
  CHECK(received == std::vector<int>(1000, 5));
}

TEST_CASE("a copy that leaves its allocation is an invalid value") {
  DriverSession session;
  std::vector<char> host(256);
  CUdeviceptr device = session.allocate(100);
  CHECK(cuMemcpyHtoD_v2(device, host.data(), 101) == CUDA_ERROR_INVALID_VALUE);
  CHECK(cuMemcpyHtoD_v2(device + 50, host.data(), 51) == CUDA_ERROR_INVALID_VALUE);
  CHECK(cuMemcpyDtoH_v2(host.data(), device, SIZE_MAX) == CUDA_ERROR_INVALID_VALUE);
  CHECK(cuMemcpyHtoD_v2(0, host.data(), 1) == CUDA_ERROR_INVALID_VALUE);
  CHECK(cuMemcpyHtoD_v2(device, nullptr, 1) == CUDA_ERROR_INVALID_VALUE);
  CHECK(cuMemsetD32_v2(device, 0, 26) == CUDA_ERROR_INVALID_VALUE);
  CHECK(cuMemsetD32_v2(device + 1, 0, 1) == CUDA_ERROR_INVALID_VALUE);
  CHECK(cuMemsetD2D8_v2(device, SIZE_MAX / 2, 0, 1, 4) == CUDA_ERROR_INVALID_VALUE);
}

TEST_CASE("rows are copied with a pitch at each end") {
  DriverSession session;
  CUdeviceptr device = 0;
  std::size_t pitch = 0;
  CHECK(cuMemAllocPitch_v2(&device, &pitch, 100, 3, 4) == CUDA_SUCCESS);
  CHECK(pitch >= 100);
  CHECK(pitch % 4 == 0);
  char sent[300], received[300] = {};
  for (int i = 0; i < 300; ++i) sent[i] = static_cast<char>(i);
  CUDA_MEMCPY2D copy{};
  copy.srcMemoryType = CU_MEMORYTYPE_HOST;
  copy.srcHost = sent;
  copy.srcPitch = 100;
  copy.dstMemoryType = CU_MEMORYTYPE_DEVICE;
  copy.dstDevice = device;
  copy.dstPitch = pitch;
  copy.WidthInBytes = 100;
  copy.Height = 3;
  CHECK(cuMemcpy2D_v2(&copy) == CUDA_SUCCESS);
  char second_row[4];
  CHECK(cuMemcpyDtoH_v2(second_row, device + pitch, 4) == CUDA_SUCCESS);
  CHECK(std::memcmp(second_row, sent + 100, 4) == 0);
  std::swap(copy.srcMemoryType, copy.dstMemoryType);
  copy.srcDevice = device;
  copy.dstHost = received;
  std::swap(copy.srcPitch, copy.dstPitch);
  CHECK(cuMemcpy2DUnaligned_v2(&copy) == CUDA_SUCCESS);
  CHECK(std::memcmp(sent, received, sizeof(sent)) == 0);
  copy.srcPitch = 99;
  CHECK(cuMemcpy2D_v2(&copy) == CUDA_ERROR_INVALID_VALUE);
}

TEST_CASE("an array takes rows and gives them back, and no more than it has") {
  DriverSession session;
  CUDA_ARRAY3D_DESCRIPTOR shape{};
  shape.Width = 8;
  shape.Height = 4;
  shape.Depth = 2;
  shape.Format = CU_AD_FORMAT_FLOAT;
  shape.NumChannels = 1;
  CUarray array = nullptr;
  CHECK(cuArray3DCreate_v2(&array, &shape) == CUDA_SUCCESS);
  std::vector<float> sent(64), received(64);
  std::iota(sent.begin(), sent.end(), 0.5F);
  CUDA_MEMCPY3D copy{};
  copy.srcMemoryType = CU_MEMORYTYPE_HOST;
  copy.srcHost = sent.data();
  copy.srcPitch = 32;
  copy.srcHeight = 4;
  copy.dstMemoryType = CU_MEMORYTYPE_ARRAY;
  copy.dstArray = array;
  copy.WidthInBytes = 32;
  copy.Height = 4;
  copy.Depth = 2;
  CHECK(cuMemcpy3D_v2(&copy) == CUDA_SUCCESS);
  CUDA_MEMCPY3D back{};
  back.srcMemoryType = CU_MEMORYTYPE_ARRAY;
  back.srcArray = array;
  back.dstMemoryType = CU_MEMORYTYPE_HOST;
  back.dstHost = received.data();
  back.dstPitch = 32;
  back.dstHeight = 4;
  back.WidthInBytes = 32;
  back.Height = 4;
  back.Depth = 2;
  CHECK(cuMemcpy3D_v2(&back) == CUDA_SUCCESS);
  CHECK(sent == received);
  copy.dstY = 1;
  CHECK(cuMemcpy3D_v2(&copy) == CUDA_ERROR_INVALID_VALUE);
  CHECK(cuArrayDestroy(array) == CUDA_SUCCESS);
  CHECK(cuArrayDestroy(array) == CUDA_ERROR_INVALID_HANDLE);
}

TEST_CASE("pinned and registered memory is known as host memory, at one address for both sides") {
  DriverSession session;
  void* pinned = nullptr;
  CHECK(cuMemHostAlloc(&pinned, 5000, CU_MEMHOSTALLOC_PORTABLE) == CUDA_SUCCESS);
  CUdeviceptr mapped = 0;
  CHECK(cuMemHostGetDevicePointer_v2(&mapped, pinned, 0) == CUDA_SUCCESS);
  CHECK(mapped == reinterpret_cast<CUdeviceptr>(pinned));
  unsigned type = 0;
  CHECK(cuPointerGetAttribute(&type, CU_POINTER_ATTRIBUTE_MEMORY_TYPE, mapped) == CUDA_SUCCESS);
  CHECK(type == CU_MEMORYTYPE_HOST);
  CHECK(cuMemFreeHost(pinned) == CUDA_SUCCESS);
  CHECK(cuMemFreeHost(pinned) == CUDA_ERROR_INVALID_VALUE);
  std::vector<char> own(10000);
  CHECK(cuMemHostRegister_v2(own.data(), own.size(), 0) == CUDA_SUCCESS);
  CHECK(cuMemHostRegister_v2(own.data() + 10, 10, 0) == CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED);
  CHECK(cuMemHostUnregister(own.data()) == CUDA_SUCCESS);
  CHECK(cuMemHostUnregister(own.data()) == CUDA_ERROR_HOST_MEMORY_NOT_REGISTERED);
}

TEST_CASE("managed memory is touched by the host directly") {
  DriverSession session;
  CUdeviceptr managed = 0;
  CHECK(cuMemAllocManaged(&managed, 64, CU_MEM_ATTACH_GLOBAL) == CUDA_SUCCESS);
  auto* host = reinterpret_cast<int*>(managed);
  host[3] = 17;
  int seen = 0;
  CHECK(cuMemcpyDtoH_v2(&seen, managed + 12, 4) == CUDA_SUCCESS);
  CHECK(seen == 17);
  unsigned is_managed = 0;
  CHECK(cuPointerGetAttribute(&is_managed, CU_POINTER_ATTRIBUTE_IS_MANAGED, managed) ==
        CUDA_SUCCESS);
  CHECK(is_managed == 1);
  CHECK(cuMemFree_v2(managed) == CUDA_SUCCESS);
}

TEST_CASE("what is known of a pointer covers the inside of its allocation") {
  DriverSession session;
  CUdeviceptr device = session.allocate(1000), base = 0;
  std::size_t size = 0;
  CHECK(cuMemGetAddressRange_v2(&base, &size, device + 999) == CUDA_SUCCESS);
  CHECK(base == device);
  CHECK(size == 1000);
  CHECK(cuMemGetAddressRange_v2(&base, &size, device + 1000) == CUDA_ERROR_NOT_FOUND);
  int local = 0;
  CUpointer_attribute wanted[] = {CU_POINTER_ATTRIBUTE_MEMORY_TYPE, CU_POINTER_ATTRIBUTE_CONTEXT};
  unsigned type = 9;
  CUcontext owner = nullptr;
  void* answers[] = {&type, &owner};
  CHECK(cuPointerGetAttributes(2, wanted, answers, device + 10) == CUDA_SUCCESS);
  CHECK(type == CU_MEMORYTYPE_DEVICE);
  CHECK(owner == session.context());
  CHECK(cuPointerGetAttributes(2, wanted, answers, reinterpret_cast<CUdeviceptr>(&local)) ==
        CUDA_SUCCESS);
  CHECK(type == 0);
  CHECK(cuPointerGetAttribute(&type, CU_POINTER_ATTRIBUTE_MEMORY_TYPE,
                              reinterpret_cast<CUdeviceptr>(&local)) == CUDA_ERROR_INVALID_VALUE);
}

TEST_CASE("a stream-ordered free takes its turn") {
  DriverSession session;
  const std::size_t before = session.free_bytes();
  CUstream stream = nullptr;
  CHECK(cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING) == CUDA_SUCCESS);
  Gate gate;
  CUdeviceptr device = 0;
  CHECK(cuMemAllocAsync(&device, 4096, stream) == CUDA_SUCCESS);
  CHECK(cuLaunchHostFunc(stream, &Gate::wait_at, &gate) == CUDA_SUCCESS);
  CHECK(cuMemFreeAsync(device, stream) == CUDA_SUCCESS);
  CHECK(cuMemFreeAsync(device, stream) == CUDA_ERROR_INVALID_VALUE);
  CHECK(session.free_bytes() == before - 4096);
  gate.open();
  CHECK(cuStreamSynchronize(stream) == CUDA_SUCCESS);
  CHECK(session.free_bytes() == before);
  CUmemoryPool pool = nullptr, current = nullptr;
  CHECK(cuDeviceGetDefaultMemPool(&pool, 0) == CUDA_SUCCESS);
  CHECK(cuDeviceGetMemPool(&current, 0) == CUDA_SUCCESS);
  CHECK(pool == current);
  cuuint64_t high = 0;
  CHECK(cuMemPoolGetAttribute(pool, CU_MEMPOOL_ATTR_USED_MEM_HIGH, &high) == CUDA_SUCCESS);
  CHECK(high >= 4096);
  CHECK(cuStreamDestroy_v2(stream) == CUDA_SUCCESS);
}

const cuda::DirectMemory& direct_memory() {
  const void* table = nullptr;
  REQUIRE(cuGetExportTable(&table, &cuda::kDirectMemoryId) == CUDA_SUCCESS);
  return *static_cast<const cuda::DirectMemory*>(table);
}

TEST_CASE("only plain and managed device memory can be held, and only all of a range") {
  DriverSession session;
  const auto& direct = direct_memory();
  CUdeviceptr memory = session.allocate(4096);
  CHECK(direct.hold(memory + 1, 4096) == nullptr);
  CHECK(direct.hold(memory + 4096, 1) == nullptr);
  CHECK(direct.hold(memory, SIZE_MAX) == nullptr);
  CHECK(direct.hold(0, 1) == nullptr);
  CHECK(direct.hold(SIZE_MAX, 1) == nullptr);
  CUdeviceptr managed = 0, pooled = 0;
  void* host = nullptr;
  REQUIRE(cuMemAllocManaged(&managed, 4096, CU_MEM_ATTACH_GLOBAL) == CUDA_SUCCESS);
  REQUIRE(cuMemAllocAsync(&pooled, 4096, nullptr) == CUDA_SUCCESS);
  REQUIRE(cuMemAllocHost_v2(&host, 4096) == CUDA_SUCCESS);
  for (CUdeviceptr other : {pooled, reinterpret_cast<CUdeviceptr>(host)}) {
    CHECK(direct.hold(other, 1) == nullptr);
    direct.let_go(other);  // nothing to let go
  }
  CHECK(direct.hold(managed, 4096) == reinterpret_cast<void*>(managed));
  direct.let_go(managed);
  auto* here = static_cast<unsigned char*>(direct.hold(memory, 4096));
  CHECK(here == reinterpret_cast<unsigned char*>(memory));
  CHECK(direct.hold(memory + 100, 10) == here + 100);
  direct.let_go(memory + 100);
  direct.let_go(memory);
  CHECK(cuMemFree_v2(memory) == CUDA_SUCCESS);
  CHECK(direct.hold(memory, 1) == nullptr);
}

// Holds memory, lets another thread do what would free it, and uses it for a while.
template <class Free>
void use_while_freed(CUdeviceptr memory, const Free& free_it) {
  const auto& direct = direct_memory();
  void* held = direct.hold(memory, 4096);
  REQUIRE(held != nullptr);
  auto* here = static_cast<volatile unsigned char*>(held);
  std::atomic<bool> begins{false}, let_go{false};
  std::thread freeing([&] {
    begins = true;
    free_it();
    CHECK(let_go);
  });
  while (!begins) {
  }
  for (int i = 0; i < 1'000'000; ++i) here[i % 4096] = 7;
  let_go = true;
  direct.let_go(memory);
  freeing.join();
  CHECK(direct.hold(memory, 1) == nullptr);
}

TEST_CASE("freeing memory, or its context, waits for those who hold it") {
  DriverSession session;
  const auto current = [&] { CHECK(cuCtxSetCurrent(session.context()) == CUDA_SUCCESS); };
  CUdeviceptr memory = session.allocate(4096);
  use_while_freed(memory, [&] {
    current();
    CHECK(cuMemFree_v2(memory) == CUDA_SUCCESS);
  });
  memory = session.allocate(4096);
  use_while_freed(memory, [&] {
    current();
    CHECK(cuMemFreeAsync(memory, nullptr) == CUDA_SUCCESS);
  });
  CUcontext other = nullptr;
  REQUIRE(cuCtxCreate_v2(&other, 0, 0) == CUDA_SUCCESS);
  memory = session.allocate(4096);
  use_while_freed(memory, [&] { CHECK(cuCtxDestroy_v2(other) == CUDA_SUCCESS); });
}

}  // namespace farcall::softgpu::tests
