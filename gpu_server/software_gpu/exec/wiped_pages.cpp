#include "gpu_server/software_gpu/exec/wiped_pages.h"

#include <sys/mman.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstring>

#include "transport/base/log.h"
#include "transport/base/secure_arena.h"

namespace farcall::softgpu {
namespace {

constexpr std::uint64_t kPage = 4096;
constexpr std::uint64_t kPagesAtOnce = 4096;

std::atomic<bool> g_wipes_freed{false};

void* at(std::uint64_t address) { return reinterpret_cast<void*>(address); }

}  // namespace

bool wipes_freed() { return g_wipes_freed.load(std::memory_order_relaxed); }

void set_wipes_freed(bool on) { g_wipes_freed.store(on, std::memory_order_relaxed); }

void wipe_present(std::uint64_t base, std::uint64_t bytes) {
  std::array<unsigned char, kPagesAtOnce> present;
  const std::uint64_t end = base + (bytes + kPage - 1) / kPage * kPage;
  while (base < end) {
    const std::uint64_t pages = std::min((end - base) / kPage, kPagesAtOnce);
    if (::mincore(at(base), pages * kPage, present.data()) != 0) present.fill(1);
    for (std::uint64_t page = 0; page < pages;) {
      std::uint64_t last = page;
      while (last < pages && (present[last] & 1) != 0) ++last;
      wipe(at(base + page * kPage), (last - page) * kPage);
      page = last + 1;
    }
    base += pages * kPage;
  }
}

void wipe_file(int file, std::uint64_t bytes) {
  void* here = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  if (here == MAP_FAILED) {
    FARCALL_LOG_WARN("cannot map %llu bytes of freed device memory to overwrite them",
                     static_cast<unsigned long long>(bytes));
    return;
  }
  wipe_present(reinterpret_cast<std::uint64_t>(here), bytes);
  ::munmap(here, bytes);
}

}  // namespace farcall::softgpu
