// DirectHold: device memory that the CPU reaches where it lies, for as long as the object lives.
//
//   DirectHold memory(driver, address, bytes);
//   if (memory.is_held()) …memory.bytes()…
//
// Only a driver that says so itself (transport/cuda/direct_memory.h) has such memory: the software
// GPU. While it is held it is not freed, so a client cannot make us touch what is no longer its
// own. The order of streams is the caller's business. Off (`in-place`): never held.
// Owner: one call.  Threads: one.
#pragma once
#include <span>

#include "transport/api/driver.h"
#include "transport/base/switches.h"
#include "transport/cuda/direct_memory.h"

namespace farcall::server {

class DirectHold {
 public:
  // bytes: 0 holds nothing; any range, also one that is nobody's.
  DirectHold(const api::Driver& driver, CUdeviceptr address, std::size_t bytes)
      : address_(address) {
    const void* table = nullptr;
    if (bytes == 0 || !is_on(Switch::kInPlace) || driver.cuGetExportTable == nullptr ||
        driver.cuGetExportTable(&table, &cuda::kDirectMemoryId) != CUDA_SUCCESS) {
      return;
    }
    auto* direct = static_cast<const cuda::DirectMemory*>(table);
    if (direct == nullptr || direct->table_bytes < sizeof(cuda::DirectMemory)) return;
    void* here = direct->hold(address, bytes);
    if (here == nullptr) return;
    direct_ = direct;
    bytes_ = {static_cast<std::byte*>(here), bytes};
  }
  ~DirectHold() {
    if (direct_ != nullptr) direct_->let_go(address_);
  }
  DirectHold(const DirectHold&) = delete;
  DirectHold& operator=(const DirectHold&) = delete;

  bool is_held() const { return direct_ != nullptr; }
  std::span<std::byte> bytes() const { return bytes_; }

 private:
  const cuda::DirectMemory* direct_ = nullptr;
  CUdeviceptr address_;
  std::span<std::byte> bytes_;
};

}  // namespace farcall::server
