#include "gpu_server/software_gpu/addresses.h"

#include <algorithm>

namespace farcall::softgpu {

void Addresses::add(Allocation allocation) {
  auto book = book_.lock();
  allocation.buffer_id = ++book->last_id;
  book->by_base[allocation.base] = allocation;
}

std::optional<Allocation> Addresses::remove(std::uint64_t base, std::uint64_t buffer_id) {
  auto book = book_.lock();
  book.wait(let_go_, [base](const Book& now) { return !now.holds.contains(base); });
  auto at = book->by_base.find(base);
  if (at == book->by_base.end()) return std::nullopt;
  if (buffer_id != 0 && at->second.buffer_id != buffer_id) return std::nullopt;
  Allocation found = at->second;
  book->by_base.erase(at);
  return found;
}

bool Addresses::hold(std::uint64_t address, std::uint64_t bytes) {
  auto book = book_.lock();
  auto found = find_in(*book, address);
  if (!found) return false;
  if (found->kind != MemoryKind::kDevice && found->kind != MemoryKind::kManaged) return false;
  if (bytes > found->bytes - (address - found->base)) return false;
  ++book->holds[found->base];
  return true;
}

void Addresses::let_go(std::uint64_t address) {
  auto book = book_.lock();
  auto found = find_in(*book, address);
  auto held = found ? book->holds.find(found->base) : book->holds.end();
  if (held == book->holds.end()) return;
  if (--held->second == 0) book->holds.erase(held);
  let_go_.notify_all();
}

std::optional<Allocation> Addresses::find(std::uint64_t address) {
  return find_in(*book_.lock(), address);
}

std::optional<Allocation> Addresses::find_in(const Book& book, std::uint64_t address) {
  auto after = book.by_base.upper_bound(address);
  if (after == book.by_base.begin()) return std::nullopt;
  const Allocation& candidate = std::prev(after)->second;
  if (address - candidate.base >= candidate.bytes) return std::nullopt;
  return candidate;
}

std::vector<Allocation> Addresses::remove_all_of(const Context& context) {
  std::vector<Allocation> taken;
  auto book = book_.lock();
  book.wait(let_go_, [&context](const Book& now) {
    return std::none_of(now.holds.begin(), now.holds.end(), [&](const auto& held) {
      return now.by_base.at(held.first).context == &context;
    });
  });
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
    if (allocation.kind == MemoryKind::kPooled && allocation.pool.get() == pool) {
      total += allocation.bytes;
    }
  }
  return total;
}

}  // namespace farcall::softgpu
