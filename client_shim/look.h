// Look: the devices this process's programs would see, for libraries beside CUDA's (nvml/).
//
//   const void* table = nullptr;
//   if (cuGetExportTable(&table, &kLookTableId) == CUDA_SUCCESS) {
//     Look seen;
//     int result = static_cast<const LookTable*>(table)->look(&seen, sizeof seen);
//   }
//
// A program that only asks which GPUs there are must not become a CUDA program by it: no session
// that stays, no context, no memory on a device. So a process without a session gets a short one,
// for as long as its first answer takes; one that has a session is answered from what it knows.
// The table is reached by id, as CUDA's own private ones are, because this library exports nothing
// but cu* names. Owner: plain values.  Threads: any.
#pragma once
#include <cstddef>
#include <cstdint>

#include "transport/base/limits.h"
#include "transport/cuda/cuda_abi.h"

namespace farcall::shim {

struct LookDevice {
  char name[128];  // the three texts end with NUL
  char pci_bus_id[16];
  std::uint8_t uuid[16];
  std::uint64_t memory_bytes;
  // Attributes, 0 where the server's driver does not know one.
  std::int32_t major, minor;
  std::int32_t pci_domain, pci_bus, pci_device;
  std::int32_t multiprocessors;
  std::int32_t clock_khz, memory_clock_khz;
  std::int32_t memory_bus_bits;
  std::int32_t has_ecc;
  std::int32_t compute_mode;  // CUcomputemode
  std::int32_t is_multi_gpu_board;
};

struct Look {
  std::int32_t driver_version;  // as cuDriverGetVersion tells it
  std::uint32_t device_count;
  char server[128];  // places_of() in settings.h
  LookDevice devices[limits::kDevicesMax];
};

inline constexpr CUuuid kLookTableId = {
    {'f', 'a', 'r', 'c', 'a', 'l', 'l', '.', 'l', 'o', 'o', 'k', '.', 0, 0, 1}};

struct LookTable {
  std::size_t bytes;  // sizeof(LookTable)
  // room: sizeof(Look) as the caller knows it.  Returns a CUresult:
  //   CUDA_ERROR_INVALID_VALUE     the two were not built together
  //   CUDA_ERROR_NO_DEVICE, CUDA_ERROR_SYSTEM_NOT_READY   as open_client()
  int (*look)(Look* out, std::size_t room);
};

const LookTable& look_table();

}  // namespace farcall::shim
