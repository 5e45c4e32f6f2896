// ManagedDevice: a FakeDevice with managed memory, memory at addresses that the shim chooses, and a
// kernel that the test says.
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
#include <map>
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
  unsigned char* at(CUdeviceptr address) { return find(address, 1); }
  CUdeviceptr base() const { return base_; }
  std::function<void()> kernel;
  std::size_t skew = 0;                                   // of the addresses of managed memory
  bool reserves_elsewhere = false;                        // never where it is asked to
  CUresult no_reserving = CUDA_SUCCESS;                   // else why not
  std::atomic<CUdeviceptr> freed{0};                      // last
  std::atomic<int> fail_to_device{0};                     // CUresult of cuMemcpyHtoDAsync_v2
  std::atomic<std::size_t> to_device{0}, from_device{0};  // bytes of such copies

 private:
  static ManagedDevice*& one() {
    static ManagedDevice* the_one = nullptr;
    return the_one;
  }
  static bool is_in(CUdeviceptr address, std::size_t bytes, CUdeviceptr first, std::size_t room) {
    return address >= first && address - first < room && bytes <= room - (address - first);
  }
  // Null when it is nothing of the device's.
  unsigned char* find(CUdeviceptr address, std::size_t bytes) {
    std::byte* found = nullptr;
    if (is_in(address, bytes, base_, kBytes)) found = bytes_.data() + (address - base_);
    if (is_in(address, bytes, kBase, memory.size())) found = memory.data() + (address - kBase);
    std::lock_guard lock(chosen_mutex_);
    for (auto& [first, room] : chosen_) {
      if (is_in(address, bytes, first, room.size())) found = room.data() + (address - first);
    }
    return reinterpret_cast<unsigned char*>(found);
  }
  static CUresult copy(void* to, const void* from, std::size_t bytes) {
    if (to == nullptr || from == nullptr) return CUDA_ERROR_INVALID_VALUE;
    std::memcpy(to, from, bytes);
    return CUDA_SUCCESS;
  }
  void add_chosen(api::Driver& driver);
  std::mutex chosen_mutex_;
  std::map<CUdeviceptr, std::vector<std::byte>> chosen_;
  std::vector<std::byte> bytes_;
  void* room_ = nullptr;
  CUdeviceptr base_ = 0;
  std::size_t taken_ = 0;
};

inline void ManagedDevice::add_chosen(api::Driver& driver) {
  driver.cuMemAddressReserve = [](CUdeviceptr* at, std::size_t, std::size_t, CUdeviceptr wish,
                                  unsigned long long) {
    note("cuMemAddressReserve");
    if (one()->no_reserving != CUDA_SUCCESS) return one()->no_reserving;
    return *at = one()->reserves_elsewhere ? 0x200000 : wish, CUDA_SUCCESS;
  };
  driver.cuMemAddressFree = [](CUdeviceptr, std::size_t) {
    return note("cuMemAddressFree"), CUDA_SUCCESS;
  };
  driver.cuMemCreate = [](CUmemGenericAllocationHandle* handle, std::size_t,
                          const CUmemAllocationProp*,
                          unsigned long long) { return *handle = 1, CUDA_SUCCESS; };
  driver.cuMemRelease = [](CUmemGenericAllocationHandle) { return CUDA_SUCCESS; };
  driver.cuMemMap = [](CUdeviceptr at, std::size_t bytes, std::size_t, CUmemGenericAllocationHandle,
                       unsigned long long) {
    std::lock_guard lock(one()->chosen_mutex_);
    one()->chosen_[at].resize(bytes);
    return CUDA_SUCCESS;
  };
  driver.cuMemSetAccess = [](CUdeviceptr, std::size_t, const CUmemAccessDesc*, std::size_t) {
    return CUDA_SUCCESS;
  };
  driver.cuMemUnmap = [](CUdeviceptr at, std::size_t) {
    note("cuMemUnmap");
    std::lock_guard lock(one()->chosen_mutex_);
    return one()->chosen_.erase(at) == 1 ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
  };
}

inline api::Driver ManagedDevice::table() {
  api::Driver driver = FakeDevice::table();
  add_chosen(driver);
  driver.cuMemAllocManaged = [](CUdeviceptr* address, std::size_t bytes, unsigned) {
    one()->free_room();
    if (bytes + one()->skew > kBytes - one()->taken_) return CUDA_ERROR_OUT_OF_MEMORY;
    *address = one()->base_ + one()->taken_ + one()->skew;
    one()->taken_ += (bytes + 4095) / 4096 * 4096;
    return CUDA_SUCCESS;
  };
  driver.cuMemFree_v2 = [](CUdeviceptr at) {
    note("cuMemFree_v2");
    one()->freed = at;
    return CUDA_SUCCESS;
  };
  driver.cuMemcpyHtoDAsync_v2 = [](CUdeviceptr to, const void* from, std::size_t bytes, CUstream) {
    if (one()->fail_to_device != 0) return static_cast<CUresult>(one()->fail_to_device.load());
    CUresult copied = copy(one()->find(to, bytes), from, bytes);
    if (copied == CUDA_SUCCESS) one()->to_device += bytes;
    return copied;
  };
  driver.cuMemcpyDtoHAsync_v2 = [](void* to, CUdeviceptr from, std::size_t bytes, CUstream) {
    CUresult copied = copy(to, one()->find(from, bytes), bytes);
    if (copied == CUDA_SUCCESS) one()->from_device += bytes;
    return copied;
  };
  driver.cuMemcpyDtoD_v2 = [](CUdeviceptr to, CUdeviceptr from, std::size_t bytes) {
    return copy(one()->find(to, bytes), one()->find(from, bytes), bytes);
  };
  driver.cuMemcpyDtoDAsync_v2 = [](CUdeviceptr to, CUdeviceptr from, std::size_t bytes, CUstream) {
    return copy(one()->find(to, bytes), one()->find(from, bytes), bytes);
  };
  driver.cuLaunchKernel = [](CUfunction, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned,
                             unsigned, CUstream, void**, void**) {
    if (one()->kernel) one()->kernel();
    return CUDA_SUCCESS;
  };
  return driver;
}

}  // namespace farcall::shim
