#include "gpu_server/software_gpu/checks.h"

#include <unistd.h>

#include <cinttypes>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>

#include "transport/base/guarded.h"

namespace farcall::softgpu {
namespace {

pid_t g_owner = 0;  // a child of fork says nothing
int g_exit_code = 0;

// What programs hold, for leaks. For ever, as the driver is.
Guarded<std::map<std::uint64_t, Allocation>>& given() {
  static auto* const all = new Guarded<std::map<std::uint64_t, Allocation>>;
  return *all;
}

void tell(std::string_view text) {
  while (!text.empty()) {
    const ssize_t done = ::write(STDERR_FILENO, text.data(), text.size());
    if (done <= 0) return;
    text.remove_prefix(static_cast<std::size_t>(done));
  }
}

int exit_code_of(const char* text) {
  if (text == nullptr) return 0;
  char* end = nullptr;
  const long code = std::strtol(text, &end, 10);
  return end != text && *end == 0 && code >= 1 && code <= 255 ? static_cast<int>(code) : 0;
}

// Behind the program's own exit handlers and static objects, which still use the driver. What is
// behind us are libraries that nothing of the program uses any more.
[[gnu::destructor]] void end_checks() {
  Checker* const checker = active_checker();
  if (checker == nullptr || ::getpid() != g_owner) return;
  if (checker->options().leak) {
    const auto left = *given().lock();
    for (const auto& [base, allocation] : left) note_left(allocation);
  }
  checker->tell_summary();
  if (g_exit_code == 0 || checker->problems() == 0) return;
  std::fflush(nullptr);
  ::_exit(g_exit_code);
}

}  // namespace

void start_checks(char* (*lookup)(const char* name)) {
  const CheckOptions options = CheckOptions::parse(lookup("FARCALL_SOFTGPU_CHECK"));
  if (!options.any()) return;
  g_owner = ::getpid();
  g_exit_code = exit_code_of(lookup("FARCALL_SOFTGPU_CHECK_EXIT"));
  set_active_checker(new Checker(options, tell));  // for ever: kernels may run while we end
}

void note_written(std::uint64_t address, std::uint64_t bytes) {
  if (Checker* const checker = active_checker()) checker->watch().note_written(address, bytes);
}

void note_copied(std::uint64_t to, std::uint64_t from, std::uint64_t bytes) {
  Checker* const checker = active_checker();
  if (checker == nullptr) return;
  std::uint8_t* const target = checker->watch().marks(to, bytes);
  if (target == nullptr) return;
  const std::uint8_t* const source = checker->watch().marks(from, bytes);
  if (source == nullptr) {
    std::memset(target, 1, bytes);
  } else {
    std::memmove(target, source, bytes);
  }
}

void note_given(const Allocation& allocation) {
  if (active_checker() == nullptr) return;
  given().lock()->emplace(allocation.base, allocation);
  // Managed memory is written by the host too, arrays by surfaces: nobody watches these.
  if (allocation.kind == MemoryKind::kManaged || allocation.kind == MemoryKind::kArray) {
    note_written(allocation.base, allocation.bytes);
  }
}

void note_taken_back(const Allocation& allocation) {
  if (active_checker() != nullptr) given().lock()->erase(allocation.base);
}

void note_left(const Allocation& allocation) {
  Checker* const checker = active_checker();
  if (checker == nullptr || !checker->options().leak || allocation.is_host()) return;
  if (!checker->is_new(Checker::Mistake::kLeak, reinterpret_cast<const void*>(allocation.base))) {
    return;
  }
  const char* const made_by = allocation.kind == MemoryKind::kPooled    ? "cuMemAllocAsync"
                              : allocation.kind == MemoryKind::kManaged ? "cuMemAllocManaged"
                              : allocation.kind == MemoryKind::kArray   ? "cuArrayCreate"
                                                                        : "cuMemAlloc";
  char line[128];
  std::snprintf(line, sizeof line, "%" PRIu64 " bytes at 0x%" PRIx64 ", from %s", allocation.bytes,
                allocation.base, made_by);
  checker->report({"leak: device memory that was never freed", "", {line}});
}

}  // namespace farcall::softgpu
