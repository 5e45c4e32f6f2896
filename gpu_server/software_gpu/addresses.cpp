#include "gpu_server/software_gpu/addresses.h"

namespace farcall::softgpu {

void Addresses::add(Allocation allocation) {
  auto book = book_.lock();
  allocation.buffer_id = ++book->last_id;
  book->by_base[allocation.base] = allocation;
}

std::optional<Allocation> Addresses::remove(std::uint64_t base) {
  auto book = book_.lock();
  auto at = book->by_base.find(base);
  if (at == book->by_base.end()) return std::nullopt;
  Allocation found = at->second;
  book->by_base.erase(at);
  return found;
}

std::optional<Allocation> Addresses::find(std::uint64_t address) {
  auto book = book_.lock();
  auto after = book->by_base.upper_bound(address);
  if (after == book->by_base.begin()) return std::nullopt;
  const Allocation& candidate = std::prev(after)->second;
  if (address - candidate.base >= candidate.bytes) return std::nullopt;
  return candidate;
}

std::vector<Allocation> Addresses::remove_all_of(const Context& context) {
  std::vector<Allocation> taken;
  auto book = book_.lock();
  for (auto at = book->by_base.begin(); at != book->by_base.end();) {
    if (at->second.context != &context) {
      ++at;
      continue;
    }
    taken.push_back(at->second);
    at = book->by_base.erase(at);
  }
  return taken;
}

std::uint64_t Addresses::pooled_bytes(const void* pool) {
  std::uint64_t total = 0;
  auto book = book_.lock();
  for (const auto& [base, allocation] : book->by_base) {
    if (allocation.kind == MemoryKind::kPooled && allocation.pool == pool) {
      total += allocation.bytes;
    }
  }
  return total;
}

}  // namespace farcall::softgpu
