// What NVML says of two devices together, and of links between them: what a program may count on
// through Farcall, which is that a device reaches itself.
#include "client_shim/nvml/library.h"

using namespace farcall::nvml;

namespace {

// Runs body(first, second) on two indexes.
template <class Body>
nvmlReturn_t of_pair(nvmlDevice_t first, nvmlDevice_t second, const Body& body) {
  return of_device(first, [&](const LookDevice&, unsigned a) {
    return of_device(second, [&](const LookDevice&, unsigned b) { return body(a, b); });
  });
}

}  // namespace

// NCCL does not start without an answer to this. "No" makes it go through the host, which works;
// whether the server's devices reach each other is cuDeviceCanAccessPeer's to say.
NVML_EXPORT nvmlReturn_t nvmlDeviceGetP2PStatus(nvmlDevice_t first, nvmlDevice_t second,
                                                int capability, nvmlGpuP2PStatus_t* status) {
  return of_pair(first, second, [&](unsigned a, unsigned b) {
    if (status == nullptr || capability < 0 || capability >= kP2PCapsIndexes) {
      return NVML_ERROR_INVALID_ARGUMENT;
    }
    *status = a == b ? NVML_P2P_STATUS_OK : NVML_P2P_STATUS_NOT_SUPPORTED;
    return NVML_SUCCESS;
  });
}

NVML_EXPORT nvmlReturn_t nvmlDeviceOnSameBoard(nvmlDevice_t first, nvmlDevice_t second,
                                               int* is_same) {
  return of_pair(first, second, [&](unsigned a, unsigned b) {
    if (is_same == nullptr) return NVML_ERROR_INVALID_ARGUMENT;
    *is_same = a == b ? 1 : 0;
    return NVML_SUCCESS;
  });
}

// Each value has a verdict of its own: a caller that asks for many looks there.
NVML_EXPORT nvmlReturn_t nvmlDeviceGetFieldValues(nvmlDevice_t handle, int count,
                                                  nvmlFieldValue_t* values) {
  return of_device(handle, [&](const LookDevice&, unsigned) {
    if (count < 0 || (count > 0 && values == nullptr)) return NVML_ERROR_INVALID_ARGUMENT;
    for (int i = 0; i < count; ++i) values[i].nvmlReturn = NVML_ERROR_NOT_SUPPORTED;
    return NVML_SUCCESS;
  });
}
