// cuGetExportTable: the tables of functions that NVIDIA's runtime takes from the driver.
//
//   static const PrivateHost host = {.primary_context = …, …};      // lives for ever
//   CUresult cuGetExportTable(const void** table, const CUuuid* id) {
//     return private_table(host, table, id);
//   }
//
// They are undocumented; libcudart refuses a driver without them. What is here is the least it
// needs, written from observed behaviour for interoperability (see integrity.h for the self-test).
// Programs of the driver API need none of it.
// Owner: static tables; `host` is set by the first call and must live as long as the process.
// Threads: any.
#pragma once
#include <cstddef>
#include <cstdint>

#include "transport/cuda/cuda_abi.h"

namespace farcall::cuda {

// What the tables need from the driver they belong to. None may be null.
struct PrivateHost {
  // The device's primary context, without retaining it.
  CUresult (*primary_context)(CUcontext* context, CUdevice device);
  CUresult (*load_module)(CUmodule* module, const void* image);
  // The functions of a module, which a library wants by handle and not by name.
  CUresult (*function_count)(unsigned* count, CUmodule module);
  CUresult (*functions)(CUfunction* functions, unsigned count, CUmodule module);
  CUresult (*current_context)(CUcontext* context);  // null context when there is none
  CUresult (*context_id)(CUcontext context, unsigned long long* id);
  CUresult (*context_create)(CUcontext* context, unsigned flags, CUdevice device);
  // The next three must agree with cuDriverGetVersion, cuDeviceGetCount, cuDeviceGetUuid_v2 and
  // cuDeviceGetAttribute: the runtime compares.
  int (*driver_version)();
  int (*device_count)();
  void (*device_facts)(int device, CUuuid* uuid, int pci[3]);  // domain, bus, device
};

// Errors: CUDA_ERROR_INVALID_VALUE for null, CUDA_ERROR_NOT_FOUND for an id that is not served
// (logged once per id at debug level).
CUresult private_table(const PrivateHost& host, const void** table, const CUuuid* id);

}  // namespace farcall::cuda
