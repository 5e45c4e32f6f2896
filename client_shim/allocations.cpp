#include "client_shim/allocations.h"

namespace farcall::shim {

HostUses::Span& Allocations::span_of(const Allocation& allocation) {
  return allocation.memory == Memory::kHost ? host_uses_.allocated() : host_uses_.registered();
}

void Allocations::gained(const Allocation& allocation) {
  if (allocation.is_device()) {
    usage_.add(allocation.ordinal, allocation.bytes);
  } else {
    span_of(allocation).add(allocation.address, allocation.bytes);
  }
}

void Allocations::lost(const Allocation& allocation) {
  if (allocation.is_device()) {
    usage_.subtract(allocation.ordinal, allocation.bytes);
  } else {
    span_of(allocation).drop();
  }
}

Allocations::Ranges::iterator Allocations::first_at(Ranges& ranges, std::uint64_t address) {
  auto at = ranges.lower_bound(address);
  if (at == ranges.begin()) return at;
  auto before = std::prev(at);
  return before->first + before->second.bytes > address ? before : at;
}

void Allocations::insert(Ranges& ranges, const Allocation& allocation) {
  std::uint64_t end = allocation.address + allocation.bytes;
  auto at = first_at(ranges, allocation.address);
  while (at != ranges.end() && at->first < end) {
    lost(at->second);
    at = ranges.erase(at);
  }
  ranges[allocation.address] = allocation;
  gained(allocation);
}

bool Allocations::is_another_servers(const Allocation& allocation) {
  const std::uint64_t end = allocation.address + allocation.bytes;
  auto at = first_at(device_, allocation.address);
  while (at != device_.end() && at->first < end && at->second.server == allocation.server) ++at;
  return at != device_.end() && at->first < end;
}

bool Allocations::add(Allocation allocation) {
  if (allocation.address == 0 || allocation.bytes == 0) return true;
  Lock lock(mutex_);
  if (allocation.is_device() && is_another_servers(allocation)) return false;
  if (allocation.memory == Memory::kRegistered) {
    const auto next = first_at(host_, allocation.address);
    if (next != host_.end() && next->first < allocation.address + allocation.bytes) return false;
  }
  allocation.buffer_id = next_buffer_id_++;
  insert(allocation.is_device() ? device_ : host_, allocation);
  return true;
}

std::optional<Allocation> Allocations::find_in(const Ranges& ranges, std::uint64_t address) {
  auto after = ranges.upper_bound(address);
  if (after == ranges.begin()) return std::nullopt;
  const Allocation& candidate = std::prev(after)->second;
  if (!candidate.holds(address, 1)) return std::nullopt;
  return candidate;
}

std::optional<Allocation> Allocations::find_device(std::uint64_t address) const {
  Lock lock(mutex_);
  return find_in(device_, address);
}

std::optional<Allocation> Allocations::find_host(std::uint64_t address) const {
  Lock lock(mutex_);
  return find_in(host_, address);
}

std::optional<Allocation> Allocations::find(std::uint64_t address) const {
  Lock lock(mutex_);
  if (auto device = find_in(device_, address)) return device;
  return find_in(host_, address);
}

std::optional<Allocation> Allocations::take_from(Ranges& ranges, std::uint64_t address) {
  auto at = ranges.find(address);
  if (at == ranges.end()) return std::nullopt;
  Allocation taken = at->second;
  lost(taken);
  ranges.erase(at);
  return taken;
}

std::optional<Allocation> Allocations::take_device(std::uint64_t address) {
  Lock lock(mutex_);
  return take_from(device_, address);
}

std::optional<Allocation> Allocations::take_host(std::uint64_t address) {
  Lock lock(mutex_);
  return take_from(host_, address);
}

void Allocations::put_out_of_reach(std::uint64_t address) {
  Lock lock(mutex_);
  auto at = host_.find(address);
  if (at != host_.end()) at->second.is_out_of_reach = true;
}

void Allocations::restore_device(const Allocation& taken) {
  Lock lock(mutex_);
  auto next = device_.lower_bound(taken.address);
  bool is_free = next == device_.end() || next->first - taken.address >= taken.bytes;
  if (!is_free || find_in(device_, taken.address)) return;
  device_.emplace(taken.address, taken);
  gained(taken);
}

void Allocations::drop_owner(std::uint64_t owner) {
  Lock lock(mutex_);
  std::erase_if(device_, [&](const auto& entry) {
    const bool ends = owner != 0 && entry.second.owner == owner;
    if (ends) lost(entry.second);
    return ends;
  });
}

void Allocations::drop_context(CUcontext context) {
  Lock lock(mutex_);
  std::erase_if(device_, [&](const auto& entry) {
    const bool ends = entry.second.context == context;
    if (ends) lost(entry.second);
    return ends;
  });
}

}  // namespace farcall::shim
