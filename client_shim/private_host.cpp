// What cudart takes from a driver beside the documented API, and how functions are looked up.
#include "transport/cuda/private_tables.h"

#include <cstring>

#include "client_shim/entry.h"
#include "client_shim/look.h"
#include "client_shim/symbols.h"
#include "transport/cuda/entry_points.h"

using farcall::shim::answer;
using farcall::shim::Client;
using farcall::shim::Device;
using farcall::shim::handle_of;

namespace {

CUresult primary_context(CUcontext* context, CUdevice ordinal) {
  return answer("(primary context)", [&](Client& client) {
    const Device* device = client.snapshot().device(ordinal);
    if (device == nullptr) return CUDA_ERROR_INVALID_DEVICE;
    *context = handle_of<CUcontext>(device->primary_context);
    return CUDA_SUCCESS;
  });
}

CUresult context_create(CUcontext* context, unsigned flags, CUdevice device) {
  return cuCtxCreate_v2(context, flags, device);
}

int device_count() {
  Client* client = farcall::shim::current_client();
  return client == nullptr ? 0 : static_cast<int>(client->snapshot().devices.size());
}

void device_facts(int ordinal, CUuuid* uuid, int pci[3]) {
  Client* client = farcall::shim::current_client();
  const Device* device = client == nullptr ? nullptr : client->snapshot().device(ordinal);
  if (device == nullptr) return;
  *uuid = device->uuid;
  pci[0] = device->attribute_or(CU_DEVICE_ATTRIBUTE_PCI_DOMAIN_ID, 0);
  pci[1] = device->attribute_or(CU_DEVICE_ATTRIBUTE_PCI_BUS_ID, 0);
  pci[2] = device->attribute_or(CU_DEVICE_ATTRIBUTE_PCI_DEVICE_ID, 0);
}

const farcall::cuda::PrivateHost kHost = {
    .primary_context = primary_context,
    .load_module = cuModuleLoadData,
    .function_count = cuModuleGetFunctionCount,
    .functions = cuModuleEnumerateFunctions,
    .current_context = cuCtxGetCurrent,
    .context_id = cuCtxGetId,
    .context_create = context_create,
    .driver_version = farcall::shim::driver_version,
    .device_count = device_count,
    .device_facts = device_facts,
};

}  // namespace

FARCALL_EXPORT cuInit(unsigned int flags) {
  if (flags != 0) return CUDA_ERROR_INVALID_VALUE;
  try {
    return farcall::shim::initialize_client();
  } catch (const std::exception&) {
    return CUDA_ERROR_OUT_OF_MEMORY;
  }
}

FARCALL_EXPORT cuDriverGetVersion(int* version) {
  if (version == nullptr) return CUDA_ERROR_INVALID_VALUE;
  try {
    *version = farcall::shim::driver_version();
    return CUDA_SUCCESS;
  } catch (const std::exception&) {
    return CUDA_ERROR_OUT_OF_MEMORY;
  }
}

FARCALL_EXPORT cuGetExportTable(const void** table, const CUuuid* id) {
  if (table != nullptr && id != nullptr &&
      std::memcmp(id, &farcall::shim::kLookTableId, sizeof *id) == 0) {
    *table = &farcall::shim::look_table();
    return CUDA_SUCCESS;
  }
  return farcall::cuda::private_table(kHost, table, id);
}

FARCALL_EXPORT cuGetProcAddress_v2(const char* symbol, void** function, int cudaVersion,
                                   cuuint64_t flags, CUdriverProcAddressQueryResult* status) {
  if (symbol == nullptr || function == nullptr) return CUDA_ERROR_INVALID_VALUE;
  auto lookup = farcall::cuda::Lookup::kNotFound;
  const char* name = farcall::cuda::choose_symbol(symbol, cudaVersion, flags, &lookup);
  *function = name == nullptr ? nullptr : farcall::shim::find_symbol(name);
  bool found = *function != nullptr;
  if (status != nullptr) {
    *status = found ? CU_GET_PROC_ADDRESS_SUCCESS
              : lookup == farcall::cuda::Lookup::kVersionTooOld
                  ? CU_GET_PROC_ADDRESS_VERSION_NOT_SUFFICIENT
                  : CU_GET_PROC_ADDRESS_SYMBOL_NOT_FOUND;
  }
  return found ? CUDA_SUCCESS : CUDA_ERROR_NOT_FOUND;
}

FARCALL_EXPORT cuGetProcAddress(const char* symbol, void** function, int cudaVersion,
                                cuuint64_t flags) {
  return cuGetProcAddress_v2(symbol, function, cudaVersion, flags, nullptr);
}
