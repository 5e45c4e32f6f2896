// Copies: wrong ones, shapes, order, and bytes that come back as they went.
#include <cstring>
#include <numeric>
#include <string>
#include <vector>

#include "tests/parity/setup.h"

using namespace parity;

BODY(copy_both_ways) {
  Primary primary;
  for (size_t count : {1UL, 1000UL, 70000UL, 1000003UL}) {
    std::vector<int> out(count);
    std::iota(out.begin(), out.end(), 7);
    const CUdeviceptr p = allocate(count * 4);
    const CUdeviceptr q = allocate(count * 4);
    CALL(cuMemcpyHtoD_v2, p, out.data(), count * 4);
    CALL(cuMemcpyDtoD_v2, q, p, count * 4);
    VALUE("the same came back", read_back(q, count) == out);
    CALL(cuMemcpy, p, reinterpret_cast<CUdeviceptr>(out.data() + count / 2), 4);
    VALUE("first", text(read_back(p, 1)));
  }
}

BODY(copy_wrong) {
  Primary primary;
  const CUdeviceptr p = allocate(1024);
  char room[2048] = {};
  CALL(cuMemcpyHtoD_v2, p, nullptr, 16);
  CALL(cuMemcpyHtoD_v2, 0, room, 16);
  CALL(cuMemcpyHtoD_v2, p, room, 0);
  CALL(cuMemcpyHtoD_v2, 0, nullptr, 0);
  CALL(cuMemcpyHtoD_v2, p, room, 1025);
  CALL(cuMemcpyHtoD_v2, p + 1024, room, 1);
  CALL(cuMemcpyDtoH_v2, nullptr, p, 16);
  CALL(cuMemcpyDtoH_v2, room, 0, 16);
  CALL(cuMemcpyDtoH_v2, room, p, 0);
  CALL(cuMemcpyDtoH_v2, nullptr, 0, 0);
  CALL(cuMemcpyDtoH_v2, room, p, 1025);
  CALL(cuMemcpyDtoH_v2, room, p, SIZE_MAX);
  CALL(cuMemcpyDtoD_v2, p, 0, 16);
  CALL(cuMemcpyDtoD_v2, 0, p, 16);
  CALL(cuMemcpyDtoD_v2, 0, 0, 0);
  CALL(cuMemcpyDtoD_v2, p, p + 1000, 100);
  CALL(cuMemcpyDtoD_v2, p, p + 8, 16);
  CALL(cuMemcpyDtoD_v2, p, p, 16);
  CALL(cuMemcpyHtoD_v2, reinterpret_cast<CUdeviceptr>(room), room + 1024, 16);
  CALL(cuMemcpyDtoH_v2, room, reinterpret_cast<CUdeviceptr>(room + 1024), 16);
  CALL(cuMemcpy, p, 0, 16);
  CALL(cuMemcpy, 0, p, 16);
  CALL(cuMemcpy, 0, 0, 0);
  CALL(cuMemcpy, p, p + 512, 1024);
  CALL(cuMemcpy, reinterpret_cast<CUdeviceptr>(room), reinterpret_cast<CUdeviceptr>(room + 64), 16);
}

BODY(copy_wrong_asynchronous) {
  Primary primary;
  const CUdeviceptr p = allocate(1024);
  const CUstream stream = new_stream();
  char room[2048] = {};
  CALL(cuMemcpyHtoDAsync_v2, p, nullptr, 16, stream);
  CALL(cuMemcpyHtoDAsync_v2, 0, room, 16, stream);
  CALL(cuMemcpyHtoDAsync_v2, p, room, 0, stream);
  CALL(cuMemcpyHtoDAsync_v2, p, room, 1025, stream);
  CALL(cuMemcpyDtoHAsync_v2, nullptr, p, 16, stream);
  CALL(cuMemcpyDtoHAsync_v2, room, 0, 16, stream);
  CALL(cuMemcpyDtoHAsync_v2, room, p, 0, stream);
  CALL(cuMemcpyDtoHAsync_v2, room, p, 1025, stream);
  CALL(cuMemcpyDtoDAsync_v2, p, 0, 16, stream);
  CALL(cuMemcpyDtoDAsync_v2, 0, p, 16, stream);
  CALL(cuMemcpyDtoDAsync_v2, p, p + 1000, 100, stream);
  CALL(cuMemcpyAsync, 0, p, 16, stream);
  CALL(cuMemcpyAsync, 0, 0, 0, stream);
  CALL(cuStreamSynchronize, stream);
}

