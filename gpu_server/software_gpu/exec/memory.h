// Device memory of the software GPU: where kernels may read and write, and nothing else.
//
//   Result<std::unique_ptr<Memory>> memory = Memory::create(std::size_t{4} << 30);
//   Result<std::uint64_t> a = memory.value()->allocate(1024);
//   std::memcpy(reinterpret_cast<void*>(a.value()), source, 1024);   // device address == host
//   address
//
// One large PROT_NONE reservation is made at the start; an allocation makes its pages accessible, a
// release takes them away again. So a stray host access to freed memory faults at once, and a
// kernel's access is checked against the allocations themselves. Of small allocations a few stay
// accessible, wiped, for the next one of their size: programs allocate and free in circles, and two
// system calls cost more than the rest of it.
// Owner: one per device; outlives every Program and Engine built on it.  Threads: any.
// It never clears memory on allocation beyond what the kernel gives (fresh pages read as zero).
#pragma once
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <vector>

#include "transport/base/guarded.h"
#include "transport/base/status.h"

namespace farcall::softgpu {

class Memory {
 public:
  struct Range {
    std::uint64_t base = 0;
    std::uint64_t bytes = 0;
  };

  // limit_bytes: what allocate() may hand out in total; the reservation is larger, so that
  // fragmentation does not refuse what the limit allows.  Errors: kSystem.
  static Result<std::unique_ptr<Memory>> create(std::size_t limit_bytes);
  ~Memory();
  Memory(const Memory&) = delete;
  Memory& operator=(const Memory&) = delete;

  // bytes 1 …, align a power of two up to 2 MiB.  Errors: kOverQuota (limit reached), kSystem.
  Result<std::uint64_t> allocate(std::size_t bytes, std::size_t align = 256);
  // Pages a running launch may still touch go away when that launch ends.
  // Errors: kNotFound when no allocation starts there.
  Status release(std::uint64_t base);

  // Host memory that kernels may touch as well, at its own address (pinned, registered). It stays
  // the caller's, who must unmap it here before it goes away. It does not count as used.
  // Errors: kBusy when it overlaps a known range.
  Status map_host(void* base, std::size_t bytes) { return map(base, bytes, false); }
  // The same of memory that no neighbour's kernels reach by this mapping, whatever they may.
  Status map_for_this_device(void* base, std::size_t bytes) { return map(base, bytes, true); }
  void unmap_host(void* base);

  // The allocation or mapped range that holds `address`; find() also looks at what this device may
  // touch of its neighbours.
  std::optional<Range> find(std::uint64_t address) const;
  std::optional<Range> find_own(std::uint64_t address) const {
    return find_here(address, Who::kSelf);
  }
  bool contains(std::uint64_t address, std::size_t bytes) const;

  // Counts bytes as used that live elsewhere (files that are mapped), so that all of it together is
  // no more than the limit. False: there is not so much left.
  bool claim(std::size_t bytes);
  void unclaim(std::size_t bytes);

  std::size_t used() const;  // bytes handed out, in whole pages, and claimed
  std::size_t limit() const { return limit_; }

  // The memories of the driver's other devices, told once before any launch.
  void know(std::vector<Memory*> neighbours) { neighbours_ = std::move(neighbours); }
  // Lets this device's kernels touch what a neighbour's programs allocate, until as many calls of
  // deny() as of allow(). Host memory that a neighbour knows every device may touch: CUDA's
  // page-locked memory is portable where addresses are unified.
  void allow(const Memory& neighbour);
  void deny(const Memory& neighbour);

  // Held by the engine for the length of a launch; keeps released pages readable until it ends,
  // those of neighbours too.
  class Pin {
   public:
    explicit Pin(Memory& memory);
    ~Pin();
    Pin(const Pin&) = delete;
    Pin& operator=(const Pin&) = delete;

   private:
    struct Held {
      Memory* memory;
      std::uint64_t ticket;
    };
    std::vector<Held> held_;
  };

 private:
  struct Spot {
    Range pages;   // all that goes back
    Range inside;  // where the allocation lies in it, in whole pages
    bool open;     // accessible, and wiped
  };
  struct Doomed {
    Spot spot;
    std::uint64_t ticket;  // launches with a smaller ticket may still touch them
  };
  struct Books {
    std::map<std::uint64_t, Range> ranges;        // by base; what kernels may touch
    std::map<std::uint64_t, Range> pages;         // by base of an allocation: its whole pages
    std::set<std::uint64_t> for_this_device;      // bases of ranges that are mapped so
    std::map<std::uint64_t, std::uint64_t> free;  // by base: bytes; inside the reservation
    std::vector<Doomed> doomed;
    std::vector<Spot> ready;  // open: for the next allocation of that size
    std::set<std::uint64_t> pins;
    std::uint64_t next_ticket = 1;
    std::size_t used = 0;
  };
  Memory(std::uint64_t base, std::size_t reserved, std::size_t limit);
  enum class Who { kSelf, kPeer, kStranger };  // who asks
  std::optional<Range> find_here(std::uint64_t address, Who who) const;
  Status map(void* base, std::size_t bytes, bool for_this_device);
  static void bury(Books& books);
  static std::optional<Spot> take_kept(Books& books, std::uint64_t pages, std::uint64_t step);
  static std::optional<Spot> take_free(Books& books, std::uint64_t pages, std::uint64_t step);
  static void keep_or_give_back(Books& books, const Spot& spot);
  static void give_back(Books& books, Range pages);

  const std::uint64_t base_;
  const std::size_t reserved_;
  const std::size_t limit_;
  mutable Guarded<Books> books_;
  std::vector<Memory*> neighbours_;
  mutable Guarded<std::map<const Memory*, int>> allowed_;
};

}  // namespace farcall::softgpu
