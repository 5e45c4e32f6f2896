// Device: one software GPU: its memory, its runner, its identity and its primary context.
//
//   Device& device = *driver().device(0);
//   Fault fault = device.runner().run(launch);
//
// UUID and PCI address differ by ordinal and are the same in every process, so a program that
// compares them across processes sees one machine.
// Owner: the driver state, for ever.  Threads: any.
#pragma once
#include <memory>
#include <string>

#include "gpu_server/software_gpu/config.h"
#include "gpu_server/software_gpu/context.h"
#include "gpu_server/software_gpu/exec/image.h"
#include "gpu_server/software_gpu/exec/memory.h"
#include "gpu_server/software_gpu/pool.h"
#include "gpu_server/software_gpu/runner.h"
#include "transport/base/guarded.h"
#include "transport/base/status.h"

namespace farcall::softgpu {

// What the device is like, for occupancy and attributes. The figures are those of compute
// capability 9.0, which the rest of the ecosystem knows best.
inline constexpr int kWarpThreads = 32;
inline constexpr int kBlockThreadsMax = 1024;
inline constexpr int kSmThreadsMax = 2048;
inline constexpr int kSmBlocksMax = 32;
inline constexpr int kSmRegisters = 65536;
inline constexpr int kBlockSharedBytes = 48 * 1024;        // without asking for more
inline constexpr int kBlockSharedBytesOptIn = 227 * 1024;  // after cuFuncSetAttribute
inline constexpr int kSmSharedBytes = 228 * 1024;
inline constexpr int kReservedSharedBytes = 1024;  // per block, as on real hardware
inline constexpr int kConstBytes = 64 * 1024;

static_assert(static_cast<unsigned>(kBlockSharedBytesOptIn) <= Engine::kSharedBytesMax,
              "the engine accepts what the device promises");

class Device {
 public:
  static Result<std::unique_ptr<Device>> create(int ordinal, const Config& config);
  Device(const Device&) = delete;
  Device& operator=(const Device&) = delete;

  int ordinal() const { return ordinal_; }
  Memory& memory() { return *memory_; }
  Runner& runner() { return *runner_; }
  Images& images() { return images_; }  // what kernels know of texture and surface objects
  const char* name() const { return "Farcall Software GPU"; }
  const CUuuid& uuid() const { return uuid_; }
  int pci_bus() const { return ordinal_ + 1; }
  int processors() const { return config_.threads; }
  const Config& config() const { return config_; }
  // False for an attribute that CUDA 13.0 does not define.
  bool attribute(CUdevice_attribute which, int* value) const;

  const std::shared_ptr<Pool>& default_pool() const { return default_pool_; }
  std::shared_ptr<Pool> pool() { return *pool_.lock(); }
  void set_pool(std::shared_ptr<Pool> pool) { *pool_.lock() = std::move(pool); }

  // The primary context lives as long as the device; it is active while retained.
  Context& primary() { return *primary_; }
  const std::shared_ptr<Context>& primary_ptr() const { return primary_; }
  void retain_primary();
  // False when it was not retained.
  bool release_primary();
  void reset_primary();

 private:
  Device(int ordinal, const Config& config, std::unique_ptr<Memory> memory);

  const int ordinal_;
  const Config config_;
  CUuuid uuid_{};
  std::unique_ptr<Memory> memory_;
  Images images_;
  std::unique_ptr<Runner> runner_;
  std::shared_ptr<Context> primary_;
  const std::shared_ptr<Pool> default_pool_;
  Guarded<std::shared_ptr<Pool>> pool_;  // what cuMemAllocAsync uses
  Guarded<unsigned> primary_uses_{0};
};

}  // namespace farcall::softgpu
