#include "gpu_server/software_gpu/exec/memory.h"

#include <sys/mman.h>
#include <sys/random.h>

#include <cstring>

#include "gpu_server/software_gpu/exec/checker.h"
#include "gpu_server/software_gpu/exec/wiped_pages.h"

namespace farcall::softgpu {
namespace {

constexpr std::uint64_t kPage = 4096;
constexpr std::size_t kAlignMax = std::size_t{2} << 20;

// Allocations that stay accessible after their release: 1 MiB in all.
constexpr std::size_t kKeptMax = 16;
constexpr std::uint64_t kKeptBytesMax = 64 * 1024;

std::uint64_t round_up(std::uint64_t x, std::uint64_t to) { return (x + to - 1) / to * to; }

void* at(std::uint64_t address) { return reinterpret_cast<void*>(address); }

// Where no loader, allocator or sanitizer puts anything of its own: managed memory must have its
// address free in another process too. Drawn, so that two devices seldom meet.
std::uint64_t wished_base() {
#if defined(__SANITIZE_THREAD__)
  return 0;  // ThreadSanitizer has a place for everything
#else
  constexpr std::uint64_t kFirst = 0x2000'0000'0000;
  constexpr std::uint64_t kSlots = 0x2f00'0000'0000 / kAlignMax;
  std::uint64_t drawn = 0;
  if (::getrandom(&drawn, sizeof drawn, GRND_NONBLOCK) != sizeof drawn) return 0;
  return kFirst + drawn % kSlots * kAlignMax;
#endif
}

// A fresh mapping drops the contents, so that nobody later reads them.
void close_pages(const Memory::Range& pages) {
  ::mmap(at(pages.base), pages.bytes, PROT_NONE,
         MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
}

}  // namespace

Result<std::unique_ptr<Memory>> Memory::create(std::size_t limit_bytes) {
  const std::size_t limit = round_up(limit_bytes, kPage);
  // Twice the limit leaves room between allocations of different sizes; address space is free. As
  // much again is for freed addresses that a checker holds back.
  Checker* const checker = active_checker();
  const std::size_t reserved = limit * (checker != nullptr ? 4 : 2) + kAlignMax;
  void* base = ::mmap(at(wished_base()), reserved, PROT_NONE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (base == MAP_FAILED) return Status::system("reserve device memory");
  if (checker != nullptr) {
    checker->watch().add_reservation(reinterpret_cast<std::uint64_t>(base), reserved);
  }
  return std::unique_ptr<Memory>(
      new Memory(reinterpret_cast<std::uint64_t>(base), reserved, limit));
}

Memory::Memory(std::uint64_t base, std::size_t reserved, std::size_t limit)
    : base_(base), reserved_(reserved), limit_(limit) {
  books_.lock()->free[base] = reserved;
}

Memory::~Memory() {
  if (Checker* const checker = active_checker()) checker->watch().drop_reservation(base_);
  ::munmap(at(base_), reserved_);
}

Result<std::uint64_t> Memory::allocate(std::size_t bytes, std::size_t align) {
  if (bytes == 0 || align == 0 || (align & (align - 1)) != 0 || align > kAlignMax) {
    return Status(Code::kUnsupported, "device allocation of no bytes or odd alignment");
  }
  if (bytes > limit_) return Status(Code::kOverQuota, "device memory: larger than the device");
  // A page of nothing after each allocation makes an overrun by the host fault as well.
  const std::uint64_t pages = round_up(bytes, kPage);
  const std::uint64_t step = align < kPage ? kPage : align;
  auto books = books_.lock();
  if (pages > limit_ - books->used) {
    return Status(Code::kOverQuota, "device memory: " + std::to_string(books->used) + " of " +
                                        std::to_string(limit_) + " bytes are in use");
  }
  std::optional<Spot> spot = take_kept(*books, pages, step);
  if (!spot) spot = take_free(*books, pages, step);
  if (!spot && !books->ready.empty()) {
    for (const Spot& kept : books->ready) give_back(*books, kept.pages);
    books->ready.clear();
    spot = take_free(*books, pages, step);
  }
  if (!spot) return Status(Code::kOverQuota, "device memory is too fragmented");
  const std::uint64_t start = spot->inside.base;
  if (!spot->open && ::mprotect(at(start), pages, PROT_READ | PROT_WRITE) != 0) {
    const Status failed = Status::system("open device memory");
    give_back(*books, spot->pages);
    return failed;
  }
  books->ranges[start] = Range{start, bytes};
  books->pages[start] = spot->pages;
  books->used += pages;
  if (Checker* const checker = active_checker()) checker->watch().note_allocated(start, bytes);
  return start;
}

std::optional<Memory::Spot> Memory::take_kept(Books& books, std::uint64_t pages,
                                              std::uint64_t step) {
  for (Spot& kept : books.ready) {
    if (kept.inside.bytes != pages || kept.inside.base % step != 0) continue;
    const Spot spot = kept;
    kept = books.ready.back();
    books.ready.pop_back();
    return spot;
  }
  return std::nullopt;
}

std::optional<Memory::Spot> Memory::take_free(Books& books, std::uint64_t pages,
                                              std::uint64_t step) {
  for (const auto& [base, room] : books.free) {
    const std::uint64_t start = round_up(base, step);
    const Range taken{base, start - base + pages + kPage};
    if (room < taken.bytes) continue;
    const std::uint64_t left = room - taken.bytes;
    books.free.erase(taken.base);
    if (left != 0) books.free[taken.base + taken.bytes] = left;
    return Spot{taken, Range{start, pages}, false};
  }
  return std::nullopt;
}

Status Memory::release(std::uint64_t base) {
  Spot spot{};
  {
    auto books = books_.lock();
    const auto found = books->pages.find(base);
    if (found == books->pages.end()) {
      return Status(Code::kNotFound, "no device allocation starts at that address");
    }
    spot.open = true;
    spot.pages = found->second;
    spot.inside = Range{base, round_up(books->ranges[base].bytes, kPage)};
    books->used -= spot.inside.bytes;
    if (Checker* const checker = active_checker()) checker->watch().note_freed(base);
    books->ranges.erase(base);
    books->pages.erase(found);
  }
  // Nobody else knows it any more; much memory takes long, and nobody waits for the books
  // meanwhile.
  if (wipes_freed()) wipe_present(spot.inside.base, spot.inside.bytes);
  auto books = books_.lock();
  books->doomed.push_back(Doomed{spot, books->next_ticket});
  bury(*books);
  return ok();
}

// Takes away the pages that no running launch can still touch.
void Memory::bury(Books& books) {
  const std::uint64_t oldest = books.pins.empty() ? books.next_ticket : *books.pins.begin();
  std::size_t kept = 0;
  for (const Doomed& doomed : books.doomed) {
    if (oldest < doomed.ticket) {
      books.doomed[kept++] = doomed;
    } else {
      keep_or_give_back(books, doomed.spot);
    }
  }
  books.doomed.resize(kept);
}

void Memory::keep_or_give_back(Books& books, const Spot& spot) {
  if (Checker* const checker = active_checker()) {
    close_pages(spot.pages);
    for (const auto& [base, bytes] :
         checker->watch().hold_back(spot.pages.base, spot.pages.bytes)) {
      give_back(books, Range{base, bytes});
    }
    return;
  }
  if (spot.inside.bytes > kKeptBytesMax || books.ready.size() == kKeptMax) {
    return give_back(books, spot.pages);
  }
  std::memset(at(spot.inside.base), 0, spot.inside.bytes);
  books.ready.push_back(spot);
}

void Memory::give_back(Books& books, Range pages) {
  close_pages(pages);
  auto next = books.free.upper_bound(pages.base);
  if (next != books.free.end() && pages.base + pages.bytes == next->first) {
    pages.bytes += next->second;
    next = books.free.erase(next);
  }
  if (next != books.free.begin()) {
    const auto before = std::prev(next);
    if (before->first + before->second == pages.base) {
      before->second += pages.bytes;
      return;
    }
  }
  books.free[pages.base] = pages.bytes;
}

Status Memory::map(void* base, std::size_t bytes, bool for_this_device) {
  const std::uint64_t start = reinterpret_cast<std::uint64_t>(base);
  auto books = books_.lock();
  const auto next = books->ranges.lower_bound(start);
  const bool over_next = next != books->ranges.end() && next->first < start + bytes;
  const bool over_last = next != books->ranges.begin() &&
                         std::prev(next)->second.base + std::prev(next)->second.bytes > start;
  if (bytes == 0 || over_next || over_last) {
    return Status(Code::kBusy, "host memory overlaps memory the device knows");
  }
  books->ranges[start] = Range{start, bytes};
  if (for_this_device) books->for_this_device.insert(start);
  return ok();
}

void Memory::unmap_host(void* base) {
  const std::uint64_t start = reinterpret_cast<std::uint64_t>(base);
  auto books = books_.lock();
  if (books->pages.find(start) == books->pages.end()) books->ranges.erase(start);
  books->for_this_device.erase(start);
}

void Memory::allow(const Memory& neighbour) { ++(*allowed_.lock())[&neighbour]; }

void Memory::deny(const Memory& neighbour) {
  auto allowed = allowed_.lock();
  const auto known = allowed->find(&neighbour);
  if (known != allowed->end() && --known->second == 0) allowed->erase(known);
}

std::optional<Memory::Range> Memory::find(std::uint64_t address) const {
  if (std::optional<Range> own = find_own(address)) return own;
  if (neighbours_.empty()) return std::nullopt;
  auto allowed = allowed_.lock();
  for (const Memory* neighbour : neighbours_) {
    const Who who = allowed->contains(neighbour) ? Who::kPeer : Who::kStranger;
    if (std::optional<Range> theirs = neighbour->find_here(address, who)) return theirs;
  }
  return std::nullopt;
}

std::optional<Memory::Range> Memory::find_here(std::uint64_t address, Who who) const {
  auto books = books_.lock();
  auto next = books->ranges.upper_bound(address);
  if (next == books->ranges.begin()) return std::nullopt;
  const Range& range = std::prev(next)->second;
  if (address - range.base >= range.bytes) return std::nullopt;
  if (who == Who::kStranger && books->pages.contains(range.base)) return std::nullopt;
  if (who != Who::kSelf && books->for_this_device.contains(range.base)) return std::nullopt;
  return range;
}

bool Memory::contains(std::uint64_t address, std::size_t bytes) const {
  // Mappings of virtual memory may lie side by side and count as one.
  for (;;) {
    const std::optional<Range> range = find(address);
    if (!range) return false;
    const std::uint64_t here = range->bytes - (address - range->base);
    if (bytes <= here) return true;
    address += here;
    bytes -= here;
  }
}

bool Memory::claim(std::size_t bytes) {
  auto books = books_.lock();
  if (bytes > limit_ - books->used) return false;
  books->used += bytes;
  return true;
}

void Memory::unclaim(std::size_t bytes) { books_.lock()->used -= bytes; }

std::size_t Memory::used() const { return books_.lock()->used; }

Memory::Pin::Pin(Memory& memory) {
  const auto pin = [this](Memory& one) {
    auto books = one.books_.lock();
    held_.push_back({&one, books->next_ticket++});
    books->pins.insert(held_.back().ticket);
  };
  pin(memory);
  for (Memory* neighbour : memory.neighbours_) pin(*neighbour);
}

Memory::Pin::~Pin() {
  for (const Held& held : held_) {
    auto books = held.memory->books_.lock();
    books->pins.erase(held.ticket);
    bury(*books);
  }
}

}  // namespace farcall::softgpu
