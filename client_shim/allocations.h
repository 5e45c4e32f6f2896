// Allocations: which address ranges mean what to this process: device memory of the session, and
// host memory that the program got from, or registered with, CUDA.
//
//   allocations.add({address, bytes, context, Memory::kDevice});
//   std::optional<Allocation> found = allocations.find(pointer);     // any address inside
//
// It answers cuPointerGetAttribute and cuMemGetAddressRange without a round trip and tells the
// unified copies (cuMemcpy) which way the bytes go.
// With several servers it also tells whose memory an address is; they do not know of each other, so
// it is here that one address handed out by two of them is noticed.
// Owner: the clients of the process's servers together.  Threads: any.  Never talks to a server.
#pragma once
#include <cstdint>
#include <map>
#include <optional>

#include "client_shim/held_ranges.h"
#include "client_shim/host_uses.h"
#include "client_shim/usage_page.h"
#include "transport/base/guarded.h"
#include "transport/cuda/cuda_abi.h"

namespace farcall::shim {

enum class Memory : std::uint8_t {
  kDevice,      // cuMemAlloc and kin; freed by cuMemFree
  kPool,        // cuMemAllocAsync; freed by cuMemFreeAsync or cuMemFree
  kManaged,     // cuMemAllocManaged and __managed__ variables; this process's too (mirrors.h)
  kGlobal,      // a variable of a module; gone with the module
  kHost,        // cuMemHostAlloc: client memory, page-aligned
  kRegistered,  // cuMemHostRegister: the program's own memory
};

// Memory that launches of a graph allocate is not forgotten when it is freed.
inline constexpr std::uint64_t kGraphOwner = 1;

struct Allocation {
  std::uint64_t address = 0;
  std::uint64_t bytes = 0;
  CUcontext context = nullptr;
  Memory memory = Memory::kDevice;
  int ordinal = 0;               // device
  unsigned server = 0;           // whose device memory it is
  unsigned flags = 0;            // of cuMemHostAlloc or cuMemHostRegister
  std::uint64_t owner = 0;       // module or library id of a variable; kGraphOwner, or 0: of nobody
  bool is_out_of_reach = false;  // host memory that no server can have at its address
  std::uint64_t host = 0;        // device memory that stands for registered memory: of this address
  std::uint64_t buffer_id = 0;   // CU_POINTER_ATTRIBUTE_BUFFER_ID: unique in the process

  bool is_of_graph() const { return memory == Memory::kPool && owner == kGraphOwner; }
  bool is_device() const { return memory <= Memory::kGlobal; }
  bool holds(std::uint64_t at, std::uint64_t count) const {
    return at >= address && at - address <= bytes && count <= bytes - (at - address);
  }
};

class Allocations {
 public:
  // Replaces what overlaps: the server reuses addresses that were freed by other means.
  // False, nothing entered: it meets another server's memory or, registered, host memory known.
  bool add(Allocation allocation);
  // The device allocation around `address`.
  std::optional<Allocation> find_device(std::uint64_t address) const;
  // The host allocation or registration around `address`.
  std::optional<Allocation> find_host(std::uint64_t address) const;
  // Device first: an address the session handed out means device memory.
  std::optional<Allocation> find(std::uint64_t address) const;

  // Both forget the range that begins at exactly `address`; nothing when there is none.
  std::optional<Allocation> take_device(std::uint64_t address);
  std::optional<Allocation> take_host(std::uint64_t address);
  // Host memory that begins there is out of the devices' reach.
  void put_out_of_reach(std::uint64_t address);
  // Puts a taken one back, unless its address has been handed out again meanwhile.
  void restore_device(const Allocation& taken);
  // Everything a module or library brought along.
  void drop_owner(std::uint64_t owner);
  // The device memory of a context that was destroyed or reset. Host memory stays readable.
  void drop_context(CUcontext context);

  // What all device memory entered here comes to, by device.
  UsagePage& usage() { return usage_; }
  // The host memory entered here, for copies and launches.
  HostUses& host_uses() { return host_uses_; }
  // Of all servers: kept free of anything else.
  HeldRanges& held_ranges() { return held_ranges_; }

 private:
  using Ranges = std::map<std::uint64_t, Allocation>;
  static std::optional<Allocation> find_in(const Ranges& ranges, std::uint64_t address);
  std::optional<Allocation> take_from(Ranges& ranges, std::uint64_t address);
  // The first range that is not wholly below `address`.
  static Ranges::iterator first_at(Ranges& ranges, std::uint64_t address);
  bool is_another_servers(const Allocation& allocation) FARCALL_REQUIRES(mutex_);
  void insert(Ranges& ranges, const Allocation& allocation);
  HostUses::Span& span_of(const Allocation& allocation);
  void gained(const Allocation& allocation);
  void lost(const Allocation& allocation);

  UsagePage usage_;
  HostUses host_uses_;
  HeldRanges held_ranges_;
  mutable Mutex mutex_;
  // Two maps, because a device address may equal a host address of this process.
  Ranges device_ FARCALL_GUARDED_BY(mutex_);
  Ranges host_ FARCALL_GUARDED_BY(mutex_);
  std::uint64_t next_buffer_id_ FARCALL_GUARDED_BY(mutex_) = 1;
};

}  // namespace farcall::shim
