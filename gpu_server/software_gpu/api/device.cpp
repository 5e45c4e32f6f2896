// Initialisation and devices.
// Source: CUDA Driver API 13.0, sections Initialization, Version Management, Device Management.
#include <cstdio>
#include <cstring>

#include "gpu_server/software_gpu/driver.h"
#include "gpu_server/software_gpu/seen_devices.h"

namespace farcall::softgpu {
namespace {

CUresult find_device(CUdevice ordinal, Device** device) {
  if (CUresult failed = require_driver()) return failed;
  *device = driver().device(ordinal);
  return *device == nullptr ? CUDA_ERROR_INVALID_DEVICE : CUDA_SUCCESS;
}

}  // namespace
}  // namespace farcall::softgpu

using namespace farcall::softgpu;

extern "C" {

CUresult cuInit(unsigned flags) {
  if (flags != 0) return CUDA_ERROR_INVALID_VALUE;
  return driver().start();
}

CUresult cuDriverGetVersion(int* version) {
  if (version == nullptr) return CUDA_ERROR_INVALID_VALUE;
  *version = CUDA_VERSION;
  return CUDA_SUCCESS;
}

CUresult cuDeviceGet(CUdevice* device, int ordinal) {
  if (device == nullptr) return CUDA_ERROR_INVALID_VALUE;
  Device* found = nullptr;
  if (CUresult failed = find_device(ordinal, &found)) return failed;
  *device = ordinal;
  return CUDA_SUCCESS;
}

CUresult cuDeviceGetCount(int* count) {
  if (CUresult failed = require_driver()) return failed;
  if (count == nullptr) return CUDA_ERROR_INVALID_VALUE;
  *count = driver().device_count();
  return CUDA_SUCCESS;
}

CUresult cuDeviceGetName(char* name, int len, CUdevice dev) {
  Device* device = nullptr;
  if (CUresult failed = find_device(dev, &device)) return failed;
  if (name == nullptr || len <= 0) return CUDA_ERROR_INVALID_VALUE;
  std::snprintf(name, static_cast<std::size_t>(len), "%s", device->name());
  return CUDA_SUCCESS;
}

CUresult cuDeviceGetUuid_v2(CUuuid* uuid, CUdevice dev) {
  Device* device = nullptr;
  if (CUresult failed = find_device(dev, &device)) return failed;
  if (uuid == nullptr) return CUDA_ERROR_INVALID_VALUE;
  *uuid = device->uuid();
  return CUDA_SUCCESS;
}

CUresult cuDeviceGetUuid(CUuuid* uuid, CUdevice dev) { return cuDeviceGetUuid_v2(uuid, dev); }

CUresult cuDeviceTotalMem_v2(size_t* bytes, CUdevice dev) {
  Device* device = nullptr;
  if (CUresult failed = find_device(dev, &device)) return failed;
  if (bytes == nullptr) return CUDA_ERROR_INVALID_VALUE;
  *bytes = device->memory().limit();
  return CUDA_SUCCESS;
}

CUresult cuDeviceGetAttribute(int* value, CUdevice_attribute attribute, CUdevice dev) {
  Device* device = nullptr;
  if (CUresult failed = find_device(dev, &device)) return failed;
  if (value == nullptr) return CUDA_ERROR_INVALID_VALUE;
  return device->attribute(attribute, value) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

CUresult cuDeviceComputeCapability(int* major, int* minor, CUdevice dev) {
  Device* device = nullptr;
  if (CUresult failed = find_device(dev, &device)) return failed;
  if (major == nullptr || minor == nullptr) return CUDA_ERROR_INVALID_VALUE;
  *major = device->config().cc_major;
  *minor = device->config().cc_minor;
  return CUDA_SUCCESS;
}

CUresult cuDeviceGetProperties(CUdevprop* prop, CUdevice dev) {
  Device* device = nullptr;
  if (CUresult failed = find_device(dev, &device)) return failed;
  if (prop == nullptr) return CUDA_ERROR_INVALID_VALUE;
  *prop = {};
  prop->maxThreadsPerBlock = kBlockThreadsMax;
  prop->maxThreadsDim[0] = prop->maxThreadsDim[1] = 1024;
  prop->maxThreadsDim[2] = 64;
  prop->maxGridSize[0] = 2147483647;
  prop->maxGridSize[1] = prop->maxGridSize[2] = 65535;
  prop->sharedMemPerBlock = kBlockSharedBytes;
  prop->totalConstantMemory = kConstBytes;
  prop->SIMDWidth = kWarpThreads;
  prop->memPitch = 2147483647;
  prop->regsPerBlock = kSmRegisters;
  prop->clockRate = 1'000'000;
  prop->textureAlign = 512;
  return CUDA_SUCCESS;
}

CUresult cuDeviceGetPCIBusId(char* pciBusId, int len, CUdevice dev) {
  Device* device = nullptr;
  if (CUresult failed = find_device(dev, &device)) return failed;
  constexpr int kTextBytes = 13;  // "0000:01:00.0" and its NUL
  if (pciBusId == nullptr || len < kTextBytes) return CUDA_ERROR_INVALID_VALUE;
  std::snprintf(pciBusId, static_cast<std::size_t>(len), "0000:%02x:00.0",
                static_cast<unsigned>(pci_bus_of(device->ordinal())));
  return CUDA_SUCCESS;
}

CUresult cuDeviceGetByPCIBusId(CUdevice* dev, const char* pciBusId) {
  if (CUresult failed = require_driver()) return failed;
  if (dev == nullptr || pciBusId == nullptr) return CUDA_ERROR_INVALID_VALUE;
  unsigned domain = 0, bus = 0, slot = 0, function = 0;
  const bool whole = std::sscanf(pciBusId, "%x:%x:%x.%x", &domain, &bus, &slot, &function) >= 3;
  if (!whole) {
    domain = 0;
    if (std::sscanf(pciBusId, "%x:%x.%x", &bus, &slot, &function) < 2) {
      return CUDA_ERROR_INVALID_VALUE;
    }
  }
  for (int i = 0; i < driver().device_count(); ++i) {
    if (domain == 0 && slot == 0 && static_cast<int>(bus) == pci_bus_of(i)) {
      *dev = i;
      return CUDA_SUCCESS;
    }
  }
  return CUDA_ERROR_INVALID_DEVICE;
}

CUresult cuDeviceGetTexture1DLinearMaxWidth(size_t* maxWidth, CUarray_format, unsigned,
                                            CUdevice dev) {
  Device* device = nullptr;
  if (CUresult failed = find_device(dev, &device)) return failed;
  if (maxWidth == nullptr) return CUDA_ERROR_INVALID_VALUE;
  *maxWidth = 268435456;
  return CUDA_SUCCESS;
}

CUresult cuDeviceGetExecAffinitySupport(int* pi, CUexecAffinityType, CUdevice dev) {
  Device* device = nullptr;
  if (CUresult failed = find_device(dev, &device)) return failed;
  if (pi == nullptr) return CUDA_ERROR_INVALID_VALUE;
  *pi = 0;
  return CUDA_SUCCESS;
}

// --- peers: every device's memory is the process's, so all reach each other ----------------------

CUresult cuDeviceCanAccessPeer(int* canAccessPeer, CUdevice dev, CUdevice peerDev) {
  Device* device = nullptr;
  if (CUresult failed = find_device(dev, &device)) return failed;
  if (CUresult failed = find_device(peerDev, &device)) return failed;
  if (canAccessPeer == nullptr) return CUDA_ERROR_INVALID_VALUE;
  *canAccessPeer = dev != peerDev ? 1 : 0;
  return CUDA_SUCCESS;
}

CUresult cuDeviceGetP2PAttribute(int* value, CUdevice_P2PAttribute attrib, CUdevice srcDevice,
                                 CUdevice dstDevice) {
  Device* device = nullptr;
  if (CUresult failed = find_device(srcDevice, &device)) return failed;
  if (CUresult failed = find_device(dstDevice, &device)) return failed;
  if (srcDevice == dstDevice) return CUDA_ERROR_INVALID_DEVICE;
  if (value == nullptr) return CUDA_ERROR_INVALID_VALUE;
  switch (attrib) {
    case CU_DEVICE_P2P_ATTRIBUTE_ACCESS_SUPPORTED:
    case CU_DEVICE_P2P_ATTRIBUTE_NATIVE_ATOMIC_SUPPORTED: *value = 1; return CUDA_SUCCESS;
    default: *value = 0; return CUDA_SUCCESS;
  }
}

CUresult cuCtxEnablePeerAccess(CUcontext peerContext, unsigned Flags) {
  Context* context = nullptr;
  if (CUresult failed = require_context(&context)) return failed;
  const auto peer = driver().contexts.find(peerContext);
  if (!peer || peer.get() == context) return CUDA_ERROR_INVALID_CONTEXT;
  if (Flags != 0) return CUDA_ERROR_INVALID_VALUE;
  if (&peer->device() == &context->device()) return CUDA_ERROR_PEER_ACCESS_UNSUPPORTED;
  return context->enable_peer(*peer);
}

CUresult cuCtxDisablePeerAccess(CUcontext peerContext) {
  Context* context = nullptr;
  if (CUresult failed = require_context(&context)) return failed;
  const auto peer = driver().contexts.find(peerContext);
  return peer ? context->disable_peer(*peer) : CUDA_ERROR_INVALID_CONTEXT;
}

// --- primary contexts ----------------------------------------------------------------------------

CUresult cuDevicePrimaryCtxRetain(CUcontext* pctx, CUdevice dev) {
  Device* device = nullptr;
  if (CUresult failed = find_device(dev, &device)) return failed;
  if (pctx == nullptr) return CUDA_ERROR_INVALID_VALUE;
  device->retain_primary();
  *pctx = device->primary().handle();
  return CUDA_SUCCESS;
}

CUresult cuDevicePrimaryCtxRelease_v2(CUdevice dev) {
  Device* device = nullptr;
  if (CUresult failed = find_device(dev, &device)) return failed;
  return device->release_primary() ? CUDA_SUCCESS : CUDA_ERROR_INVALID_CONTEXT;
}

CUresult cuDevicePrimaryCtxReset_v2(CUdevice dev) {
  Device* device = nullptr;
  if (CUresult failed = find_device(dev, &device)) return failed;
  device->reset_primary();
  return CUDA_SUCCESS;
}

CUresult cuDevicePrimaryCtxSetFlags_v2(CUdevice dev, unsigned flags) {
  Device* device = nullptr;
  if (CUresult failed = find_device(dev, &device)) return failed;
  if ((flags & ~static_cast<unsigned>(CU_CTX_FLAGS_MASK)) != 0) return CUDA_ERROR_INVALID_VALUE;
  device->primary().flags = flags;
  return CUDA_SUCCESS;
}

CUresult cuDevicePrimaryCtxGetState(CUdevice dev, unsigned* flags, int* active) {
  Device* device = nullptr;
  if (CUresult failed = find_device(dev, &device)) return failed;
  if (flags == nullptr || active == nullptr) return CUDA_ERROR_INVALID_VALUE;
  *flags = device->primary().flags;
  *active = device->primary().active() ? 1 : 0;
  return CUDA_SUCCESS;
}

CUresult cuDevicePrimaryCtxRelease(CUdevice dev) { return cuDevicePrimaryCtxRelease_v2(dev); }
CUresult cuDevicePrimaryCtxReset(CUdevice dev) { return cuDevicePrimaryCtxReset_v2(dev); }
CUresult cuDevicePrimaryCtxSetFlags(CUdevice dev, unsigned flags) {
  return cuDevicePrimaryCtxSetFlags_v2(dev, flags);
}
}
