// What is used of NVML's interface, declared here because NVIDIA's nvml.h is not part of a CUDA
// toolkit's base and not of this build. Names, numbers and layouts are NVIDIA's.
//
//   Source: nvml.h 13.3, as public in github.com/NVIDIA/go-nvml (gen/nvml/nvml.h), and the NVML API
//   reference, docs.nvidia.com/deploy/nvml-api.
//
// The layouts are checked below against the sizes that programs were compiled with.
// Owner: plain declarations.  Threads: none.
#pragma once
#include <cstddef>

// Linked by name from other people's programs.
#define NVML_EXPORT extern "C" __attribute__((visibility("default")))

enum nvmlReturn_t : int {
  NVML_SUCCESS = 0,
  NVML_ERROR_UNINITIALIZED = 1,
  NVML_ERROR_INVALID_ARGUMENT = 2,
  NVML_ERROR_NOT_SUPPORTED = 3,
  NVML_ERROR_NOT_FOUND = 6,
  NVML_ERROR_INSUFFICIENT_SIZE = 7,
  NVML_ERROR_DRIVER_NOT_LOADED = 9,
  NVML_ERROR_LIBRARY_NOT_FOUND = 12,
  NVML_ERROR_FUNCTION_NOT_FOUND = 13,
  NVML_ERROR_LIB_RM_VERSION_MISMATCH = 18,
  NVML_ERROR_MEMORY = 20,
  NVML_ERROR_ARGUMENT_VERSION_MISMATCH = 25,
};

using nvmlDevice_t = struct nvmlDevice_st*;

constexpr unsigned NVML_INIT_FLAG_NO_GPUS = 1;

// A struct with a version begins with this: its size, and the version in the high byte.
template <class T>
constexpr unsigned nvml_struct_version(unsigned version) {
  return static_cast<unsigned>(sizeof(T)) | version << 24;
}

struct nvmlPciInfo_t {
  char busIdLegacy[16];  // "0000:3B:00.0"
  unsigned domain, bus, device;
  unsigned pciDeviceId;     // device << 16 | vendor
  unsigned pciSubSystemId;  // likewise
  char busId[32];           // "00000000:3B:00.0"
};
static_assert(sizeof(nvmlPciInfo_t) == 68);

struct nvmlMemory_t {
  unsigned long long total, free, used;
};
struct nvmlMemory_v2_t {
  unsigned version;
  unsigned long long total, reserved, free, used;
};
static_assert(nvml_struct_version<nvmlMemory_v2_t>(2) == 0x02000028);

struct nvmlProcessInfo_v1_t {
  unsigned pid;
  unsigned long long usedGpuMemory;
};
// Also what _v3 functions take.
struct nvmlProcessInfo_v2_t {
  unsigned pid;
  unsigned long long usedGpuMemory;
  unsigned gpuInstanceId;  // kNoInstance without MIG
  unsigned computeInstanceId;
};
static_assert(sizeof(nvmlProcessInfo_v1_t) == 16 && sizeof(nvmlProcessInfo_v2_t) == 24);
constexpr unsigned kNoInstance = 0xffffffff;

struct nvmlFieldValue_t {
  unsigned fieldId;
  unsigned scopeId;
  long long timestamp, latencyUsec;
  int valueType;
  nvmlReturn_t nvmlReturn;
  unsigned long long value;  // a union in the original
};
static_assert(sizeof(nvmlFieldValue_t) == 40);

enum nvmlEnableState_t : int { NVML_FEATURE_DISABLED = 0, NVML_FEATURE_ENABLED = 1 };
enum nvmlClockType_t : int { NVML_CLOCK_GRAPHICS = 0, NVML_CLOCK_SM = 1, NVML_CLOCK_MEM = 2 };
enum nvmlGpuP2PStatus_t : int { NVML_P2P_STATUS_OK = 0, NVML_P2P_STATUS_NOT_SUPPORTED = 5 };
constexpr int kP2PCapsIndexes = 6;  // read, write, NVLink, atomics, PCI, all of them

enum nvmlDeviceArchitecture_t : unsigned {
  NVML_DEVICE_ARCH_KEPLER = 2,
  NVML_DEVICE_ARCH_MAXWELL = 3,
  NVML_DEVICE_ARCH_PASCAL = 4,
  NVML_DEVICE_ARCH_VOLTA = 5,
  NVML_DEVICE_ARCH_TURING = 6,
  NVML_DEVICE_ARCH_AMPERE = 7,
  NVML_DEVICE_ARCH_ADA = 8,
  NVML_DEVICE_ARCH_HOPPER = 9,
  NVML_DEVICE_ARCH_BLACKWELL = 10,
  NVML_DEVICE_ARCH_UNKNOWN = 0xffffffff,
};
