// cuGetProcAddress: which of a function's versions it answers with, and its wrong calls.
#include <string>

#include "tests/parity/setup.h"

using namespace parity;

namespace {

// The exported name of an entry point, among the forms a name can have.
std::string exported_as(const std::string& name, void* entry) {
  if (entry == nullptr) return "null";
  for (const char* version : {"", "_v2", "_v3", "_v4"}) {
    for (const char* twin : {"", "_ptsz", "_ptds"}) {
      const std::string form = name + version + twin;
      if (find_function(form.c_str()) == entry) return form;
    }
  }
  return "not exported";
}

std::string status(CUdriverProcAddressQueryResult found) {
  switch (found) {
    case CU_GET_PROC_ADDRESS_SUCCESS: return "SUCCESS";
    case CU_GET_PROC_ADDRESS_SYMBOL_NOT_FOUND: return "SYMBOL_NOT_FOUND";
    case CU_GET_PROC_ADDRESS_VERSION_NOT_SUFFICIENT: return "VERSION_NOT_SUFFICIENT";
    default: return "untouched";
  }
}

void ask(const std::string& name, int version, cuuint64_t flags) {
  void* entry = nullptr;
  auto found = number<CUdriverProcAddressQueryResult>(77);
  const CUresult code = CU(cuGetProcAddress_v2)(name.c_str(), &entry, version, flags, &found);
  VALUE((name + " of " + std::to_string(version) + ", flags " + std::to_string(flags)).c_str(),
        name_of(code) + ", " + status(found) + ", " + exported_as(name, entry));
}

}  // namespace

BODY(proc_address_versions) {
  Device device;
  for (const char* name : {"cuInit",
                           "cuMemAlloc",
                           "cuMemFree",
                           "cuCtxCreate",
                           "cuCtxDestroy",
                           "cuCtxPushCurrent",
                           "cuStreamDestroy",
                           "cuEventDestroy",
                           "cuEventElapsedTime",
                           "cuGetProcAddress",
                           "cuStreamGetCaptureInfo",
                           "cuStreamBeginCapture",
                           "cuGraphInstantiate",
                           "cuGraphExecUpdate",
                           "cuGraphAddKernelNode",
                           "cuGraphAddNode",
                           "cuDeviceGetUuid",
                           "cuDeviceTotalMem",
                           "cuModuleGetGlobal",
                           "cuLinkCreate",
                           "cuMemHostRegister",
                           "cuDevicePrimaryCtxRelease",
                           "cuMemAdvise",
                           "cuMemPrefetchAsync",
                           "cuStreamWaitValue32",
                           "cuLibraryLoadData",
                           "cuKernelGetName",
                           "cuFuncGetName",
                           "cuGreenCtxCreate",
                           "cuMemAllocAsync",
                           "cuLaunchKernelEx",
                           "cuLaunchCooperativeKernelMultiDevice",
                           "cuMemcpyBatchAsync"}) {
    for (int version : {4000, 10000, 11080, 12000, 12040, 12080, 13000}) ask(name, version, 0);
  }
}

BODY(proc_address_streams) {
  Device device;
  for (const char* name : {"cuMemcpyHtoD", "cuMemcpy", "cuMemcpyAsync", "cuMemcpyHtoDAsync",
                           "cuMemsetD8", "cuMemsetD8Async", "cuLaunchKernel", "cuStreamSynchronize",
                           "cuEventRecord", "cuMemAlloc", "cuMemAllocAsync", "cuGraphLaunch"}) {
    for (cuuint64_t flags : {CU_GET_PROC_ADDRESS_DEFAULT, CU_GET_PROC_ADDRESS_LEGACY_STREAM,
                             CU_GET_PROC_ADDRESS_PER_THREAD_DEFAULT_STREAM}) {
      ask(name, 12000, flags);
    }
  }
}

BODY(proc_address_wrong) {
  Device device;
  void* entry = &entry;
  auto found = number<CUdriverProcAddressQueryResult>(77);
  const char* const says = "cuda.h, cuGetProcAddress";
  CALL(cuGetProcAddress_v2, "cuNoSuchFunction", &entry, 12000, 0, &found);
  VALUE("status", status(found));
  VALUE("entry null", entry == nullptr);
  CALL(cuGetProcAddress_v2, "cuNoSuchFunction", &entry, 12000, 0, nullptr);
  CALL(cuGetProcAddress_v2, "", &entry, 12000, 0, &found);
  VALUE("status", status(found));
  EXPECT(CUDA_ERROR_INVALID_VALUE, says, cuGetProcAddress_v2, nullptr, &entry, 12000, 0, &found);
  EXPECT(CUDA_ERROR_INVALID_VALUE, says, cuGetProcAddress_v2, "cuInit", nullptr, 12000, 0, &found);
  CALL(cuGetProcAddress_v2, "cuInit", &entry, 12000, 0, nullptr);
  CALL(cuGetProcAddress_v2, "cuInit", &entry, 0, 0, &found);
  CALL(cuGetProcAddress_v2, "cuInit", &entry, -1, 0, &found);
  CALL(cuGetProcAddress_v2, "cuInit", &entry, 99000, 0, &found);
  CALL(cuGetProcAddress_v2, "cuInit", &entry, 12000, 3, &found);
  CALL(cuGetProcAddress_v2, "cuInit", &entry, 12000, 4, &found);
  CALL(cuGetProcAddress_v2, "cuMemAlloc_v2", &entry, 12000, 0, &found);
  VALUE("status", status(found));
  CALL(cuGetProcAddress_v2, "CUINIT", &entry, 12000, 0, &found);
  CALL(cuGetProcAddress, "cuInit", &entry, 11080, 0);
  CALL(cuGetProcAddress, "cuNoSuchFunction", &entry, 11080, 0);
  VALUE("entry null", entry == nullptr);
  CALL(cuGetProcAddress, "cuInit", nullptr, 11080, 0);
}

BODY(export_tables) {
  Device device;
  const void* table = &table;
  const CUuuid unknown{};
  CALL(cuGetExportTable, &table, &unknown);
  VALUE("table null", table == nullptr);
  CALL(cuGetExportTable, nullptr, &unknown);
  CALL(cuGetExportTable, &table, nullptr);
}
