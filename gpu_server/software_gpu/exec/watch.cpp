#include "gpu_server/software_gpu/exec/watch.h"

#include <sys/mman.h>

#include <cstring>

namespace farcall::softgpu {
namespace {

// Whole pages are given back: they read as zero again.
void clear(std::uint8_t* first, std::uint64_t bytes) {
  constexpr std::uint64_t kPage = 4096;
  const auto at = reinterpret_cast<std::uint64_t>(first);
  const std::uint64_t inner = (at + kPage - 1) / kPage * kPage;
  const std::uint64_t end = (at + bytes) / kPage * kPage;
  if (end <= inner) {
    std::memset(first, 0, bytes);
    return;
  }
  std::memset(first, 0, inner - at);
  ::madvise(reinterpret_cast<void*>(inner), end - inner, MADV_DONTNEED);
  std::memset(reinterpret_cast<void*>(end), 0, at + bytes - end);
}

}  // namespace

Watch::~Watch() {
  for (const Marks& marks : marks_) {
    if (marks.first != nullptr) ::munmap(marks.first, marks.bytes);
  }
}

void Watch::add_reservation(std::uint64_t base, std::uint64_t bytes) {
  auto book = book_.lock();
  book->held_back[base].bytes_max = bytes / 2;
  const std::size_t number = reservations_.load();
  if (number == kReservationsMax) return;
  void* room = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (room == MAP_FAILED) return;
  Marks& marks = marks_[number];
  marks.first = static_cast<std::uint8_t*>(room);
  marks.bytes = bytes;
  marks.base = base;
  reservations_.store(number + 1, std::memory_order_release);
}

void Watch::drop_reservation(std::uint64_t base) {
  auto book = book_.lock();
  book->held_back.erase(base);
  for (Marks& marks : marks_) {
    if (marks.base != base || marks.first == nullptr) continue;
    const auto within = [&](const Range& range) { return range.base - base < marks.bytes; };
    std::erase_if(book->allocated, [&](const auto& entry) { return within(entry.second); });
    std::erase_if(book->freed, within);
    marks.base = std::uint64_t{1} << 63;  // no address is near; its room stays until the end
  }
}

std::uint8_t* Watch::marks(std::uint64_t address, std::uint64_t bytes) const {
  const std::size_t count = reservations_.load(std::memory_order_acquire);
  for (std::size_t n = 0; n < count; ++n) {
    const std::uint64_t at = address - marks_[n].base.load(std::memory_order_relaxed);
    if (at < marks_[n].bytes) return bytes <= marks_[n].bytes - at ? marks_[n].first + at : nullptr;
  }
  return nullptr;
}

void Watch::note_allocated(std::uint64_t base, std::uint64_t bytes) {
  if (std::uint8_t* const first = marks(base, bytes)) clear(first, bytes);
  book_.lock()->allocated[base] = {base, bytes};
}

void Watch::note_freed(std::uint64_t base) {
  auto book = book_.lock();
  const auto found = book->allocated.find(base);
  if (found == book->allocated.end()) return;
  book->freed.push_back(found->second);
  book->allocated.erase(found);
  if (book->freed.size() > kFreedMax) book->freed.pop_front();
}

void Watch::note_written(std::uint64_t address, std::uint64_t bytes) {
  if (std::uint8_t* const first = marks(address, bytes)) std::memset(first, 1, bytes);
}

std::vector<Watch::Range> Watch::hold_back(std::uint64_t base, std::uint64_t bytes) {
  std::vector<Range> long_enough;
  auto book = book_.lock();
  const auto after = book->held_back.upper_bound(base);
  if (after == book->held_back.begin()) return {{base, bytes}};
  Held& held = std::prev(after)->second;
  held.ranges.push_back({base, bytes});
  held.bytes += bytes;
  while (held.bytes > held.bytes_max) {
    long_enough.push_back(held.ranges.front());
    held.bytes -= held.ranges.front().bytes;
    held.ranges.pop_front();
  }
  return long_enough;
}

Watch::Surroundings Watch::around(std::uint64_t address) const {
  Surroundings found;
  auto book = book_.lock();
  const auto next = book->allocated.upper_bound(address);
  if (next != book->allocated.end()) found.behind = next->second;
  if (next != book->allocated.begin()) found.before = std::prev(next)->second;
  for (auto range = book->freed.rbegin(); range != book->freed.rend(); ++range) {
    if (address - range->base < range->bytes) {
      found.freed = *range;
      break;
    }
  }
  return found;
}

}  // namespace farcall::softgpu
