// Landlock: which paths can still be opened, and that no connection can be made.
//
// The kernel's header of Debian 12 ends with version 2, so later rights are named here.
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "security/sandbox_layers.h"

namespace farcall::security {
namespace {

// Source: include/uapi/linux/landlock.h of Linux 6.12.
struct Ruleset {
  std::uint64_t fs;
  std::uint64_t net;     // from version 4
  std::uint64_t scoped;  // from version 6
};
struct __attribute__((packed)) PathRule {
  std::uint64_t allowed;
  std::int32_t folder;
};
constexpr int kPathBeneath = 1;
constexpr std::uint32_t kAskVersion = 1;

constexpr std::uint64_t kExecute = 1 << 0;
constexpr std::uint64_t kWriteFile = 1 << 1;
constexpr std::uint64_t kReadFile = 1 << 2;
constexpr std::uint64_t kReadFolder = 1 << 3;
constexpr std::uint64_t kRemoveFile = 1 << 5;
constexpr std::uint64_t kMakeFile = 1 << 8;
constexpr std::uint64_t kTruncate = 1 << 14;
constexpr std::uint64_t kIoctl = 1 << 15;

constexpr std::uint64_t kOfFiles = kExecute | kWriteFile | kReadFile | kTruncate | kIoctl;
constexpr std::uint64_t kOfImages =
    kWriteFile | kReadFile | kReadFolder | kRemoveFile | kMakeFile | kTruncate;
constexpr std::uint64_t kOfDevices = kWriteFile | kReadFile | kReadFolder | kTruncate | kIoctl;
constexpr std::uint64_t kOfLibraries = kReadFile | kReadFolder | kExecute;

constexpr std::uint64_t kBindTcp = 1 << 0;
constexpr std::uint64_t kConnectTcp = 1 << 1;
constexpr std::uint64_t kAbstractSockets = 1 << 0;
constexpr std::uint64_t kSignals = 1 << 1;

// Version 7 has, of what can be forbidden, what version 6 has.
constexpr long kVersionOfAll = 6;

std::uint64_t file_rights(long version) {
  if (version >= 5) return (kIoctl << 1) - 1;
  if (version >= 3) return (kTruncate << 1) - 1;
  return version == 2 ? (1 << 14) - 1 : (1 << 13) - 1;
}

Status allow(int ruleset, int place, std::uint64_t rights) {
  struct stat facts {};
  if (::fstat(place, &facts) != 0) return Status::system("look at a path to allow");
  if (!S_ISDIR(facts.st_mode)) rights &= kOfFiles;
  const PathRule rule{rights, place};
  if (::syscall(SYS_landlock_add_rule, ruleset, kPathBeneath, &rule, 0U) != 0) {
    return Status::system("allow a path");
  }
  return ok();
}

Status allow_kept(int ruleset, const SandboxPlan& plan, std::uint64_t all) {
  struct stat facts {};
  // A folder that could not be kept has become something else.
  if (plan.folder >= 0 && ::fstat(plan.folder, &facts) == 0 && S_ISDIR(facts.st_mode)) {
    FARCALL_TRY(allow(ruleset, plan.folder, kOfImages & all));
  }
  std::vector<KeptPath> kept = kept_paths(plan.profile);
  if (plan.profile == SandboxProfile::kNvidia) kept.push_back({"/proc", false});
  for (const KeptPath& each : kept) {
    Fd place(::open(each.path.c_str(), O_PATH | O_CLOEXEC));
    if (!place) return Status::system("open " + each.path);
    FARCALL_TRY(allow(ruleset, place.get(), (each.device ? kOfDevices : kOfLibraries) & all));
  }
  return ok();
}

}  // namespace

Status take_paths(const SandboxPlan& plan) {
  const long version = ::syscall(SYS_landlock_create_ruleset, nullptr, 0, kAskVersion);
  if (version < 1) return Status::system("this kernel has no Landlock");
  Ruleset rules{file_rights(version), 0, 0};
  std::size_t size = sizeof rules.fs;
  if (version >= 4 && plan.profile != SandboxProfile::kRdma) {
    rules.net = kBindTcp | kConnectTcp;
    size = 2 * sizeof rules.fs;
  }
  if (version >= 6) {
    rules.scoped = kAbstractSockets | kSignals;
    size = sizeof rules;
  }
  Fd ruleset(static_cast<int>(::syscall(SYS_landlock_create_ruleset, &rules, size, 0U)));
  if (!ruleset) return Status::system("make rules");
  FARCALL_TRY(allow_kept(ruleset.get(), plan, rules.fs));
  if (::syscall(SYS_landlock_restrict_self, ruleset.get(), 0U) != 0) {
    return Status::system("take the rules on");
  }
  if (version >= kVersionOfAll) return ok();
  return Status(Code::kUnsupported, "this kernel's Landlock (version " + std::to_string(version) +
                                        ") knows files" + (version >= 4 ? ", TCP" : "") +
                                        (version >= 5 ? ", devices" : "") + ", not all of it");
}

}  // namespace farcall::security