namespace {

CUresult copied(const CUDA_MEMCPY2D& copy) { return CU(cuMemcpy2D_v2)(&copy); }
CUresult copied(const CUDA_MEMCPY3D& copy) { return CU(cuMemcpy3D_v2)(&copy); }

// One step: the copy as `change` leaves it, told as `what`.
template <class Copy, class Change>
void attempt(Copy copy, const char* what, Change change) {
  change(copy);
  tell((std::string("copy, ") + what).c_str(), copied(copy));
}

// The same where cuda.h is explicit.
template <class Change>
void refused(CUDA_MEMCPY2D copy, const char* what, Change change) {
  change(copy);
  tell_expected((std::string("copy, ") + what).c_str(), copied(copy), CUDA_ERROR_INVALID_VALUE,
                "cuda.h, cuMemcpy2D");
}

}  // namespace

BODY(copy_shapes) {
  Primary primary;
  constexpr size_t kPitch = 64;
  const CUdeviceptr p = allocate(kPitch * 8);
  need(CU(cuMemsetD8_v2)(p, 0, kPitch * 8), "cuMemsetD8");
  std::vector<unsigned char> host(256);
  std::iota(host.begin(), host.end(), static_cast<unsigned char>(0));
  CUDA_MEMCPY2D copy{};
  copy.srcMemoryType = CU_MEMORYTYPE_HOST;
  copy.srcHost = host.data();
  copy.srcPitch = 16;
  copy.dstMemoryType = CU_MEMORYTYPE_DEVICE;
  copy.dstDevice = p;
  copy.dstPitch = kPitch;
  copy.WidthInBytes = 8;
  copy.Height = 4;
  CALL(cuMemcpy2D_v2, &copy);
  VALUE("rows", text(read_back(p + kPitch, 4)));
  CALL(cuMemcpy2D_v2, nullptr);
  // "srcPitch must be greater than or equal to WidthInBytes + srcXInBytes"
  refused(copy, "srcPitch 4", [](auto& it) { it.srcPitch = 4; });
  refused(copy, "dstPitch 4", [](auto& it) { it.dstPitch = 4; });
  refused(copy, "dstXInBytes 60", [](auto& it) { it.dstXInBytes = 60; });
  attempt(copy, "width 0", [](auto& it) { it.WidthInBytes = 0; });
  attempt(copy, "height 0", [](auto& it) { it.Height = 0; });
  attempt(copy, "dstY 5", [](auto& it) { it.dstY = 5; });
  attempt(copy, "one row without a pitch", [](auto& it) { it.srcPitch = 0, it.Height = 1; });
  attempt(copy, "memory type 0", [](auto& it) { it.srcMemoryType = number<CUmemorytype>(0); });
  attempt(copy, "memory type 9", [](auto& it) { it.srcMemoryType = number<CUmemorytype>(9); });
  attempt(copy, "no srcHost", [](auto& it) { it.srcHost = nullptr; });
  attempt(copy, "no dstDevice", [](auto& it) { it.dstDevice = 0; });
  attempt(copy, "no srcArray", [](auto& it) { it.srcMemoryType = CU_MEMORYTYPE_ARRAY; });
  attempt(copy, "width of all", [](auto& it) { it.WidthInBytes = SIZE_MAX; });
  attempt(copy, "height of all", [](auto& it) { it.Height = SIZE_MAX; });
}

BODY(copy_shapes_asynchronous) {
  Primary primary;
  const CUstream stream = new_stream();
  const CUdeviceptr p = allocate(1024);
  std::vector<int> host(256, 5);
  CUDA_MEMCPY2D copy{};
  copy.srcMemoryType = CU_MEMORYTYPE_HOST;
  copy.srcHost = host.data();
  copy.srcPitch = 16;
  copy.dstMemoryType = CU_MEMORYTYPE_DEVICE;
  copy.dstDevice = p;
  copy.dstPitch = 64;
  copy.WidthInBytes = 16;
  copy.Height = 4;
  CALL(cuMemcpy2DAsync_v2, &copy, stream);
  CALL(cuMemcpy2DUnaligned_v2, &copy);
  CALL(cuMemcpy2DUnaligned_v2, nullptr);
  CALL(cuMemcpy2DAsync_v2, nullptr, stream);
  copy.dstPitch = 8;
  CALL(cuMemcpy2DAsync_v2, &copy, stream);
  CALL(cuStreamSynchronize, stream);
  VALUE("memory", text(read_back(p + 64, 4)));
}

