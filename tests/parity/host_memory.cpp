// Page-locked host memory, and what the driver knows of a pointer.
#include <cstdlib>
#include <string>
#include <vector>

#include "tests/parity/setup.h"

using namespace parity;

BODY(host_memory_wrong) {
  Primary primary;
  void* host = nullptr;
  int local = 0;
  CALL(cuMemAllocHost_v2, &host, 0);
  CALL(cuMemAllocHost_v2, nullptr, 64);
  CALL(cuMemAllocHost_v2, &host, 1UL << 50);
  CALL(cuMemHostAlloc, &host, 0, 0);
  CALL(cuMemHostAlloc, nullptr, 64, 0);
  CALL(cuMemHostAlloc, &host, 64, 0x100);
  CALL(cuMemHostAlloc, &host, 64, ~0U);
  CALL(cuMemFreeHost, nullptr);
  CALL(cuMemFreeHost, &local);
  CALL(cuMemHostAlloc, &host, 4096, CU_MEMHOSTALLOC_PORTABLE);
  unsigned flags = 77;
  CALL(cuMemHostGetFlags, &flags, host);
  FACT("flags", flags);
  CALL(cuMemHostGetFlags, nullptr, host);
  CALL(cuMemHostGetFlags, &flags, nullptr);
  CALL(cuMemHostGetFlags, &flags, &local);
  CALL(cuMemFreeHost, static_cast<char*>(host) + 64);
  CALL(cuMemHostUnregister, host);
  CALL(cuMemFree_v2, reinterpret_cast<CUdeviceptr>(host));
  CALL(cuMemFreeHost, host);
  CALL(cuMemFreeHost, host);
}

BODY(host_memory_registered) {
  Primary primary;
  void* room = std::aligned_alloc(4096, 16384);
  auto* bytes = static_cast<char*>(room);
  const auto twice = CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED;
  CALL(cuMemHostRegister_v2, room, 8192, 0);
  EXPECT(twice, "cuda.h, CUresult", cuMemHostRegister_v2, room, 8192, 0);
  CALL(cuMemHostRegister_v2, bytes + 4096, 8192, 0);
  CALL(cuMemHostUnregister, bytes + 4096);
  CALL(cuMemHostUnregister, room);
  const auto never = CUDA_ERROR_HOST_MEMORY_NOT_REGISTERED;
  EXPECT(never, "cuda.h, cuMemHostUnregister", cuMemHostUnregister, room);
  CALL(cuMemHostUnregister, nullptr);
  CALL(cuMemHostRegister_v2, nullptr, 8192, 0);
  CALL(cuMemHostRegister_v2, room, 0, 0);
  CALL(cuMemHostRegister_v2, room, 8192, 0x100);
  CALL(cuMemHostRegister_v2, room, 8192, ~0U);
  CALL(cuMemHostRegister_v2, bytes + 100, 1000, 0);
  CALL(cuMemHostUnregister, bytes + 100);
  CALL(cuMemHostRegister_v2, room, 8192, CU_MEMHOSTREGISTER_PORTABLE);
  CALL(cuMemFreeHost, room);
  CALL(cuMemHostUnregister, room);
}

namespace {

std::string shown(CUpointer_attribute attribute, unsigned long long is) {
  switch (attribute) {
    case CU_POINTER_ATTRIBUTE_CONTEXT:
    case CU_POINTER_ATTRIBUTE_DEVICE_POINTER:
    case CU_POINTER_ATTRIBUTE_HOST_POINTER:
    case CU_POINTER_ATTRIBUTE_RANGE_START_ADDR:
    case CU_POINTER_ATTRIBUTE_MAPPING_BASE_ADDR:
    case CU_POINTER_ATTRIBUTE_MEMORY_BLOCK_ID:
    case CU_POINTER_ATTRIBUTE_BUFFER_ID:
    case CU_POINTER_ATTRIBUTE_MEMPOOL_HANDLE: return is == 0 ? "zero" : "something";
    default: return std::to_string(is);
  }
}

void ask_all(const char* what, CUdeviceptr p) {
  about(what);
  for (int at = 1; at <= 22; ++at) {
    const auto attribute = number<CUpointer_attribute>(at);
    if (attribute == CU_POINTER_ATTRIBUTE_P2P_TOKENS) continue;  // a structure of its own
    unsigned long long is = 0;
    const CUresult code = CU(cuPointerGetAttribute)(&is, attribute, p);
    const std::string step = "attribute " + std::to_string(at);
    VALUE(step.c_str(), name_of(code) + (code == CUDA_SUCCESS ? " " + shown(attribute, is) : ""));
  }
}

}  // namespace

BODY(pointer_attributes) {
  Primary primary;
  const CUdeviceptr p = allocate(1000);
  void* host = nullptr;
  need(CU(cuMemHostAlloc)(&host, 4096, CU_MEMHOSTALLOC_PORTABLE), "cuMemHostAlloc");
  void* registered = std::aligned_alloc(4096, 4096);
  need(CU(cuMemHostRegister_v2)(registered, 4096, 0), "cuMemHostRegister");
  int local = 0;
  ask_all("device memory", p);
  ask_all("inside it", p + 999);
  ask_all("page-locked", reinterpret_cast<CUdeviceptr>(host) + 100);
  ask_all("registered", reinterpret_cast<CUdeviceptr>(registered));
  ask_all("pageable", reinterpret_cast<CUdeviceptr>(&local));
  ask_all("null", 0);
  need(CU(cuMemFree_v2)(p), "cuMemFree");
  ask_all("freed", p);
}

BODY(pointer_attributes_wrong) {
  Primary primary;
  const CUdeviceptr p = allocate(1000);
  unsigned type = 77;
  unsigned long long id = 77;
  CALL(cuPointerGetAttribute, nullptr, CU_POINTER_ATTRIBUTE_MEMORY_TYPE, p);
  CALL(cuPointerGetAttribute, &type, number<CUpointer_attribute>(0), p);
  CALL(cuPointerGetAttribute, &type, number<CUpointer_attribute>(999), p);
  CUpointer_attribute two[] = {CU_POINTER_ATTRIBUTE_MEMORY_TYPE, CU_POINTER_ATTRIBUTE_BUFFER_ID};
  void* data[] = {&type, &id};
  CALL(cuPointerGetAttributes, 2, two, data, p);
  VALUE("type", type);
  CALL(cuPointerGetAttributes, 0, two, data, p);
  CALL(cuPointerGetAttributes, 2, nullptr, data, p);
  CALL(cuPointerGetAttributes, 2, two, nullptr, p);
  int local = 0;
  // "if no pointer of CUDA: … attributes that are invalid for the pointer are null, and success".
  EXPECT(CUDA_SUCCESS, "cuda.h, cuPointerGetAttributes", cuPointerGetAttributes, 2, two, data,
         reinterpret_cast<CUdeviceptr>(&local));
  VALUE("type", type);
  VALUE("id", static_cast<long long>(id));
  int on = 1;
  const auto sync = CU_POINTER_ATTRIBUTE_SYNC_MEMOPS;
  CALL(cuPointerSetAttribute, &on, sync, p);
  CALL(cuPointerGetAttribute, &type, sync, p);
  VALUE("synchronous", type & 0xff);
  CALL(cuPointerSetAttribute, &on, sync, reinterpret_cast<CUdeviceptr>(&local));
  CALL(cuPointerSetAttribute, nullptr, sync, p);
  CALL(cuPointerSetAttribute, &on, CU_POINTER_ATTRIBUTE_MEMORY_TYPE, p);
}
