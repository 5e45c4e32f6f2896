// How a program finds the driver's functions, tables and error names; the profiler's switches.
// Source: CUDA Driver API 13.0, Driver Entry Point Access, Error Handling, Profiler Control.
#include <cstring>

#include "gpu_server/software_gpu/checks.h"
#include "gpu_server/software_gpu/driver.h"
#include "gpu_server/software_gpu/exec/wiped_pages.h"
#include "gpu_server/software_gpu/seen_devices.h"
#include "gpu_server/software_gpu/symbol_table.h"
#include "gpu_server/software_gpu/thread_state.h"
#include "transport/cuda/direct_memory.h"
#include "transport/cuda/entry_points.h"
#include "transport/cuda/error_text.h"
#include "transport/cuda/private_tables.h"
#include "transport/cuda/wiped_memory.h"

// In cuda_profiler_api.h rather than cuda.h.
extern "C" CUresult cuProfilerInitialize(const char*, const char*, int);
extern "C" CUresult cuProfilerStart(void);
extern "C" CUresult cuProfilerStop(void);

namespace farcall::softgpu {
namespace {

const cuda::PrivateHost kPrivateHost = {
    .primary_context =
        [](CUcontext* context, CUdevice dev) {
          if (CUresult failed = require_driver()) return failed;
          Device* device = driver().device(dev);
          if (device == nullptr) return CUDA_ERROR_INVALID_DEVICE;
          *context = device->primary().handle();
          return CUDA_SUCCESS;
        },
    .load_module = [](CUmodule* module,
                      const void* image) { return cuModuleLoadData(module, image); },
    .function_count = [](unsigned* count,
                         CUmodule module) { return cuModuleGetFunctionCount(count, module); },
    .functions =
        [](CUfunction* functions, unsigned count, CUmodule module) {
          return cuModuleEnumerateFunctions(functions, count, module);
        },
    .current_context = [](CUcontext* context) { return cuCtxGetCurrent(context); },
    .context_id = [](CUcontext context, unsigned long long* id) { return cuCtxGetId(context, id); },
    .context_create = [](CUcontext* context, unsigned flags,
                         CUdevice dev) { return cuCtxCreate_v2(context, flags, dev); },
    .driver_version = [] { return CUDA_VERSION; },
    .device_count = [] { return driver().device_count(); },
    .device_facts =
        [](int ordinal, CUuuid* uuid, int pci[3]) {
          const Device& device = *driver().device(ordinal);
          *uuid = device.uuid();
          pci[0] = 0;
          pci[1] = pci_bus_of(device.ordinal());
          pci[2] = 0;
        },
};

// Device memory is memory of this process.
const cuda::DirectMemory kDirectMemory = {
    .table_bytes = sizeof(cuda::DirectMemory),
    .hold = [](CUdeviceptr address, std::size_t bytes) -> void* {
      return driver().addresses.hold(address, bytes) ? reinterpret_cast<void*>(address) : nullptr;
    },
    .let_go = [](CUdeviceptr address) { driver().addresses.let_go(address); },
};

const cuda::WipedMemory kWipedMemory = {
    .table_bytes = sizeof(cuda::WipedMemory),
    .wipe_freed = [](bool on) { set_wipes_freed(on); },
};

bool is_asked(const CUuuid* id, const CUuuid& table) {
  return id != nullptr && std::memcmp(id, &table, sizeof table) == 0;
}

}  // namespace
}  // namespace farcall::softgpu

using namespace farcall::softgpu;

extern "C" {

CUresult cuGetExportTable(const void** ppExportTable, const CUuuid* pExportTableId) {
  // Where checks run they must see every write.
  if (ppExportTable != nullptr && active_checker() == nullptr &&
      is_asked(pExportTableId, farcall::cuda::kDirectMemoryId)) {
    *ppExportTable = &kDirectMemory;
    return CUDA_SUCCESS;
  }
  if (ppExportTable != nullptr && is_asked(pExportTableId, farcall::cuda::kWipedMemoryId)) {
    *ppExportTable = &kWipedMemory;
    return CUDA_SUCCESS;
  }
  return farcall::cuda::private_table(kPrivateHost, ppExportTable, pExportTableId);
}

CUresult cuGetProcAddress_v2(const char* symbol, void** pfn, int cudaVersion, cuuint64_t flags,
                             CUdriverProcAddressQueryResult* symbolStatus) {
  using farcall::cuda::Lookup;
  if (symbol == nullptr || pfn == nullptr) return CUDA_ERROR_INVALID_VALUE;
  *pfn = nullptr;
  Lookup lookup = Lookup::kNotFound;
  const char* chosen = farcall::cuda::choose_symbol(symbol, cudaVersion, flags, &lookup);
  if (chosen != nullptr) *pfn = find_symbol(chosen);
  if (*pfn != nullptr) {
    if (symbolStatus != nullptr) *symbolStatus = CU_GET_PROC_ADDRESS_SUCCESS;
    return CUDA_SUCCESS;
  }
  const bool too_old = chosen == nullptr && lookup == Lookup::kVersionTooOld;
  if (symbolStatus != nullptr) {
    *symbolStatus =
        too_old ? CU_GET_PROC_ADDRESS_VERSION_NOT_SUFFICIENT : CU_GET_PROC_ADDRESS_SYMBOL_NOT_FOUND;
  }
  return CUDA_ERROR_NOT_FOUND;
}

CUresult cuGetProcAddress(const char* symbol, void** pfn, int cudaVersion, cuuint64_t flags) {
  return cuGetProcAddress_v2(symbol, pfn, cudaVersion, flags, nullptr);
}

CUresult cuGetErrorName(CUresult error, const char** pStr) {
  if (pStr == nullptr) return CUDA_ERROR_INVALID_VALUE;
  *pStr = farcall::cuda::error_name(error);
  return *pStr == nullptr ? CUDA_ERROR_INVALID_VALUE : CUDA_SUCCESS;
}

CUresult cuGetErrorString(CUresult error, const char** pStr) {
  if (pStr == nullptr) return CUDA_ERROR_INVALID_VALUE;
  *pStr = farcall::cuda::error_text(error);
  return *pStr == nullptr ? CUDA_ERROR_INVALID_VALUE : CUDA_SUCCESS;
}

CUresult cuProfilerInitialize(const char*, const char*, int) { return CUDA_ERROR_NOT_SUPPORTED; }
CUresult cuProfilerStart(void) {
  Context* context = nullptr;
  return require_context(&context);
}
CUresult cuProfilerStop(void) {
  Context* context = nullptr;
  return require_context(&context);
}

CUresult cuFlushGPUDirectRDMAWrites(CUflushGPUDirectRDMAWritesTarget,
                                    CUflushGPUDirectRDMAWritesScope) {
  Context* context = nullptr;
  return require_context(&context);
}

CUresult cuThreadExchangeStreamCaptureMode(CUstreamCaptureMode* mode) {
  if (mode == nullptr || *mode < CU_STREAM_CAPTURE_MODE_GLOBAL ||
      *mode > CU_STREAM_CAPTURE_MODE_RELAXED) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  std::swap(*mode, this_thread().capture_mode);
  return CUDA_SUCCESS;
}
}
