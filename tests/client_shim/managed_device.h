// ManagedDevice: a FakeDevice with managed memory, and a kernel that the test says.
//
//   ManagedDevice device;
//   device.kernel = [&] { device.at(address)[3] = 7; };
//   World world(device);
//
// The device's bytes lie elsewhere than its addresses say, as on a server: at the addresses
// themselves this process has nothing, until the shim puts its own pages there.
// Threads: any; one at a time.
#pragma once
#include <sys/mman.h>

#include <functional>
#include <utility>

#include "tests/client_shim/fake_device.h"

namespace farcall::shim {

class ManagedDevice : public FakeDevice {
 public:
  static constexpr std::size_t kBytes = 8 << 20;
  static constexpr std::size_t kRoomBytes = 256 << 20;

  ManagedDevice() : bytes_(kBytes) {
    one() = this;
    room_ = ::mmap(nullptr, kRoomBytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    base_ = reinterpret_cast<CUdeviceptr>(room_);
  }
  ~ManagedDevice() {
    free_room();
    one() = nullptr;
  }
  // Until the first allocation this process has its addresses taken, lest a thread's stack gets
  // them; what comes afterwards finds place above them.
  void free_room() {
    if (void* room = std::exchange(room_, nullptr)) ::munmap(room, kRoomBytes);
  }
  api::Driver table();

  // The device's own bytes behind an address.
  unsigned char* at(CUdeviceptr address) {
    return reinterpret_cast<unsigned char*>(bytes_.data()) + (address - base_);
  }
  CUdeviceptr base() const { return base_; }
  std::function<void()> kernel;
  std::atomic<int> fail_to_device{0};                     // CUresult of cuMemcpyHtoDAsync_v2
  std::atomic<std::size_t> to_device{0}, from_device{0};  // bytes of such copies

 private:
  static ManagedDevice*& one() {
    static ManagedDevice* the_one = nullptr;
    return the_one;
  }
  bool has(CUdeviceptr address, std::size_t bytes) const {
    return address >= base_ && address - base_ <= kBytes && bytes <= kBytes - (address - base_);
  }
  std::vector<std::byte> bytes_;
  void* room_ = nullptr;
  CUdeviceptr base_ = 0;
  std::size_t taken_ = 0;
};

inline api::Driver ManagedDevice::table() {
  api::Driver driver = FakeDevice::table();
  driver.cuMemAllocManaged = [](CUdeviceptr* address, std::size_t bytes, unsigned) {
    one()->free_room();
    if (bytes > kBytes - one()->taken_) return CUDA_ERROR_OUT_OF_MEMORY;
    *address = one()->base_ + one()->taken_;
    one()->taken_ += (bytes + 4095) / 4096 * 4096;
    return CUDA_SUCCESS;
  };
  driver.cuMemcpyHtoDAsync_v2 = [](CUdeviceptr to, const void* from, std::size_t bytes, CUstream) {
    if (one()->fail_to_device != 0) return static_cast<CUresult>(one()->fail_to_device.load());
    if (!one()->has(to, bytes)) return CUDA_ERROR_INVALID_VALUE;
    std::memcpy(one()->at(to), from, bytes);
    one()->to_device += bytes;
    return CUDA_SUCCESS;
  };
  driver.cuMemcpyDtoHAsync_v2 = [](void* to, CUdeviceptr from, std::size_t bytes, CUstream) {
    if (!one()->has(from, bytes)) return CUDA_ERROR_INVALID_VALUE;
    std::memcpy(to, one()->at(from), bytes);
    one()->from_device += bytes;
    return CUDA_SUCCESS;
  };
  driver.cuLaunchKernel = [](CUfunction, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned,
                             unsigned, CUstream, void**, void**) {
    if (one()->kernel) one()->kernel();
    return CUDA_SUCCESS;
  };
  return driver;
}

}  // namespace farcall::shim
