// Addresses: which memory the driver has given out, and what kind it is.
//
//   if (auto hit = addresses.find(pointer); hit && hit->is_device()) …
//
// Memory checks what kernels touch; this book knows what a pointer query, a free or a copy must
// know beyond that: kind, owner and flags.
// Owner: the driver state.  Threads: any.
#pragma once
#include <condition_variable>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <vector>

#include "transport/base/guarded.h"

namespace farcall::softgpu {

class Context;
struct Pool;

enum class MemoryKind {
  kDevice,          // cuMemAlloc and relatives
  kManaged,         // cuMemAllocManaged: plain device memory, which the host can always touch
  kPooled,          // cuMemAllocAsync
  kGraph,           // of a memory node; see graph_memory.h
  kArray,           // behind a CUarray; no program sees the address
  kHostAllocated,   // cuMemHostAlloc
  kHostRegistered,  // cuMemHostRegister
};

struct Allocation {
  std::uint64_t base = 0;
  std::uint64_t bytes = 0;
  MemoryKind kind = MemoryKind::kDevice;
  unsigned flags = 0;  // as given to the call that made it
  Context* context = nullptr;
  std::shared_ptr<const Pool> pool;  // kPooled: it lasts until its last memory is given back
  std::uint64_t buffer_id = 0;       // unique for ever; filled in by add()
  std::uint64_t mapped_bytes = 0;    // kHostAllocated: what munmap takes

  bool is_host() const {
    return kind == MemoryKind::kHostAllocated || kind == MemoryKind::kHostRegistered;
  }
  bool is_device() const { return !is_host(); }
};

class Addresses {
 public:
  void add(Allocation allocation);
  // The allocation that starts exactly there leaves the book, once nobody holds it; with a
  // buffer_id only if it is that one.
  std::optional<Allocation> remove(std::uint64_t base, std::uint64_t buffer_id = 0);
  // Keeps the plain device or managed allocation around all of these bytes in the book. False when
  // there is none.
  bool hold(std::uint64_t address, std::uint64_t bytes);
  void let_go(std::uint64_t address);
  std::optional<Allocation> find(std::uint64_t address);
  std::vector<Allocation> remove_all_of(const Context& context);
  // Pooled bytes in use, for the pool's attributes.
  std::uint64_t pooled_bytes(const void* pool);

 private:
  struct Book {
    std::map<std::uint64_t, Allocation> by_base;
    std::map<std::uint64_t, std::size_t> holds;  // by base; how many
    std::uint64_t last_id = 0;
  };
  static std::optional<Allocation> find_in(const Book& book, std::uint64_t address);

  Guarded<Book> book_;
  std::condition_variable let_go_;
};

}  // namespace farcall::softgpu
