// Devices: finding them, what they are called, what they can do, their primary contexts.
#include <cstring>

#include "tests/parity/setup.h"

using namespace parity;

BODY(device_wrong) {
  Device ready;
  int count = 0;
  CUdevice device = 77;
  char name[256] = "untouched";
  size_t bytes = 0;
  need(CU(cuDeviceGetCount)(&count), "cuDeviceGetCount");
  EXPECT(CUDA_ERROR_INVALID_VALUE, "cuda.h, cuDeviceGetCount", cuDeviceGetCount, nullptr);
  // "ordinal in the range [0, cuDeviceGetCount()-1]"
  EXPECT(CUDA_ERROR_INVALID_DEVICE, "cuda.h, cuDeviceGet", cuDeviceGet, &device, count);
  EXPECT(CUDA_ERROR_INVALID_DEVICE, "cuda.h, cuDeviceGet", cuDeviceGet, &device, -1);
  VALUE("device untouched", device == 77);
  CALL(cuDeviceGet, nullptr, 0);
  CALL(cuDeviceGet, nullptr, -1);
  CALL(cuDeviceGetName, name, sizeof name, count);
  CALL(cuDeviceGetName, name, sizeof name, -1);
  VALUE("name untouched", std::strcmp(name, "untouched") == 0);
  CALL(cuDeviceGetName, nullptr, sizeof name, 0);
  CALL(cuDeviceGetName, name, 0, 0);
  CALL(cuDeviceGetName, name, -1, 0);
  CALL(cuDeviceGetName, name, 1, 0);
  VALUE("length of it", static_cast<long long>(std::strlen(name)));
  CALL(cuDeviceGetName, name, 4, 0);
  VALUE("length of it", static_cast<long long>(std::strlen(name)));
  CALL(cuDeviceGetName, name, sizeof name, 0);
  FACT("name", name);
  CALL(cuDeviceTotalMem_v2, nullptr, 0);
  CALL(cuDeviceTotalMem_v2, &bytes, count);
  CALL(cuDeviceTotalMem_v2, nullptr, count);
  CALL(cuDeviceTotalMem_v2, &bytes, 0);
  FACT("memory", static_cast<long long>(bytes));
  int value = 0;
  CALL(cuDeviceGetAttribute, nullptr, CU_DEVICE_ATTRIBUTE_WARP_SIZE, 0);
  CALL(cuDeviceGetAttribute, &value, CU_DEVICE_ATTRIBUTE_WARP_SIZE, count);
  CALL(cuDeviceGetAttribute, &value, CU_DEVICE_ATTRIBUTE_WARP_SIZE, -1);
  CALL(cuDeviceGetAttribute, &value, CU_DEVICE_ATTRIBUTE_WARP_SIZE, 0);
  VALUE("warp", value);
}

BODY(device_attributes) {
  Device device;
  for (int attribute = -1; attribute <= 160; ++attribute) {
    int is = 0;
    const CUresult code = CU(cuDeviceGetAttribute)(&is, number<CUdevice_attribute>(attribute), 0);
    const std::string what = "attribute " + std::to_string(attribute);
    VALUE(what.c_str(), name_of(code));
    if (code == CUDA_SUCCESS) FACT(what.c_str(), is);
  }
  int is = 0;
  CALL(cuDeviceGetAttribute, &is, number<CUdevice_attribute>(100000), 0);
}

BODY(device_ids) {
  Device ready;
  CUuuid one{};
  CUuuid two{};
  CALL(cuDeviceGetUuid_v2, &one, 0);
  CALL(cuDeviceGetUuid, &two, 0);
  VALUE("both alike", std::memcmp(&one, &two, sizeof one) == 0);
  CALL(cuDeviceGetUuid_v2, nullptr, 0);
  CALL(cuDeviceGetUuid_v2, &one, 99);
  char id[64] = "untouched";
  CUdevice device = 77;
  CALL(cuDeviceGetPCIBusId, id, 4, 0);
  CALL(cuDeviceGetPCIBusId, id, 13, 0);
  FACT("id of 13 bytes", id);
  CALL(cuDeviceGetPCIBusId, id, sizeof id, 0);
  FACT("id", id);
  CALL(cuDeviceGetByPCIBusId, &device, id);
  VALUE("device", device);
  CALL(cuDeviceGetPCIBusId, nullptr, sizeof id, 0);
  CALL(cuDeviceGetPCIBusId, id, 0, 0);
  CALL(cuDeviceGetPCIBusId, id, -5, 0);
  CALL(cuDeviceGetPCIBusId, id, sizeof id, 99);
  CALL(cuDeviceGetByPCIBusId, &device, "no such id");
  CALL(cuDeviceGetByPCIBusId, &device, "ffff:ff:1f.7");
  CALL(cuDeviceGetByPCIBusId, &device, "");
  CALL(cuDeviceGetByPCIBusId, &device, nullptr);
  CALL(cuDeviceGetByPCIBusId, nullptr, id);
}

