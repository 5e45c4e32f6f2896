// FakeDriver: a driver of a few functions over ordinary memory, which tests can hold, fail and
// watch.
//
//   FakeDriver fake;
//   fake.hold_sync = true;  …  fake.release();    // cuStreamSynchronize waits in between
//   ServedSession session(fake.table());
//
// The functions are plain C functions, so there is one FakeDriver at a time.
// Threads: any.
#pragma once
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <cstring>
#include <mutex>
#include <string>
#include <vector>

#include "transport/api/driver.h"
#include "transport/cuda/direct_memory.h"

namespace farcall::server {

class FakeDriver {
 public:
  static constexpr CUdeviceptr kBase = 0x10'0000'0000;

  explicit FakeDriver(std::size_t memory_bytes = 0) : memory(memory_bytes) { self() = this; }
  ~FakeDriver() { self() = nullptr; }
  FakeDriver(const FakeDriver&) = delete;
  FakeDriver& operator=(const FakeDriver&) = delete;

  api::Driver table();

  // --- what tests look at ---
  std::vector<std::string> log() {
    std::lock_guard lock(mutex_);
    return log_;
  }
  // Waits until `line` was logged.
  void await(const std::string& line) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] {
      for (auto& each : log_) {
        if (each == line) return true;
      }
      return false;
    });
  }
  void release() {
    {
      std::lock_guard lock(mutex_);
      released_ = true;
    }
    changed_.notify_all();
  }
  void hold_again() {
    std::lock_guard lock(mutex_);
    released_ = false;
  }
  std::atomic<bool> hold_sync{false};         // cuStreamSynchronize waits for release()
  std::atomic<int> capture_mode{-1};          // of the last capture that began
  std::atomic<bool> capturing{false};         // every stream is
  std::atomic<int> fail_memset{0};            // CUresult of cuMemsetD8Async
  std::atomic<CUdeviceptr> bad_from{0};       // copies from here on up fail
  std::atomic<std::size_t> largest_piece{0};  // of all copies
  std::atomic<bool> direct{false};            // the CPU may touch device memory in place
  std::atomic<bool> busy{false};              // every stream is
  std::atomic<int> holds{0};                  // of such memory, now
  std::atomic<int> contexts_alive{0};
  std::atomic<int> set_current_calls{0};
  std::vector<std::byte> memory;  // device memory, at kBase

 private:
  static FakeDriver*& self() {
    static FakeDriver* the_one = nullptr;
    return the_one;
  }
  void note(std::string line) {
    {
      std::lock_guard lock(mutex_);
      log_.push_back(std::move(line));
    }
    changed_.notify_all();
  }
  CUresult copy(CUdeviceptr at, void* host, std::size_t bytes, bool to_device);
  static void* hold(CUdeviceptr at, std::size_t bytes) {
    auto& memory = self()->memory;
    if (at < kBase || at - kBase > memory.size() || bytes > memory.size() - (at - kBase)) {
      return nullptr;
    }
    ++self()->holds;
    return memory.data() + (at - kBase);
  }
  static void let_go(CUdeviceptr) { --self()->holds; }

  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<std::string> log_;
  bool released_ = false;
};

inline CUresult FakeDriver::copy(CUdeviceptr at, void* host, std::size_t bytes, bool to_device) {
  if (at < kBase || at - kBase > memory.size() || bytes > memory.size() - (at - kBase)) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  if (bad_from != 0 && at + bytes > bad_from) return CUDA_ERROR_ILLEGAL_ADDRESS;
  std::byte* device = memory.data() + (at - kBase);
  if (bytes > 0) std::memcpy(to_device ? device : host, to_device ? host : device, bytes);
  if (bytes > largest_piece) largest_piece = bytes;
  return CUDA_SUCCESS;
}

