// Managed memory and batches on the software GPU alone.
#include <cstring>
#include <vector>

#include "tests/gpu_server/software_gpu/driver_session.h"

namespace farcall::softgpu::tests {
namespace {

CUmemLocation on_device(int ordinal) { return {CU_MEM_LOCATION_TYPE_DEVICE, ordinal}; }
CUmemLocation on_host() { return {CU_MEM_LOCATION_TYPE_HOST, 0}; }

CUdeviceptr managed(std::size_t bytes) {
  CUdeviceptr at = 0;
  REQUIRE(cuMemAllocManaged(&at, bytes, CU_MEM_ATTACH_GLOBAL) == CUDA_SUCCESS);
  return at;
}

int told(CUmem_range_attribute which, CUdeviceptr at, std::size_t bytes) {
  int value = -77;
  CHECK(cuMemRangeGetAttribute(&value, sizeof value, which, at, bytes) == CUDA_SUCCESS);
  return value;
}

}  // namespace

TEST_CASE("advice and prefetches are told again, for the ranges they were given for") {
  DriverSession session;
  constexpr std::size_t kBytes = 1 << 16;
  const CUdeviceptr at = managed(kBytes);
  CHECK(told(CU_MEM_RANGE_ATTRIBUTE_READ_MOSTLY, at, kBytes) == 0);
  CHECK(told(CU_MEM_RANGE_ATTRIBUTE_PREFERRED_LOCATION, at, kBytes) == CU_DEVICE_INVALID);
  CHECK(cuMemAdvise_v2(at, 4096, CU_MEM_ADVISE_SET_READ_MOSTLY, {}) == CUDA_SUCCESS);
  CHECK(cuMemAdvise_v2(at, kBytes, CU_MEM_ADVISE_SET_PREFERRED_LOCATION, on_device(1)) ==
        CUDA_SUCCESS);
  CHECK(cuMemAdvise(at, kBytes, CU_MEM_ADVISE_SET_ACCESSED_BY, CU_DEVICE_CPU) == CUDA_SUCCESS);
  CHECK(told(CU_MEM_RANGE_ATTRIBUTE_READ_MOSTLY, at, 4096) == 1);
  CHECK(told(CU_MEM_RANGE_ATTRIBUTE_READ_MOSTLY, at, kBytes) == 0);  // not all of it
  CHECK(told(CU_MEM_RANGE_ATTRIBUTE_PREFERRED_LOCATION, at, kBytes) == 1);
  int accessors[2] = {};
  CHECK(cuMemRangeGetAttribute(accessors, sizeof accessors, CU_MEM_RANGE_ATTRIBUTE_ACCESSED_BY, at,
                               kBytes) == CUDA_SUCCESS);
  CHECK(accessors[0] == CU_DEVICE_CPU);
  CHECK(accessors[1] == CU_DEVICE_INVALID);
  CHECK(cuMemPrefetchAsync_v2(at, kBytes, on_host(), 0, nullptr) == CUDA_SUCCESS);
  int mostly = -1, last = -1;
  void* data[] = {&mostly, &last};
  std::size_t sizes[] = {sizeof mostly, sizeof last};
  CUmem_range_attribute which[] = {CU_MEM_RANGE_ATTRIBUTE_READ_MOSTLY,
                                   CU_MEM_RANGE_ATTRIBUTE_LAST_PREFETCH_LOCATION};
  CHECK(cuMemRangeGetAttributes(data, sizes, which, 2, at, kBytes) == CUDA_SUCCESS);
  CHECK(mostly == 0);
  CHECK(last == CU_DEVICE_CPU);
  CHECK(cuMemFree_v2(at) == CUDA_SUCCESS);
  CHECK(told(CU_MEM_RANGE_ATTRIBUTE_READ_MOSTLY, managed(4096), 4096) == 0);
}

TEST_CASE("advice and prefetches are for whole pages") {
  DriverSession session;
  const CUdeviceptr at = managed(3 * 4096);
  CHECK(cuMemAdvise_v2(at + 4196, 8, CU_MEM_ADVISE_SET_READ_MOSTLY, {}) == CUDA_SUCCESS);
  CHECK(told(CU_MEM_RANGE_ATTRIBUTE_READ_MOSTLY, at + 4096, 4096) == 1);
  CHECK(told(CU_MEM_RANGE_ATTRIBUTE_READ_MOSTLY, at, 4096) == 0);
  CHECK(told(CU_MEM_RANGE_ATTRIBUTE_READ_MOSTLY, at + 8192, 4096) == 0);
  CHECK(cuMemPrefetchAsync_v2(at + 4095, 2, on_host(), 0, nullptr) == CUDA_SUCCESS);
  CHECK(told(CU_MEM_RANGE_ATTRIBUTE_LAST_PREFETCH_LOCATION, at, 8192) == CU_DEVICE_CPU);
  CHECK(cuMemFree_v2(at) == CUDA_SUCCESS);
}

TEST_CASE("what is no managed memory, or no device, is refused advice") {
  DriverSession session;
  const CUdeviceptr at = managed(4096), plain = session.allocate(4096);
  CHECK(cuMemAdvise_v2(plain, 4096, CU_MEM_ADVISE_SET_READ_MOSTLY, {}) == CUDA_ERROR_INVALID_VALUE);
  CHECK(cuMemAdvise_v2(at, 4097, CU_MEM_ADVISE_SET_READ_MOSTLY, {}) == CUDA_ERROR_INVALID_VALUE);
  CHECK(cuMemAdvise_v2(at, 4096, CU_MEM_ADVISE_SET_ACCESSED_BY, on_device(64)) ==
        CUDA_ERROR_INVALID_DEVICE);
  CHECK(cuMemAdvise_v2(at, 4096, static_cast<CUmem_advise>(7), on_host()) ==
        CUDA_ERROR_INVALID_VALUE);
  CHECK(cuMemPrefetchAsync_v2(at, 4096, on_device(2), 0, nullptr) == CUDA_ERROR_INVALID_DEVICE);
  CHECK(cuMemPrefetchAsync_v2(at, 4096, {}, 0, nullptr) == CUDA_ERROR_INVALID_VALUE);
  int value = 0;
  CHECK(cuMemRangeGetAttribute(&value, 3, CU_MEM_RANGE_ATTRIBUTE_READ_MOSTLY, at, 4096) ==
        CUDA_ERROR_INVALID_VALUE);
  CHECK(cuMemRangeGetAttribute(nullptr, 4, CU_MEM_RANGE_ATTRIBUTE_READ_MOSTLY, at, 4096) ==
        CUDA_ERROR_INVALID_VALUE);
}

TEST_CASE("a batch of copies is its copies, and says which of them failed") {
  DriverSession session;
  CUstream stream = nullptr;
  REQUIRE(cuStreamCreate(&stream, 0) == CUDA_SUCCESS);
  std::vector<char> first(100, 1), second(200, 2), back(200);
  CUdeviceptr to[] = {session.allocate(100), session.allocate(200)};
  CUdeviceptr from[] = {reinterpret_cast<CUdeviceptr>(first.data()),
                        reinterpret_cast<CUdeviceptr>(second.data())};
  std::size_t bytes[] = {100, 200};
  CUmemcpyAttributes order{};
  order.srcAccessOrder = CU_MEMCPY_SRC_ACCESS_ORDER_STREAM;
  std::size_t begins = 0, failed = 0;
  CHECK(cuMemcpyBatchAsync(to, from, bytes, 2, &order, &begins, 1, &failed, stream) ==
        CUDA_SUCCESS);
  CHECK(cuStreamSynchronize(stream) == CUDA_SUCCESS);
  CHECK(cuMemcpyDtoH_v2(back.data(), to[1], 200) == CUDA_SUCCESS);
  CHECK(back == second);
  bytes[1] = 201;
  CHECK(cuMemcpyBatchAsync(to, from, bytes, 2, &order, &begins, 1, &failed, stream) !=
        CUDA_SUCCESS);
  CHECK(failed == 1);
  begins = 1;  // nothing says how the first is to be read
  CHECK(cuMemcpyBatchAsync_v2(to, from, bytes, 2, &order, &begins, 1, stream) ==
        CUDA_ERROR_INVALID_VALUE);
  CHECK(cuMemcpyBatchAsync_v2(to, from, bytes, 1, &order, &failed, 1, nullptr) ==
        CUDA_ERROR_INVALID_VALUE);
  CHECK(cuStreamDestroy_v2(stream) == CUDA_SUCCESS);
}

TEST_CASE("a batch of copies with a shape copies boxes") {
  DriverSession session;
  CUstream stream = nullptr;
  REQUIRE(cuStreamCreate(&stream, 0) == CUDA_SUCCESS);
  std::vector<char> host(64);
  for (std::size_t i = 0; i < host.size(); ++i) host[i] = static_cast<char>(i);
  CUDA_MEMCPY3D_BATCH_OP op{};
  op.src.type = op.dst.type = CU_MEMCPY_OPERAND_TYPE_POINTER;
  op.src.op.ptr.ptr = reinterpret_cast<CUdeviceptr>(host.data());
  op.src.op.ptr.rowLength = 16;
  op.src.op.ptr.layerHeight = 4;
  op.dst.op.ptr.ptr = session.allocate(64);
  op.dst.op.ptr.rowLength = 8;
  op.dst.op.ptr.layerHeight = 4;
  op.srcAccessOrder = CU_MEMCPY_SRC_ACCESS_ORDER_ANY;
  op.extent = {8, 4, 1};
  std::size_t failed = 0;
  CHECK(cuMemcpy3DBatchAsync(1, &op, &failed, 0, stream) == CUDA_SUCCESS);
  char back[32];
  CHECK(cuStreamSynchronize(stream) == CUDA_SUCCESS);
  CHECK(cuMemcpyDtoH_v2(back, op.dst.op.ptr.ptr, 32) == CUDA_SUCCESS);
  CHECK(back[7] == 7);
  CHECK(back[8] == 16);
  CHECK(back[31] == 55);
  CHECK(cuStreamDestroy_v2(stream) == CUDA_SUCCESS);
}

TEST_CASE("a shape of more bytes than a number holds is refused") {
  DriverSession session;
  CUstream stream = nullptr;
  REQUIRE(cuStreamCreate(&stream, 0) == CUDA_SUCCESS);
  CUDA_ARRAY_DESCRIPTOR shape{};
  shape.Width = shape.Height = 4;
  shape.Format = CU_AD_FORMAT_FLOAT;
  shape.NumChannels = 1;
  CUarray array = nullptr;
  REQUIRE(cuArrayCreate_v2(&array, &shape) == CUDA_SUCCESS);
  CUDA_MEMCPY3D_BATCH_OP op{};
  op.src.type = CU_MEMCPY_OPERAND_TYPE_POINTER;
  op.src.op.ptr.ptr = session.allocate(64);
  op.dst.type = CU_MEMCPY_OPERAND_TYPE_ARRAY;
  op.dst.op.array.array = array;
  op.srcAccessOrder = CU_MEMCPY_SRC_ACCESS_ORDER_STREAM;
  const auto copy = [&] { return cuMemcpy3DBatchAsync_v2(1, &op, 0, stream); };
  op.extent = {4, 4, 1};
  CHECK(copy() == CUDA_SUCCESS);
  constexpr std::size_t kWraps = std::size_t{1} << 62;  // elements of 4 bytes
  op.extent.width = kWraps;
  CHECK(copy() == CUDA_ERROR_INVALID_VALUE);
  op.extent.width = 4;
  op.src.op.ptr.rowLength = kWraps;
  CHECK(copy() == CUDA_ERROR_INVALID_VALUE);
  op.src.op.ptr.rowLength = 0;
  op.dst.op.array.offset.x = kWraps;
  CHECK(copy() == CUDA_ERROR_INVALID_VALUE);
  CHECK(cuStreamSynchronize(stream) == CUDA_SUCCESS);
  CHECK(cuArrayDestroy(array) == CUDA_SUCCESS);
  CHECK(cuStreamDestroy_v2(stream) == CUDA_SUCCESS);
}

TEST_CASE("prefetches and discards of several ranges, each to its place") {
  DriverSession session;
  CUstream stream = nullptr;
  REQUIRE(cuStreamCreate(&stream, 0) == CUDA_SUCCESS);
  CUdeviceptr at[] = {managed(4096), managed(8192), managed(4096)};
  std::size_t bytes[] = {4096, 8192, 4096};
  CUmemLocation places[] = {on_device(0), on_host()};
  std::size_t begins[] = {0, 2};
  CHECK(cuMemPrefetchBatchAsync(at, bytes, 3, places, begins, 2, 0, stream) == CUDA_SUCCESS);
  CHECK(told(CU_MEM_RANGE_ATTRIBUTE_LAST_PREFETCH_LOCATION, at[1], 8192) == 0);
  CHECK(told(CU_MEM_RANGE_ATTRIBUTE_LAST_PREFETCH_LOCATION, at[2], 4096) == CU_DEVICE_CPU);
  CHECK(cuMemDiscardBatchAsync(at, bytes, 3, 0, stream) == CUDA_SUCCESS);
  CHECK(cuMemDiscardAndPrefetchBatchAsync(at, bytes, 3, places, begins, 1, 0, stream) ==
        CUDA_SUCCESS);
  CHECK(told(CU_MEM_RANGE_ATTRIBUTE_LAST_PREFETCH_LOCATION, at[2], 4096) == 0);
  bytes[1] = 8193;
  CHECK(cuMemDiscardBatchAsync(at, bytes, 3, 0, stream) == CUDA_ERROR_INVALID_VALUE);
  begins[0] = 1;
  CHECK(cuMemPrefetchBatchAsync(at, bytes, 1, places, begins, 1, 0, stream) ==
        CUDA_ERROR_INVALID_VALUE);
  CHECK(cuStreamDestroy_v2(stream) == CUDA_SUCCESS);
}

TEST_CASE("a wish for an address is granted where nothing is") {
  DriverSession session;
  constexpr std::size_t kStep = std::size_t{2} << 20;
  CUdeviceptr first = 0, second = 0, third = 0;
  REQUIRE(cuMemAddressReserve(&first, 4 * kStep, 0, 0, 0) == CUDA_SUCCESS);
  REQUIRE(cuMemAddressFree(first, 4 * kStep) == CUDA_SUCCESS);
  CHECK(cuMemAddressReserve(&second, kStep, 0, first + kStep, 0) == CUDA_SUCCESS);
  CHECK(second == first + kStep);
  // Right before what is taken there is room for exactly this.
  CHECK(cuMemAddressReserve(&third, kStep, 0, first, 0) == CUDA_SUCCESS);
  CHECK(third == first);
  CUdeviceptr elsewhere = 0;
  CHECK(cuMemAddressReserve(&elsewhere, kStep, 0, first, 0) == CUDA_SUCCESS);
  CHECK(elsewhere != first);
  CHECK(cuMemAddressFree(elsewhere, kStep) == CUDA_SUCCESS);
  CHECK(cuMemAddressFree(second, kStep) == CUDA_SUCCESS);
  CHECK(cuMemAddressFree(third, kStep) == CUDA_SUCCESS);
}

}  // namespace farcall::softgpu::tests