BODY(device_peers) {
  Device ready;
  int can = 77;
  CALL(cuDeviceCanAccessPeer, &can, 0, 0);
  VALUE("can", can);
  CALL(cuDeviceCanAccessPeer, nullptr, 0, 0);
  CALL(cuDeviceCanAccessPeer, &can, 0, 99);
  CALL(cuDeviceCanAccessPeer, &can, 99, 0);
  const auto rank = CU_DEVICE_P2P_ATTRIBUTE_PERFORMANCE_RANK;
  // "Returns CUDA_ERROR_INVALID_DEVICE if srcDevice or dstDevice are not valid or if they represent
  // the same device"; "CUDA_ERROR_INVALID_VALUE if attrib is not valid or if value is NULL".
  const char* const says = "cuda.h, cuDeviceGetP2PAttribute";
  EXPECT(CUDA_ERROR_INVALID_DEVICE, says, cuDeviceGetP2PAttribute, &can, rank, 0, 0);
  EXPECT(CUDA_ERROR_INVALID_DEVICE, says, cuDeviceGetP2PAttribute, &can, rank, 0, 99);
  Primary primary;
  CALL(cuCtxEnablePeerAccess, primary.context, 0);
  CALL(cuCtxEnablePeerAccess, primary.context, 1);
  CALL(cuCtxEnablePeerAccess, nullptr, 0);
  CALL(cuCtxDisablePeerAccess, primary.context);
  CALL(cuCtxDisablePeerAccess, nullptr);
}

BODY(device_old_questions) {
  Device ready;
  int major = 0;
  int minor = 0;
  CUdevprop properties{};
  CALL(cuDeviceComputeCapability, &major, &minor, 0);
  FACT("capability", std::to_string(major) + "." + std::to_string(minor));
  CALL(cuDeviceComputeCapability, nullptr, &minor, 0);
  CALL(cuDeviceComputeCapability, &major, nullptr, 0);
  CALL(cuDeviceComputeCapability, &major, &minor, 99);
  CALL(cuDeviceGetProperties, &properties, 0);
  FACT("threads of a block", properties.maxThreadsPerBlock);
  FACT("grid x", properties.maxGridSize[0]);
  FACT("shared memory", properties.sharedMemPerBlock);
  FACT("warp", properties.SIMDWidth);
  CALL(cuDeviceGetProperties, nullptr, 0);
  CALL(cuDeviceGetProperties, &properties, 99);
  int supported = 77;
  CALL(cuDeviceGetExecAffinitySupport, &supported, CU_EXEC_AFFINITY_TYPE_SM_COUNT, 0);
  FACT("affinity", supported);
  CALL(cuDeviceGetExecAffinitySupport, nullptr, CU_EXEC_AFFINITY_TYPE_SM_COUNT, 0);
  CALL(cuDeviceGetExecAffinitySupport, &supported, number<CUexecAffinityType>(9), 0);
  size_t width = 0;
  CALL(cuDeviceGetTexture1DLinearMaxWidth, &width, CU_AD_FORMAT_FLOAT, 1, 0);
  FACT("width", static_cast<long long>(width));
  CALL(cuDeviceGetTexture1DLinearMaxWidth, &width, CU_AD_FORMAT_FLOAT, 3, 0);
  CALL(cuDeviceGetTexture1DLinearMaxWidth, nullptr, CU_AD_FORMAT_FLOAT, 1, 0);
  CALL(cuDeviceGetTexture1DLinearMaxWidth, &width, number<CUarray_format>(0), 1, 0);
}

