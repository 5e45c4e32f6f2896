// StreamDevice: a FakeDevice whose streams are queues, worked off by a thread that takes them in
// random turns. So copies finish late, and streams overtake one another wherever CUDA lets them.
//
//   StreamDevice device(seed);
//   World world(device);
//
// Threads: any; one StreamDevice at a time.
#pragma once
#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <random>
#include <thread>

#include "tests/client_shim/fake_device.h"
#include "transport/cuda/direct_memory.h"

namespace farcall::shim {

class StreamDevice : public FakeDevice {
 public:
  explicit StreamDevice(unsigned seed, std::size_t memory_bytes = 96 << 20)
      : FakeDevice(memory_bytes), random_(seed) {
    one() = this;
    worker_ = std::thread([this] { work(); });
  }
  ~StreamDevice() {
    stop();
    one() = nullptr;
  }
  api::Driver table();

  // While it is set, nothing is done in any stream.
  void hold(bool held) {
    {
      std::lock_guard lock(mutex_);
      held_ = held;
    }
    changed_.notify_all();
  }
  unsigned char peek(CUdeviceptr at) {
    std::lock_guard lock(mutex_);
    return static_cast<unsigned char>(memory[at - kBase]);
  }
  // Waits until all that is in the streams now has been done.
  void drain() { finish_all(); }
  std::atomic<int> fail_copies{0};  // CUresult of cuMemcpyDtoHAsync_v2
  std::atomic<bool> capturing{false};
  std::atomic<bool> direct{false};  // the CPU may touch its memory where it lies

 protected:
  // No more work is done. A class whose own members the streams' work uses says so before they go.
  void stop() {
    {
      std::lock_guard lock(mutex_);
      stop_ = true;
    }
    changed_.notify_all();
    if (worker_.joinable()) worker_.join();
  }
  struct Event {
    bool done = true;
  };
  using Op = std::function<bool()>;  // false: not yet
  using Queue = std::deque<Op>;

  static StreamDevice*& one() {
    static StreamDevice* the_one = nullptr;
    return the_one;
  }
  void push(CUstream stream, Op op) {
    {
      std::lock_guard lock(mutex_);
      queues_[stream].push_back(std::move(op));
    }
    changed_.notify_all();
  }
  template <class Until>
  void wait(Until until) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, until);
  }
  bool idle(CUstream stream) {
    auto found = queues_.find(stream);
    return found == queues_.end() || found->second.empty();
  }
  // What is in the stream now, or in all of them, has been done.
  void finish(CUstream stream) {
    std::unique_lock lock(mutex_);
    finish_locked(lock, {stream});
  }
  void finish_all() {
    std::unique_lock lock(mutex_);
    std::vector<CUstream> all;
    for (auto& [stream, queue] : queues_) all.push_back(stream);
    finish_locked(lock, all);
  }
  void finish_locked(std::unique_lock<std::mutex>& lock, const std::vector<CUstream>& streams) {
    auto left = std::make_shared<std::size_t>(streams.size());
    for (CUstream stream : streams) {
      queues_[stream].push_back([left] { return --*left, true; });
    }
    changed_.notify_all();
    changed_.wait(lock, [&] { return *left == 0; });
  }
  bool all_idle() {
    for (auto& [stream, queue] : queues_) {
      if (!queue.empty()) return false;
    }
    return true;
  }
  void work() {
    std::unique_lock lock(mutex_);
    while (true) {
      changed_.wait(lock, [this] { return stop_ || (!held_ && !all_idle()); });
      if (stop_) return;
      auto turn = std::next(queues_.begin(), static_cast<long>(random_() % queues_.size()));
      if (!turn->second.empty() && random_() % 4 != 0 && turn->second.front()()) {
        turn->second.pop_front();
        changed_.notify_all();
      }
      lock.unlock();
      lock.lock();
    }
  }
  bool is_registered(const void* at) {
    std::lock_guard lock(mutex_);
    auto after = registered_.upper_bound(at);
    if (after == registered_.begin()) return false;
    auto [begin, bytes] = *std::prev(after);
    return static_cast<const std::byte*>(at) < static_cast<const std::byte*>(begin) + bytes;
  }
  void add_streams(api::Driver& driver);
  void add_events(api::Driver& driver);
  void add_copies(api::Driver& driver);
  static void copy_box(const CUDA_MEMCPY3D& copy);

  std::mutex mutex_;
  std::condition_variable changed_;
  std::mt19937 random_;
  std::map<CUstream, Queue> queues_;
  std::map<CUevent, std::shared_ptr<Event>> events_;
  std::map<const void*, std::size_t> registered_;
  std::uintptr_t next_ = 1;
  bool held_ = false;
  bool stop_ = false;
  std::thread worker_;
};

