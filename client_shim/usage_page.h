// UsagePage: how much of each device's memory this process holds, told to others of the same user.
//
//   UsagePage page;                              // counts for nobody
//   page.show("gpu1:7717", snapshot.devices);    // from here on it can be read
//   page.add(0, bytes);
//   page.subtract(0, bytes);
//
// nvidia-smi in one terminal shows what a program in another one holds, and CUDA has no call for
// that. So each process with a session keeps one page of figures in a memfd, which readers find
// under /proc (nvml/usage_reader.h). It is gone when the process is, however that ends; the kernel
// lets only the same user, or root, open it; there is no tenant's data in it. It is sealed, because
// a file that somebody cuts short would end this process with SIGBUS.
// Owner: Allocations.  Threads: any once shown.  Never fails loudly: without a memfd nobody sees
// it.
#pragma once
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include "client_shim/snapshot.h"
#include "transport/base/limits.h"
#include "transport/base/unique.h"

namespace farcall::shim {

inline constexpr char kUsageFile[] = "farcall-usage";                // the memfd's name
inline constexpr std::size_t kUsageBytes = 4096;                     // its size: one page
inline constexpr std::uint64_t kUsageMagic = 0x3145'4741'5355'4346;  // "FCUSAGE1"

// What the page holds. Its owner writes, everybody else reads.
struct UsageFigures {
  std::uint64_t magic;  // kUsageMagic, once all the rest stands
  std::uint32_t pid;    // the owner, by the number it has for itself
  std::uint32_t device_count;
  char server[128];  // places_of() in settings.h, ends with NUL
  struct Device {
    std::uint8_t uuid[16];
    std::uint64_t bytes;
  } devices[limits::kDevicesMax];
};
static_assert(sizeof(UsageFigures) <= kUsageBytes);

class UsagePage {
 public:
  UsagePage() = default;
  ~UsagePage();
  UsagePage(const UsagePage&) = delete;
  UsagePage& operator=(const UsagePage&) = delete;

  // Once, before any add.
  void show(std::string_view server, const std::vector<Device>& devices);
  void add(int ordinal, std::uint64_t bytes);
  void subtract(int ordinal, std::uint64_t bytes);

  // In the child of a fork: the figures are the parent's, so the child does not offer them.
  void abandon_in_child() { file_.reset(); }

 private:
  std::uint64_t* bytes_of(int ordinal);
  Fd file_;
  UsageFigures* figures_ = nullptr;
};

}  // namespace farcall::shim
