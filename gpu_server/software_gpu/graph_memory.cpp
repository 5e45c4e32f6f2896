#include "gpu_server/software_gpu/graph_memory.h"

#include <algorithm>
#include <map>

#include "gpu_server/software_gpu/driver.h"
#include "gpu_server/software_gpu/memory_calls.h"

namespace farcall::softgpu {
namespace {

// Bytes of one device.
struct Count {
  std::uint64_t now = 0, used_high = 0, reserved_high = 0;
};
struct Entry {
  std::weak_ptr<GraphMemory> memory;
  std::shared_ptr<GraphMemory> alive;  // null: not
  std::size_t bytes = 0;
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

// A context that has ended took its memory along, and its address may be another's by now.
bool is_of_graph(CUdeviceptr address) {
  const auto found = driver().addresses.find(address);
  return found && found->base == address && found->kind == MemoryKind::kGraph;
}

}  // namespace

std::shared_ptr<GraphMemory> GraphMemory::make(Context& context, std::size_t bytes,
                                               CUresult* failed) {
  CUdeviceptr address = 0;
  *failed = allocate(context, bytes, MemoryKind::kGraph, 0, &address);
  if (*failed != CUDA_SUCCESS) return nullptr;
  std::shared_ptr<GraphMemory> made(new GraphMemory(context.device(), address, bytes));
  book().lock()->entries[address] = {made, nullptr, bytes, &context.device(), false};
  return made;
}

GraphMemory::~GraphMemory() {
  {
    auto all = book().lock();
    auto at = all->entries.find(address_);
    const bool is_ours = at != all->entries.end() && at->second.memory.expired();
    if (!is_ours) return;
    unreserve(*all, at->second);
    all->entries.erase(at);
  }
  if (!is_of_graph(address_)) return;
  if (auto taken = driver().addresses.remove(address_)) give_back(*taken);
}

bool GraphMemory::begin(bool auto_free) {
  auto all = book().lock();
  Entry& entry = all->entries[address_];
  if (entry.alive != nullptr) return auto_free;
  entry.alive = shared_from_this();
  Count& count = all->counts[&device_];
  if (!entry.reserved) count.now += bytes_;
  entry.reserved = true;
  count.used_high = std::max(count.used_high, count.now);
  count.reserved_high = std::max(count.reserved_high, count.now);
  return true;
}

bool GraphMemory::end(CUdeviceptr address) {
  std::shared_ptr<GraphMemory> last;  // goes after the lock
  auto all = book().lock();
  auto at = all->entries.find(address);
  if (at == all->entries.end() || at->second.alive == nullptr) return false;
  last = std::move(at->second.alive);
  at->second.alive = nullptr;
  return true;
}

bool GraphMemory::is_known(CUdeviceptr address) {
  return book().lock()->entries.contains(address) && is_of_graph(address);
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
