// WipedMemory: a driver's word that it overwrites device memory when it is freed, if it is asked
// to.
//
//   const void* table = nullptr;
//   if (driver.cuGetExportTable(&table, &kWipedMemoryId) == CUDA_SUCCESS) …->wipe_freed(true);
//
// A table that Farcall's software GPU exports and no other driver knows. It reaches what nobody
// outside of a driver can: variables of modules, arrays, the heap of kernels. Where a driver has
// it, whoever calls cuMemFree need not overwrite the memory first. Threads: any.
#pragma once
#include <cstddef>

#include "transport/cuda/cuda_abi.h"

namespace farcall::cuda {

struct WipedMemory {
  std::size_t table_bytes;  // sizeof(WipedMemory) of the driver's build
  // From now on; off at the start, since a program alone on its machine frees nothing that is not
  // its own.
  void (*wipe_freed)(bool on);
};

inline constexpr CUuuid kWipedMemoryId = {{0x66, 0x61, 0x72, 0x63, 0x61, 0x6c, 0x6c, 0x02, 0x1e,
                                           0x54, 0x0b, 0x62, 0x7d, 0x33, 0x46, 0x19}};

}  // namespace farcall::cuda
