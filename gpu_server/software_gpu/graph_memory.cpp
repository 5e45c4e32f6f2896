#include "gpu_server/software_gpu/graph_memory.h"

#include <algorithm>
#include <map>
#include <utility>

#include "gpu_server/software_gpu/driver.h"
#include "gpu_server/software_gpu/memory_calls.h"

namespace farcall::softgpu {
namespace {

// Bytes of one device.
struct Count {
  std::uint64_t now = 0, used_high = 0, reserved_high = 0;
};
struct Entry {
  std::shared_ptr<GraphMemory> alive;  // null: not
  std::uint64_t buffer_id = 0;
  std::size_t bytes = 0;
  const Context* context = nullptr;
  const Device* device = nullptr;
  bool reserved = false;
};
struct Book {
  std::map<CUdeviceptr, Entry> entries;
  std::map<const Device*, Count> counts;
};

// Leaked, as the driver is.
Guarded<Book>& book() {
  static auto* const all = new Guarded<Book>;
  return *all;
}

void unreserve(Book& book, Entry& entry) {
  if (!entry.reserved) return;
  entry.reserved = false;
  book.counts[entry.device].now -= entry.bytes;
}

}  // namespace

std::shared_ptr<GraphMemory> GraphMemory::make(Context& context, std::size_t bytes,
                                               CUresult* failed) {
  CUdeviceptr address = 0;
  *failed = allocate(context, bytes, MemoryKind::kGraph, 0, &address);
  if (*failed != CUDA_SUCCESS) return nullptr;
  const auto known = driver().addresses.find(address);
  const std::uint64_t buffer_id = known ? known->buffer_id : 0;
  std::shared_ptr<GraphMemory> made(new GraphMemory(address, buffer_id));
  book().lock()->entries[address] = {nullptr, buffer_id, bytes, &context, &context.device(), false};
  return made;
}

GraphMemory::~GraphMemory() {
  {
    auto all = book().lock();
    auto at = all->entries.find(address_);
    if (at != all->entries.end() && at->second.buffer_id == buffer_id_) {
      unreserve(*all, at->second);
      all->entries.erase(at);
    }
  }
  // A context that has ended took its memory along, and the address may be another's by now.
  if (auto taken = driver().addresses.remove(address_, buffer_id_)) give_back(*taken);
}

bool GraphMemory::begin(const Pointers& memory, bool auto_free) {
  auto all = book().lock();
  for (const auto& one : memory) {
    auto at = all->entries.find(one->address_);
    if (at == all->entries.end() || at->second.buffer_id != one->buffer_id_) return false;
    if (at->second.alive != nullptr && !auto_free) return false;
  }
  for (const auto& one : memory) {
    Entry& entry = all->entries[one->address_];
    if (entry.alive != nullptr) continue;
    entry.alive = one;
    Count& count = all->counts[entry.device];
    if (!entry.reserved) count.now += entry.bytes;
    entry.reserved = true;
    count.used_high = std::max(count.used_high, count.now);
    count.reserved_high = std::max(count.reserved_high, count.now);
  }
  return true;
}

std::shared_ptr<GraphMemory> GraphMemory::end(CUdeviceptr address) {
  auto all = book().lock();
  auto at = all->entries.find(address);
  if (at == all->entries.end()) return nullptr;
  return std::exchange(at->second.alive, nullptr);
}

bool GraphMemory::is_known(CUdeviceptr address) { return book().lock()->entries.contains(address); }

void GraphMemory::forget_all_of(const Context& context) {
  Pointers last;  // goes after the lock
  auto all = book().lock();
  for (auto at = all->entries.begin(); at != all->entries.end();) {
    if (at->second.context != &context) {
      ++at;
      continue;
    }
    unreserve(*all, at->second);
    last.push_back(std::move(at->second.alive));
    at = all->entries.erase(at);
  }
}

CUresult GraphMemory::attribute(const Device& device, CUgraphMem_attribute which,
                                std::uint64_t* value) {
  const Count count = book().lock()->counts[&device];
  switch (which) {
    case CU_GRAPH_MEM_ATTR_USED_MEM_HIGH: *value = count.used_high; return CUDA_SUCCESS;
    // What is used stays with its graphs until it is trimmed: the two are one here.
    case CU_GRAPH_MEM_ATTR_USED_MEM_CURRENT:
    case CU_GRAPH_MEM_ATTR_RESERVED_MEM_CURRENT: *value = count.now; return CUDA_SUCCESS;
    case CU_GRAPH_MEM_ATTR_RESERVED_MEM_HIGH: *value = count.reserved_high; return CUDA_SUCCESS;
    default: return CUDA_ERROR_INVALID_VALUE;
  }
}

CUresult GraphMemory::reset_high(const Device& device, CUgraphMem_attribute which) {
  auto all = book().lock();
  Count& count = all->counts[&device];
  if (which == CU_GRAPH_MEM_ATTR_USED_MEM_HIGH) {
    count.used_high = count.now;
  } else if (which == CU_GRAPH_MEM_ATTR_RESERVED_MEM_HIGH) {
    count.reserved_high = count.now;
  } else {
    return CUDA_ERROR_INVALID_VALUE;
  }
  return CUDA_SUCCESS;
}

void GraphMemory::trim(const Device& device) {
  auto all = book().lock();
  for (auto& [address, entry] : all->entries) {
    if (entry.device == &device && entry.alive == nullptr) unreserve(*all, entry);
  }
}

}  // namespace farcall::softgpu
