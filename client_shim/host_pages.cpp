#include "client_shim/host_pages.h"

#include <sys/mman.h>

#include <atomic>
#include <cinttypes>
#include <cstdio>
#include <cstring>
#include <memory>

#include "client_shim/chosen_address.h"
#include "client_shim/mirror_memory.h"
#include "transport/base/log.h"

namespace farcall::shim {
namespace {

// Above what AddressSanitizer and ThreadSanitizer keep, below the software GPU's memory.
constexpr std::uint64_t kFirst = 0x1100'0000'0000;
constexpr std::uint64_t kEnd = 0x1f00'0000'0000;
constexpr std::size_t kStep = kDeviceStepBytes;

void* map(std::uint64_t wish, std::size_t bytes, int protection) {
  void* at =
      ::mmap(reinterpret_cast<void*>(wish), bytes, protection, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  return at == MAP_FAILED ? nullptr : at;
}

// Addresses are used once, as long as there are fresh ones.
std::uint64_t next_wish(std::size_t bytes) {
  static std::atomic<std::uint64_t> next{kFirst};
  const std::size_t steps = whole_steps(bytes);
  const std::uint64_t wish = next.fetch_add(steps, std::memory_order_relaxed);
  if (steps > kEnd - kFirst || wish < kFirst) return 0;
  if (wish <= kEnd - steps) return wish;
  next.store(kFirst, std::memory_order_relaxed);
  return 0;
}

// Anywhere, at the start of a step.
void* map_aligned(std::size_t bytes) {
  const std::size_t room = bytes + kStep;
  void* got = room < bytes ? nullptr : map(0, room, PROT_NONE);
  if (got == nullptr) return nullptr;
  const auto start = reinterpret_cast<std::uint64_t>(got);
  const std::uint64_t first = (start + kStep - 1) / kStep * kStep;
  if (first != start) ::munmap(got, first - start);
  ::munmap(reinterpret_cast<void*>(first + bytes), start + room - (first + bytes));
  void* at = reinterpret_cast<void*>(first);
  if (::mprotect(at, bytes, PROT_READ | PROT_WRITE) == 0) return at;
  ::munmap(at, bytes);
  return nullptr;
}

std::atomic<std::size_t> g_small{0};  // small blocks that are alone in their steps

bool is_small_and_alone(const void* at, std::size_t pages) {
  const auto address = reinterpret_cast<std::uint64_t>(at);
  return pages < kSmallBlockBytes && address >= kFirst && address < kEnd;
}

void* map_alone(std::size_t pages) {
  if (const std::uint64_t wish = next_wish(pages); wish != 0) {
    void* at = map(wish, pages, PROT_READ | PROT_WRITE);
    if (at == reinterpret_cast<void*>(wish)) return at;
    if (at != nullptr) ::munmap(at, pages);
  }
  return map_aligned(pages);
}

struct Mapping {
  std::uint64_t first = 0, end = 0;
  char rights[5] = "";
  bool is_plain = false;
};

// Calls `each` with the mappings of this process from below, until it says false.
template <class Each>
void for_each_mapping(Each each) {
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> maps(std::fopen("/proc/self/maps", "re"),
                                                             std::fclose);
  if (maps == nullptr) return;
  char line[512];
  while (std::fgets(line, sizeof line, maps.get()) != nullptr) {
    Mapping one;
    std::uint64_t file = 0;
    int name = 0;
    const int read = std::sscanf(line, "%" SCNx64 "-%" SCNx64 " %4s %*x %*s %" SCNu64 " %n",
                                 &one.first, &one.end, one.rights, &file, &name);
    // The rest of a line that is longer than any path we care for.
    for (std::size_t end = std::strlen(line); end > 0 && line[end - 1] != '\n';) {
      char more[512];
      if (std::fgets(more, sizeof more, maps.get()) == nullptr) break;
      end = std::strlen(more);
      if (more[end - 1] == '\n') break;
    }
    if (read != 4) continue;
    const bool is_stack = std::strncmp(line + name, "[stack", 6) == 0;
    one.is_plain = file == 0 && !is_stack && std::strcmp(one.rights, "rw-p") == 0;
    if (!each(one)) return;
  }
}

}  // namespace

void* take_host_pages(std::size_t bytes) {
  const std::size_t pages = whole_pages(bytes);
  if (pages < bytes) return nullptr;
  if (pages >= kSmallBlockBytes) return map_alone(pages);
  if (g_small.load(std::memory_order_relaxed) >= kSmallBlocksMax) {
    static std::atomic_flag said;
    if (!said.test_and_set()) {
      FARCALL_LOG_WARN(
          "more than %zu small blocks of page-locked memory: a kernel can have further "
          "ones by cuMemHostGetDevicePointer only",
          kSmallBlocksMax);
    }
    return map(0, pages, PROT_READ | PROT_WRITE);
  }
  void* at = map_alone(pages);
  if (is_small_and_alone(at, pages)) g_small.fetch_add(1, std::memory_order_relaxed);
  return at;
}

void give_back_host_pages(void* at, std::size_t bytes) {
  ::munmap(at, whole_pages(bytes));
  forget_host_pages(at, bytes);
}

void forget_host_pages(const void* at, std::size_t bytes) {
  if (is_small_and_alone(at, whole_pages(bytes))) g_small.fetch_sub(1, std::memory_order_relaxed);
}

bool may_touch(std::uint64_t address, bool is_write) {
  bool may = false;
  for_each_mapping([&](const Mapping& one) {
    if (one.end <= address) return true;
    may = one.first <= address && one.rights[is_write ? 1 : 0] == (is_write ? 'w' : 'r');
    return false;
  });
  return may;
}

bool is_plain_memory(std::uint64_t address, std::size_t bytes) {
  std::uint64_t reached = address;
  const std::uint64_t end = address + bytes;
  for_each_mapping([&](const Mapping& one) {
    if (one.end <= reached) return true;
    if (one.first > reached || !one.is_plain) return false;
    reached = one.end;
    return reached < end;
  });
  return reached >= end;
}

}  // namespace farcall::shim
