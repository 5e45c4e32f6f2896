#include "gpu_server/check_memory.h"

#include <sys/utsname.h>

#include <cstdio>
#include <string>

#include "gpu_server/kernel_text.h"
#include "transport/base/key_memory.h"

namespace farcall::server {
namespace {

// Empty when it cannot be read.
std::string kernel_config() {
  utsname kernel{};
  if (::uname(&kernel) != 0) return {};
  return kernel_text(std::string("/boot/config-") + kernel.release);
}

bool is_swap_on() {
  const std::string swaps = kernel_text("/proc/swaps");
  const std::size_t head = swaps.find('\n');
  return head != std::string::npos && head + 1 < swaps.size();
}

void say(const char* what, bool holds, const char* meaning) {
  std::printf("%-12s %s  %s\n", what, holds ? "ok     " : "missing", meaning);
}

}  // namespace

bool clears_freed_pages(std::string_view command_line, std::string_view config) {
  bool clears = config.find("CONFIG_INIT_ON_FREE_DEFAULT_ON=y") != std::string_view::npos;
  constexpr std::string_view kWord = "init_on_free=";
  while (!command_line.empty()) {
    const std::size_t end = command_line.find_first_of(" \n");
    const std::string_view word = command_line.substr(0, end);
    if (word.starts_with(kWord)) {
      const std::string_view value = word.substr(kWord.size());
      clears = value == "1" || value == "on" || value == "y";
    }
    if (end == std::string_view::npos) break;
    command_line.remove_prefix(end + 1);
  }
  return clears;
}

void print_memory() {
  const bool clears = clears_freed_pages(kernel_text("/proc/cmdline"), kernel_config());
  say("freed pages", clears,
      clears ? "the kernel clears them: nothing is left of a worker that is killed"
             : "the kernel does not clear them: what a worker held that is killed or crashes stays "
               "in this machine's memory until it is used again. Start it with init_on_free=1");
  const Status secret = try_secret_memory();
  const std::string without =
      "keys can be read by whoever may look into this server's processes; " + secret.text();
  say("keys", secret.ok(),
      secret.ok() ? "in memory that nobody else reads, the kernel included (memfd_secret)"
                  : without.c_str());
  const bool swap = is_swap_on();
  say("no swap", !swap,
      swap ? "tenants' memory beyond the locked part can get to the disk: swapoff -a, or encrypt it"
           : "tenants' memory cannot get to the disk");
}

}  // namespace farcall::server