inline api::Driver FakeDriver::table() {
  api::Driver driver;
  static std::atomic<std::uintptr_t> next{1};
  driver.cuInit = [](unsigned) { return CUDA_SUCCESS; };
  driver.cuDriverGetVersion = [](int* version) { return *version = 13000, CUDA_SUCCESS; };
  driver.cuDeviceGetCount = [](int* count) { return *count = 2, CUDA_SUCCESS; };
  driver.cuDeviceGetName = [](char* name, int bytes, CUdevice device) {
    std::snprintf(name, static_cast<std::size_t>(bytes), "Fake %d", device);
    return CUDA_SUCCESS;
  };
  driver.cuDeviceTotalMem_v2 = [](std::size_t* bytes, CUdevice) {
    return *bytes = std::size_t{1} << 30, CUDA_SUCCESS;
  };
  driver.cuDeviceGetAttribute = [](int* value, CUdevice_attribute which, CUdevice) {
    if (which == 3) return CUDA_ERROR_INVALID_VALUE;
    return *value = static_cast<int>(which) * 10, CUDA_SUCCESS;
  };
  driver.cuDevicePrimaryCtxRetain = [](CUcontext* context, CUdevice device) {
    ++self()->contexts_alive;
    self()->note("retain " + std::to_string(device));
    return *context = reinterpret_cast<CUcontext>(0x1000 + 16 * device), CUDA_SUCCESS;
  };
  driver.cuDevicePrimaryCtxRelease_v2 = [](CUdevice device) {
    --self()->contexts_alive;
    self()->note("release " + std::to_string(device));
    return CUDA_SUCCESS;
  };
  driver.cuCtxSetCurrent = [](CUcontext context) {
    ++self()->set_current_calls;
    self()->note("current " + std::to_string(reinterpret_cast<std::uintptr_t>(context)));
    return CUDA_SUCCESS;
  };
  driver.cuStreamCreate = [](CUstream* stream, unsigned) {
    std::uintptr_t number = next++;
    self()->note("stream+");
    return *stream = reinterpret_cast<CUstream>(0x2000 + 16 * number), CUDA_SUCCESS;
  };
  driver.cuStreamDestroy_v2 = [](CUstream) { return self()->note("stream-"), CUDA_SUCCESS; };
  driver.cuStreamIsCapturing = [](CUstream, CUstreamCaptureStatus* status) {
    *status = self()->capturing ? CU_STREAM_CAPTURE_STATUS_ACTIVE : CU_STREAM_CAPTURE_STATUS_NONE;
    return CUDA_SUCCESS;
  };
  driver.cuStreamBeginCapture_v2 = [](CUstream, CUstreamCaptureMode mode) {
    return self()->capture_mode = mode, CUDA_SUCCESS;
  };
  driver.cuStreamQuery = [](CUstream) {
    self()->note("query");
    return self()->busy ? CUDA_ERROR_NOT_READY : CUDA_SUCCESS;
  };
  driver.cuStreamSynchronize = [](CUstream) {
    self()->note("sync begins");
    if (self()->hold_sync) {
      std::unique_lock lock(self()->mutex_);
      self()->changed_.wait(lock, [] { return self()->released_; });
    }
    self()->note("sync ends");
    return CUDA_SUCCESS;
  };
  driver.cuEventCreate = [](CUevent* event, unsigned flags) {
    if (flags == 99) return CUDA_ERROR_INVALID_VALUE;
    return *event = reinterpret_cast<CUevent>(0x3000 + 16 * next++), CUDA_SUCCESS;
  };
  driver.cuEventDestroy_v2 = [](CUevent) { return self()->note("event-"), CUDA_SUCCESS; };
  driver.cuEventQuery = [](CUevent) { return self()->note("event?"), CUDA_SUCCESS; };
  driver.cuMemsetD8Async = [](CUdeviceptr, unsigned char value, std::size_t, CUstream) {
    self()->note("memset " + std::to_string(value));
    return static_cast<CUresult>(self()->fail_memset.load());
  };
  driver.cuGetExportTable = [](const void** table, const CUuuid*) {
    static const cuda::DirectMemory kDirect = {sizeof(cuda::DirectMemory), hold, let_go};
    *table = &kDirect;
    return self()->direct ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
  };
  driver.cuMemcpyHtoD_v2 = [](CUdeviceptr to, const void* from, std::size_t bytes) {
    return self()->copy(to, const_cast<void*>(from), bytes, true);
  };
  driver.cuMemcpyHtoDAsync_v2 = [](CUdeviceptr to, const void* from, std::size_t bytes, CUstream) {
    return self()->copy(to, const_cast<void*>(from), bytes, true);
  };
  driver.cuMemcpyDtoH_v2 = [](void* to, CUdeviceptr from, std::size_t bytes) {
    return self()->copy(from, to, bytes, false);
  };
  driver.cuMemcpyDtoHAsync_v2 = [](void* to, CUdeviceptr from, std::size_t bytes, CUstream) {
    return self()->copy(from, to, bytes, false);
  };
  return driver;
}

}  // namespace farcall::server