inline void StreamDevice::add_streams(api::Driver& driver) {
  driver.cuStreamCreate = [](CUstream* stream, unsigned) {
    std::lock_guard lock(one()->mutex_);
    *stream = reinterpret_cast<CUstream>(0x20000 + 16 * one()->next_++);
    one()->queues_[*stream];
    return CUDA_SUCCESS;
  };
  driver.cuStreamDestroy_v2 = [](CUstream) { return CUDA_SUCCESS; };  // its work goes on
  driver.cuStreamSynchronize = [](CUstream stream) { return one()->finish(stream), CUDA_SUCCESS; };
  driver.cuStreamQuery = [](CUstream stream) {
    std::lock_guard lock(one()->mutex_);
    return one()->idle(stream) ? CUDA_SUCCESS : CUDA_ERROR_NOT_READY;
  };
  driver.cuStreamIsCapturing = [](CUstream, CUstreamCaptureStatus* status) {
    *status = one()->capturing ? CU_STREAM_CAPTURE_STATUS_ACTIVE : CU_STREAM_CAPTURE_STATUS_NONE;
    return CUDA_SUCCESS;
  };
  driver.cuStreamBeginCapture_v2 = [](CUstream, CUstreamCaptureMode) {
    return one()->capturing = true, CUDA_SUCCESS;
  };
  driver.cuStreamEndCapture = [](CUstream, CUgraph* graph) {
    return one()->capturing = false, *graph = reinterpret_cast<CUgraph>(0x9000), CUDA_SUCCESS;
  };
  driver.cuCtxSynchronize = [] { return one()->finish_all(), CUDA_SUCCESS; };
}

inline void StreamDevice::add_events(api::Driver& driver) {
  driver.cuEventCreate = [](CUevent* event, unsigned) {
    std::lock_guard lock(one()->mutex_);
    *event = reinterpret_cast<CUevent>(0x30000 + 16 * one()->next_++);
    one()->events_[*event] = std::make_shared<Event>();
    return CUDA_SUCCESS;
  };
  driver.cuEventDestroy_v2 = [](CUevent event) {
    std::lock_guard lock(one()->mutex_);
    one()->events_.erase(event);
    return CUDA_SUCCESS;
  };
  driver.cuEventRecord = [](CUevent event, CUstream stream) {
    auto mark = std::make_shared<Event>();
    mark->done = false;
    {
      std::lock_guard lock(one()->mutex_);
      one()->events_[event] = mark;
    }
    one()->push(stream, [mark] { return mark->done = true; });
    return CUDA_SUCCESS;
  };
  driver.cuEventQuery = [](CUevent event) {
    std::lock_guard lock(one()->mutex_);
    auto found = one()->events_.find(event);
    if (found == one()->events_.end()) return CUDA_ERROR_INVALID_HANDLE;
    return found->second->done ? CUDA_SUCCESS : CUDA_ERROR_NOT_READY;
  };
  driver.cuEventSynchronize = [](CUevent event) {
    std::shared_ptr<Event> mark;
    {
      std::lock_guard lock(one()->mutex_);
      mark = one()->events_[event];
    }
    one()->wait([&] { return mark->done; });
    return CUDA_SUCCESS;
  };
  driver.cuStreamWaitEvent = [](CUstream stream, CUevent event, unsigned) {
    std::shared_ptr<Event> mark;
    {
      std::lock_guard lock(one()->mutex_);
      mark = one()->events_[event];
    }
    one()->push(stream, [mark] { return mark->done; });
    return CUDA_SUCCESS;
  };
}

inline void StreamDevice::copy_box(const CUDA_MEMCPY3D& copy) {
  auto place = [](CUmemorytype type, const void* host, CUdeviceptr device) {
    return type == CU_MEMORYTYPE_HOST ? static_cast<std::byte*>(const_cast<void*>(host))
                                      : one()->memory.data() + (device - kBase);
  };
  std::byte* from = place(copy.srcMemoryType, copy.srcHost, copy.srcDevice);
  std::byte* to = place(copy.dstMemoryType, copy.dstHost, copy.dstDevice);
  std::lock_guard lock(one()->mutex_);
  for (std::size_t z = 0; z < copy.Depth; ++z) {
    for (std::size_t y = 0; y < copy.Height; ++y) {
      std::memcpy(to + ((copy.dstZ + z) * copy.dstHeight + copy.dstY + y) * copy.dstPitch +
                      copy.dstXInBytes,
                  from + ((copy.srcZ + z) * copy.srcHeight + copy.srcY + y) * copy.srcPitch +
                      copy.srcXInBytes,
                  copy.WidthInBytes);
    }
  }
}

