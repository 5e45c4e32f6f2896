// DirectMemory: a driver's word that the CPU may read and write device memory where it lies.
//
//   const void* table = nullptr;
//   if (driver.cuGetExportTable(&table, &kDirectMemoryId) == CUDA_SUCCESS) …
//   void* here = direct.hold(address, bytes);  …  direct.let_go(address);
//
// A table that Farcall's software GPU exports and no other driver knows. With it a payload is
// sealed from, and opened into, the memory the program means, without a copy in between. The order
// of streams is the caller's business: it waits for the stream first.
// Threads: any.
#pragma once
#include <cstddef>

#include "transport/cuda/cuda_abi.h"

namespace farcall::cuda {

struct DirectMemory {
  std::size_t table_bytes;  // sizeof(DirectMemory) of the driver's build
  // Where `bytes` at `address` lie, or null when they are not all within one allocation of plain
  // device memory. Freeing it waits until everybody has let go.
  void* (*hold)(CUdeviceptr address, std::size_t bytes);
  void (*let_go)(CUdeviceptr address);
};

inline constexpr CUuuid kDirectMemoryId = {{0x66, 0x61, 0x72, 0x63, 0x61, 0x6c, 0x6c, 0x01, 0x5d,
                                            0x1b, 0x33, 0x70, 0x0c, 0x4e, 0x21, 0x6a}};

}  // namespace farcall::cuda
