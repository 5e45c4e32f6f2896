#include "client_shim/held_ranges.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <iterator>

#include "transport/base/log.h"

namespace farcall::shim {
namespace {

void* at(std::uint64_t address) {
  return reinterpret_cast<void*>(static_cast<std::uintptr_t>(address));
}

std::uint64_t page_bytes() {
  static const auto page = static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
  return page;
}

bool map_nothing(std::uint64_t first, std::uint64_t end) {
  constexpr int kFlags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE;
  void* got = ::mmap(at(first), end - first, PROT_NONE, kFlags, -1, 0);
  if (got == MAP_FAILED) return false;
  if (got != at(first)) {  // a kernel before 4.17 took the address for a wish
    ::munmap(got, end - first);
    return false;
  }
  ::madvise(got, end - first, MADV_DONTFORK);
  return true;
}

}  // namespace

HeldRanges::Range HeldRanges::whole_pages(std::uint64_t address, std::uint64_t bytes) {
  const std::uint64_t page = page_bytes();
  return {address / page * page, (address + bytes + page - 1) / page * page};
}

bool HeldRanges::has(const Held& held, const Range& range) {
  auto after = held.upper_bound(range.first);
  return after != held.begin() && std::prev(after)->second >= range.end;
}

// Enters what has been mapped, as one with what it touches.
void HeldRanges::take(Held& held, const Range& range) {
  Range all = range;
  auto each = held.upper_bound(range.first);
  if (each != held.begin() && std::prev(each)->second >= range.first) each = std::prev(each);
  while (each != held.end() && each->first <= all.end) {
    all.first = std::min(all.first, each->first);
    all.end = std::max(all.end, each->second);
    each = held.erase(each);
  }
  held[all.first] = all.end;
}

void HeldRanges::fill(Held& held, const Range& around, const Range& wanted) {
  for (std::uint64_t first = around.first; first < around.end;) {
    auto after = held.upper_bound(first);
    if (after != held.begin() && std::prev(after)->second > first) {
      first = std::prev(after)->second;
      continue;
    }
    const std::uint64_t end = after == held.end() ? around.end : std::min(around.end, after->first);
    const Range less{std::max(first, wanted.first), std::min(end, wanted.end)};
    if (map_nothing(first, end)) {
      take(held, {first, end});
    } else if (less.first < less.end && map_nothing(less.first, less.end)) {
      take(held, less);
    } else if (less.first < less.end) {
      static std::atomic_flag said;
      if (!said.test_and_set()) {
        FARCALL_LOG_INFO("the program and the device both have memory at %#llx",
                         static_cast<unsigned long long>(less.first));
      }
    }
    first = end;
  }
}

void HeldRanges::hold(std::uint64_t address, std::uint64_t bytes) {
  const std::uint64_t page = page_bytes();
  constexpr std::uint64_t kAddressMax = std::uint64_t{1} << 47;  // of programs on x86-64
  const bool fits = bytes != 0 && bytes <= kAddressMax && address <= kAddressMax - bytes;
  if (!fits) return;
  const Range wanted = whole_pages(address, bytes);
  const Range around{std::max(address / kStepBytes * kStepBytes, page),
                     (address + bytes + kStepBytes - 1) / kStepBytes * kStepBytes};
  auto held = held_.lock();
  if (!has(*held, wanted)) fill(*held, around, wanted);
}

void HeldRanges::give_way(std::uint64_t address, std::uint64_t bytes) {
  const Range pages = whole_pages(address, bytes);
  auto held = held_.lock();
  auto each = held->upper_bound(pages.first);
  if (each != held->begin() && std::prev(each)->second > pages.first) each = std::prev(each);
  while (each != held->end() && each->first < pages.end) {
    const Range was{each->first, each->second};
    const Range gone{std::max(was.first, pages.first), std::min(was.end, pages.end)};
    ::munmap(at(gone.first), gone.end - gone.first);
    each = held->erase(each);
    if (was.first < gone.first) (*held)[was.first] = gone.first;
    if (gone.end < was.end) each = std::next(held->emplace(gone.end, was.end).first);
  }
}

}  // namespace farcall::shim