BODY(device_primary_context) {
  Device ready;
  unsigned flags = 77;
  int active = 77;
  CUcontext one = nullptr;
  CUcontext two = nullptr;
  CALL(cuDevicePrimaryCtxGetState, 0, &flags, &active);
  VALUE("flags and active", std::to_string(flags) + " " + std::to_string(active));
  CALL(cuDevicePrimaryCtxGetState, 0, nullptr, &active);
  CALL(cuDevicePrimaryCtxGetState, 0, &flags, nullptr);
  CALL(cuDevicePrimaryCtxGetState, 99, &flags, &active);
  CALL(cuDevicePrimaryCtxRelease_v2, 0);
  CALL(cuDevicePrimaryCtxReset_v2, 0);
  CALL(cuDevicePrimaryCtxSetFlags_v2, 0, CU_CTX_SCHED_BLOCKING_SYNC);
  CALL(cuDevicePrimaryCtxSetFlags_v2, 0, 0x7);
  CALL(cuDevicePrimaryCtxSetFlags_v2, 0, ~0U);
  CALL(cuDevicePrimaryCtxSetFlags_v2, 99, 0);
  CALL(cuDevicePrimaryCtxGetState, 0, &flags, &active);
  VALUE("flags and active", std::to_string(flags) + " " + std::to_string(active));
  CALL(cuDevicePrimaryCtxRetain, nullptr, 0);
  CALL(cuDevicePrimaryCtxRetain, &one, 99);
  CALL(cuDevicePrimaryCtxRetain, &one, 0);
  CALL(cuDevicePrimaryCtxRetain, &two, 0);
  VALUE("the same twice", one == two);
  CALL(cuCtxGetCurrent, &two);
  VALUE("none is current", two == nullptr);
  CALL(cuDevicePrimaryCtxGetState, 0, &flags, &active);
  VALUE("flags and active", std::to_string(flags) + " " + std::to_string(active));
  CALL(cuDevicePrimaryCtxSetFlags_v2, 0, CU_CTX_SCHED_SPIN);
  CALL(cuDevicePrimaryCtxGetState, 0, &flags, &active);
  VALUE("flags and active", std::to_string(flags) + " " + std::to_string(active));
  CALL(cuDevicePrimaryCtxRelease_v2, 0);
  CALL(cuDevicePrimaryCtxRelease_v2, 0);
  CALL(cuDevicePrimaryCtxRelease_v2, 0);
  CALL(cuDevicePrimaryCtxRelease_v2, 99);
  CALL(cuDevicePrimaryCtxGetState, 0, &flags, &active);
  VALUE("active", active);
}

BODY(device_primary_reset) {
  Primary primary;
  CUdeviceptr p = allocate(256);
  CUstream stream = new_stream();
  int active = 0;
  unsigned flags = 0;
  CUcontext current = nullptr;
  CALL(cuDevicePrimaryCtxReset_v2, 0);
  CALL(cuDevicePrimaryCtxGetState, 0, &flags, &active);
  VALUE("active", active);
  CALL(cuCtxGetCurrent, &current);
  VALUE("still current", current == primary.context);
  CALL(cuMemFree_v2, p);
  CALL(cuStreamSynchronize, stream);
  CALL(cuMemAlloc_v2, &p, 256);
  CALL(cuDevicePrimaryCtxRetain, &current, 0);
  VALUE("the same handle", current == primary.context);
  CALL(cuCtxSetCurrent, current);
  CALL(cuMemAlloc_v2, &p, 256);
  CALL(cuMemsetD8_v2, p, 5, 256);
  CALL(cuCtxSynchronize);
  // "Resetting the primary context does not release it".
  CALL(cuDevicePrimaryCtxRelease_v2, 0);
  CALL(cuDevicePrimaryCtxGetState, 0, &flags, &active);
  VALUE("active", active);
  CALL(cuMemsetD8_v2, p, 5, 256);
  CALL(cuDevicePrimaryCtxRelease_v2, 0);
  CALL(cuDevicePrimaryCtxGetState, 0, &flags, &active);
  VALUE("active", active);
  CALL(cuDevicePrimaryCtxRelease_v2, 0);
}

BODY(device_primary_reset_released) {
  Primary primary;
  CUcontext again = nullptr;
  CUdeviceptr p = 0;
  int active = 0;
  unsigned flags = 0;
  need(CU(cuDevicePrimaryCtxRetain)(&again, 0), "cuDevicePrimaryCtxRetain");
  CALL(cuDevicePrimaryCtxReset_v2, 0);
  // "It is safe for other modules to call cuDevicePrimaryCtxRelease() even after resetting".
  EXPECT(CUDA_SUCCESS, "cuda.h, cuDevicePrimaryCtxReset", cuDevicePrimaryCtxRelease_v2, 0);
  EXPECT(CUDA_SUCCESS, "cuda.h, cuDevicePrimaryCtxReset", cuDevicePrimaryCtxRelease_v2, 0);
  CALL(cuDevicePrimaryCtxRelease_v2, 0);
  CALL(cuDevicePrimaryCtxReset_v2, 0);
  CALL(cuDevicePrimaryCtxRetain, &again, 0);
  CALL(cuDevicePrimaryCtxGetState, 0, &flags, &active);
  VALUE("active", active);
  CALL(cuMemAlloc_v2, &p, 256);
  CALL(cuDevicePrimaryCtxRelease_v2, 0);
  CALL(cuDevicePrimaryCtxRelease_v2, 0);
}