BODY(copy_volumes) {
  Primary primary;
  const CUdeviceptr p = allocate(4096);
  std::vector<int> host(1024);
  std::iota(host.begin(), host.end(), 0);
  CUDA_MEMCPY3D copy{};
  copy.srcMemoryType = CU_MEMORYTYPE_HOST;
  copy.srcHost = host.data();
  copy.srcPitch = 16;
  copy.srcHeight = 4;
  copy.dstMemoryType = CU_MEMORYTYPE_DEVICE;
  copy.dstDevice = p;
  copy.dstPitch = 64;
  copy.dstHeight = 8;
  copy.WidthInBytes = 16;
  copy.Height = 4;
  copy.Depth = 2;
  CALL(cuMemcpy3D_v2, &copy);
  VALUE("second slice", text(read_back(p + 512, 4)));
  CALL(cuMemcpy3D_v2, nullptr);
  attempt(copy, "depth 0", [](auto& it) { it.Depth = 0; });
  attempt(copy, "depth 20", [](auto& it) { it.Depth = 20; });
  attempt(copy, "dstHeight 2", [](auto& it) { it.dstHeight = 2; });
  attempt(copy, "srcPitch 8", [](auto& it) { it.srcPitch = 8; });
  attempt(copy, "reserved0 set", [](auto& it) { it.reserved0 = &it; });
  attempt(copy, "srcLOD 1", [](auto& it) { it.srcLOD = 1; });
  attempt(copy, "dstZ of all", [](auto& it) { it.dstZ = ~0UL; });
  CALL(cuMemcpy3DAsync_v2, &copy, nullptr);
  CALL(cuMemcpy3DAsync_v2, nullptr, nullptr);
  CALL(cuCtxSynchronize);
}

BODY(copy_peer) {
  Primary primary;
  const CUcontext here = primary.context;
  const CUdeviceptr p = allocate(64);
  need(CU(cuMemsetD32_v2)(p, 3, 16), "cuMemsetD32");
  const CUcontext there = new_context(0);
  const CUdeviceptr q = allocate(64);
  CALL(cuMemcpyPeer, q, there, p, here, 64);
  VALUE("memory", text(read_back(q, 16)));
  CALL(cuMemcpyPeer, q, nullptr, p, here, 64);
  CALL(cuMemcpyPeer, q, there, p, nullptr, 64);
  CALL(cuMemcpyPeer, 0, there, p, here, 64);
  CALL(cuMemcpyPeer, q, there, p, here, 0);
  CALL(cuMemcpyPeer, q, there, p, here, 65);
  CALL(cuMemcpyPeerAsync, q, there, p, here, 64, nullptr);
  CALL(cuCtxSynchronize);
}

// Each waits for the one before it, whatever its kind.
BODY(copy_order) {
  Primary primary;
  Kernels kernels;
  const CUfunction kernel = kernels.get("fill");
  const CUstream stream = new_stream();
  constexpr int kCount = 5000;
  const CUdeviceptr p = allocate(kCount * 4);
  const CUdeviceptr q = allocate(kCount * 4);
  std::vector<int> host(kCount, 1);
  void* locked = nullptr;
  need(CU(cuMemAllocHost_v2)(&locked, kCount * 4), "cuMemAllocHost");
  Held held(stream);
  std::memcpy(locked, host.data(), kCount * 4);
  CALL(cuMemcpyHtoDAsync_v2, p, locked, kCount * 4, stream);
  CALL(cuMemcpyDtoDAsync_v2, q, p, kCount * 4, stream);
  VALUE("launch", name_of(fill(kernel, p, 2, kCount / 2, stream)));
  CALL(cuMemsetD32Async, q, 3, 100, stream);
  CALL(cuMemcpyDtoDAsync_v2, p + 400, q + 400, 400, stream);
  CALL(cuStreamQuery, stream);
  held.release();
  CALL(cuStreamSynchronize, stream);
  const std::vector<int> first = read_back(p, kCount);
  const std::vector<int> second = read_back(q, kCount);
  for (size_t at : {0UL, 99UL, 100UL, 199UL, 200UL, 2499UL, 2500UL, 4999UL}) {
    VALUE(("at " + std::to_string(at)).c_str(), text({first[at], second[at]}));
  }
}
