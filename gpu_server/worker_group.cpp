#include "gpu_server/worker_group.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <filesystem>
#include <sstream>
#include <utility>
#include <vector>

#include "gpu_server/kernel_text.h"
#include "gpu_server/lease_limits.h"
#include "transport/base/unique.h"

namespace farcall::server {
namespace {

constexpr std::string_view kWorker = "farcall-worker-";
constexpr std::string_view kServer = "farcall-server-";
constexpr unsigned kCpuPeriodUs = 100'000;  // the kernel's own
constexpr const char* kAdvice =
    ": give the server a control group of its own to divide, as a systemd service with "
    "Delegate=yes (or systemd-run --scope -p Delegate=yes farcall-server …)";

// Empty when it cannot be read.
// In one call, which is what the kernel takes for one value.
Status write_value(const std::string& path, const std::string& value) {
  const Fd file(::open(path.c_str(), O_WRONLY | O_CLOEXEC));
  if (!file || ::write(file.get(), value.data(), value.size()) < 0) {
    return Status::system("write " + value + " to " + path);
  }
  return ok();
}

std::vector<std::string> words_of(const std::string& text) {
  std::istringstream in(text);
  return {std::istream_iterator<std::string>(in), std::istream_iterator<std::string>()};
}

Status unsupported(const Status& why) { return {Code::kUnsupported, why.text() + kAdvice}; }

std::vector<std::string> controllers_for(const WorkerLimits& limits) {
  std::vector<std::string> all;
  if (limits.memory_bytes != 0) all.emplace_back("memory");
  if (limits.threads_max != 0) all.emplace_back("pids");
  if (limits.cpu_percent != 0) all.emplace_back("cpu");
  return all;
}

// Of "farcall-worker-123-4" 123; 0 for anything else.
pid_t server_in(std::string_view name) {
  for (const std::string_view prefix : {kWorker, kServer}) {
    if (!name.starts_with(prefix)) continue;
    pid_t pid = 0;
    std::from_chars(name.data() + prefix.size(), name.data() + name.size(), pid);
    return pid;
  }
  return 0;
}

// Of servers that are no more. What still holds a process stays. Controllers that the last of them
// left switched on would keep this one from going to a group beside its workers'.
void remove_leftovers(const std::string& own) {
  std::error_code none;
  bool is_shared = false;
  for (const auto& entry : std::filesystem::directory_iterator(own, none)) {
    const pid_t server = server_in(entry.path().filename().string());
    if (server <= 0) continue;
    const bool is_gone = ::kill(server, 0) != 0 && errno == ESRCH;
    if (!is_gone || ::rmdir(entry.path().c_str()) != 0) is_shared = true;
  }
  std::string off;
  for (const std::string& each : words_of(kernel_text(own + "/cgroup.subtree_control"))) {
    off += (off.empty() ? "-" : " -") + each;
  }
  if (is_shared || off.empty()) return;
  static_cast<void>(write_value(own + "/cgroup.subtree_control", off));
}

// The number behind a word in a file of "word number" lines.
std::uint64_t count_in(const std::string& path, const std::string& word) {
  const std::vector<std::string> words = words_of(kernel_text(path));
  const auto at = std::find(words.begin(), words.end(), word);
  std::uint64_t count = 0;
  if (at == words.end() || at + 1 == words.end()) return 0;
  std::from_chars(at[1].data(), at[1].data() + at[1].size(), count);
  return count;
}

}  // namespace

Result<std::string> own_group_in(std::string_view groups, std::string_view mounts) {
  const Status none(Code::kUnsupported, "this host has no control groups of version 2 mounted");
  std::string path, line;
  std::istringstream in{std::string(groups)};
  while (std::getline(in, line)) {
    if (line.starts_with("0::")) path = line.substr(3);
  }
  if (!path.starts_with("/")) return none;
  std::istringstream lines{std::string(mounts)};
  while (std::getline(lines, line)) {
    // number parent device root place options … - kind source options
    const std::vector<std::string> words = words_of(line);
    const auto dash = std::find(words.begin(), words.end(), "-");
    if (words.size() < 6 || dash == words.end() || dash + 1 == words.end()) continue;
    if (dash[1] != "cgroup2") continue;
    const std::string& root = words[3];
    if (root != "/" && path.starts_with(root)) path.erase(0, root.size());
    std::string folder = words[4] + path;
    while (folder.ends_with('/')) folder.pop_back();
    return folder;
  }
  return none;
}

WorkerGroup::WorkerGroup(WorkerGroup&& other) noexcept
    : folder_(std::exchange(other.folder_, {})), limits_(other.limits_) {}

WorkerGroup::~WorkerGroup() {
  if (folder_.empty() || ::rmdir(folder_.c_str()) == 0) return;
  // Somebody is still in it, whose end was forgotten.
  static_cast<void>(write_value(folder_ + "/cgroup.kill", "1"));
  ::rmdir(folder_.c_str());
}

std::string WorkerGroup::excess() const {
  if (count_in(folder_ + "/memory.events", "oom_kill") != 0) {
    return "it took more than its " + bytes_text(limits_.memory_bytes) +
           " of host memory (--limits-per-worker memory)";
  }
  if (count_in(folder_ + "/pids.events", "max") != 0) {
    return "it wanted more than its " + std::to_string(limits_.threads_max) +
           " threads (--limits-per-worker threads)";
  }
  return "";
}

Result<std::unique_ptr<WorkerGroups>> WorkerGroups::open(const WorkerLimits& limits,
                                                         const std::string& own) {
  std::unique_ptr<WorkerGroups> groups(new WorkerGroups(limits, own));
  const std::string there = kernel_text(own + "/cgroup.controllers");
  const std::vector<std::string> known = words_of(there);
  std::string wanted;
  for (const std::string& each : controllers_for(limits)) {
    if (std::find(known.begin(), known.end(), each) == known.end()) {
      return unsupported({Code::kUnsupported,
                          "control group " + own + " has no controller \"" + each + "\" (it has: " +
                              (known.empty() ? "none" : there.substr(0, there.find('\n'))) + ")"});
    }
    wanted += (wanted.empty() ? "+" : " +") + each;
  }
  remove_leftovers(own);
  if (Status moved = groups->move_aside(); !moved.ok()) return unsupported(moved);
  Status on = write_value(own + "/cgroup.subtree_control", wanted);
  if (!on.ok()) return unsupported(on);
  groups->switched_on_ = wanted;
  return groups;
}

Result<std::unique_ptr<WorkerGroups>> WorkerGroups::open_here(const WorkerLimits& limits) {
  Result<std::string> own =
      own_group_in(kernel_text("/proc/self/cgroup"), kernel_text("/proc/self/mountinfo"));
  if (!own.ok()) return own.status();
  return open(limits, own.value());
}

// Only the root of all groups, which has no type, may hold processes and groups with limits.
Status WorkerGroups::move_aside() {
  if (::access((own_ + "/cgroup.type").c_str(), F_OK) != 0) return ok();
  const std::string aside = own_ + "/" + std::string(kServer) + std::to_string(::getpid());
  if (::mkdir(aside.c_str(), 0755) != 0 && errno != EEXIST) return Status::system("make " + aside);
  Status moved = write_value(aside + "/cgroup.procs", "0");
  if (moved.ok()) {
    aside_ = aside;
  } else {
    ::rmdir(aside.c_str());
  }
  return moved;
}

WorkerGroups::~WorkerGroups() {
  if (aside_.empty()) return;
  std::string off = switched_on_;
  std::replace(off.begin(), off.end(), '+', '-');
  if (!off.empty()) static_cast<void>(write_value(own_ + "/cgroup.subtree_control", off));
  static_cast<void>(write_value(own_ + "/cgroup.procs", "0"));
  ::rmdir(aside_.c_str());
}

Result<WorkerGroup> WorkerGroups::make() {
  const std::string folder = own_ + "/" + std::string(kWorker) + std::to_string(::getpid()) + "-" +
                             std::to_string(++made_);
  if (::mkdir(folder.c_str(), 0755) != 0 && errno != EEXIST) {
    return Status::system("make " + folder);
  }
  WorkerGroup group(folder, limits_);
  if (limits_.memory_bytes != 0) {
    FARCALL_TRY(write_value(folder + "/memory.max", std::to_string(limits_.memory_bytes)));
    // A tenant's bytes never reach the disk; there is no such file where there is no swap.
    static_cast<void>(write_value(folder + "/memory.swap.max", "0"));
  }
  if (limits_.threads_max != 0) {
    FARCALL_TRY(write_value(folder + "/pids.max", std::to_string(limits_.threads_max)));
  }
  if (limits_.cpu_percent != 0) {
    const auto quota = std::uint64_t{limits_.cpu_percent} * kCpuPeriodUs / 100;
    FARCALL_TRY(write_value(folder + "/cpu.max",
                            std::to_string(quota) + " " + std::to_string(kCpuPeriodUs)));
  }
  return group;
}

}  // namespace farcall::server
