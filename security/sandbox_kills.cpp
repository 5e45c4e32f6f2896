#include "security/sandbox_kills.h"

#include <fcntl.h>
#include <seccomp.h>
#include <unistd.h>

#include <array>
#include <charconv>
#include <cstdlib>
#include <optional>

#include "transport/base/unique.h"

namespace farcall::security {
namespace {

// The kernel's log is a ring; this many of its lines are looked at.
constexpr int kLinesMax = 20'000;
constexpr std::string_view kArchitecture = " arch=c000003e ";  // AUDIT_ARCH_X86_64
constexpr std::string_view kSeccompRecord = " type=1326 ";

std::optional<int> number_after(std::string_view line, std::string_view name) {
  const std::size_t at = line.find(name);
  if (at == line.npos) return std::nullopt;
  const std::string_view rest = line.substr(at + name.size());
  int number = 0;
  const auto read = std::from_chars(rest.data(), rest.data() + rest.size(), number);
  if (read.ec != std::errc{}) return std::nullopt;
  return number;
}

}  // namespace

std::string killing_call_of(std::string_view line, pid_t pid) {
  if (line.find(kSeccompRecord) == line.npos || number_after(line, " pid=") != pid) return "";
  const std::optional<int> number = number_after(line, " syscall=");
  if (!number) return "";
  if (line.find(kArchitecture) == line.npos) return "a call of another kind of processor";
  char* name = ::seccomp_syscall_resolve_num_arch(SCMP_ARCH_NATIVE, *number);
  std::string text = name != nullptr ? name : "system call " + std::to_string(*number);
  std::free(name);
  return text;
}

std::string killing_call(pid_t pid) {
  Fd log(::open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC));
  std::string call;
  if (!log) return call;
  std::array<char, 8192> line;
  for (int lines = 0; lines < kLinesMax; ++lines) {
    const ssize_t got = ::read(log.get(), line.data(), line.size());
    if (got < 0 && (errno == EINTR || errno == EPIPE)) continue;  // EPIPE: overwritten meanwhile
    if (got <= 0) break;
    std::string found =
        killing_call_of(std::string_view(line.data(), static_cast<std::size_t>(got)), pid);
    if (!found.empty()) call = std::move(found);  // the last: numbers of processes come again
  }
  return call;
}

}  // namespace farcall::security