inline void StreamDevice::add_copies(api::Driver& driver) {
  driver.cuGetExportTable = [](const void** table, const CUuuid*) {
    static const cuda::DirectMemory kDirect = {
        .table_bytes = sizeof(cuda::DirectMemory),
        .hold = [](CUdeviceptr at, std::size_t) -> void* {
          return one()->memory.data() + (at - kBase);
        },
        .let_go = [](CUdeviceptr) {},
    };
    *table = &kDirect;
    return one()->direct ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
  };
  driver.cuMemHostRegister_v2 = [](void* at, std::size_t bytes, unsigned) {
    std::lock_guard lock(one()->mutex_);
    one()->registered_[at] = bytes;
    return CUDA_SUCCESS;
  };
  driver.cuMemHostUnregister = [](void* at) {
    std::lock_guard lock(one()->mutex_);
    return one()->registered_.erase(at) == 1 ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
  };
  driver.cuMemcpyHtoDAsync_v2 = [](CUdeviceptr to, const void* from, std::size_t bytes,
                                   CUstream stream) {
    auto* first = static_cast<const std::byte*>(from);
    if (one()->is_registered(from)) {
      // Page-locked memory is read when the stream gets there.
      one()->push(stream, [to, from, bytes] {
        std::memcpy(one()->memory.data() + (to - kBase), from, bytes);
        return true;
      });
      return CUDA_SUCCESS;
    }
    one()->push(stream, [to, bytes, held = std::vector<std::byte>(first, first + bytes)] {
      std::memcpy(one()->memory.data() + (to - kBase), held.data(), bytes);
      return true;
    });
    return CUDA_SUCCESS;
  };
  driver.cuMemcpyDtoHAsync_v2 = [](void* to, CUdeviceptr from, std::size_t bytes, CUstream stream) {
    if (one()->fail_copies != 0) return static_cast<CUresult>(one()->fail_copies.load());
    bool pageable = !one()->is_registered(to);
    one()->push(stream, [to, from, bytes] {
      std::memcpy(to, one()->memory.data() + (from - kBase), bytes);
      return true;
    });
    if (pageable) one()->finish(stream);
    return CUDA_SUCCESS;
  };
  driver.cuMemcpyDtoH_v2 = [](void* to, CUdeviceptr from, std::size_t bytes) {
    one()->finish_all();
    std::lock_guard lock(one()->mutex_);
    std::memcpy(to, one()->memory.data() + (from - kBase), bytes);
    return CUDA_SUCCESS;
  };
  driver.cuMemcpyDtoDAsync_v2 = [](CUdeviceptr to, CUdeviceptr from, std::size_t bytes,
                                   CUstream stream) {
    one()->push(stream, [to, from, bytes] {
      auto* memory = one()->memory.data();
      std::memmove(memory + (to - kBase), memory + (from - kBase), bytes);
      return true;
    });
    return CUDA_SUCCESS;
  };
  driver.cuMemcpy3D_v2 = [](const CUDA_MEMCPY3D* copy) {
    one()->finish_all();
    return copy_box(*copy), CUDA_SUCCESS;
  };
  driver.cuMemcpy3DAsync_v2 = [](const CUDA_MEMCPY3D* copy, CUstream stream) {
    one()->finish(stream);
    return copy_box(*copy), CUDA_SUCCESS;
  };
  driver.cuMemsetD8Async = [](CUdeviceptr at, unsigned char value, std::size_t bytes,
                              CUstream stream) {
    one()->push(stream, [at, value, bytes] {
      std::memset(one()->memory.data() + (at - kBase), value, bytes);
      return true;
    });
    return CUDA_SUCCESS;
  };
}

inline api::Driver StreamDevice::table() {
  api::Driver driver = FakeDevice::table();
  static thread_local CUcontext t_current = nullptr;
  driver.cuCtxSetCurrent = [](CUcontext context) { return t_current = context, CUDA_SUCCESS; };
  driver.cuCtxGetCurrent = [](CUcontext* context) { return *context = t_current, CUDA_SUCCESS; };
  add_streams(driver);
  add_events(driver);
  add_copies(driver);
  return driver;
}

}  // namespace farcall::shim
