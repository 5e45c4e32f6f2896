// The walls around a process that strangers may take over: what it can still reach when somebody
// else decides what it does next.
//
//   auto child = spawn_isolated(order);              // sandbox_spawn.h: into namespaces of its own
//   … the child loads what it needs by path, the driver above all; then, with one thread:
//   SandboxReport report = confine({.mode = SandboxMode::kBest, .namespaces = ok()});
//   if (!complete(report)) …                         // each gap says what it means
//
// confine() takes away, in this order: the user, files, the rights of root, new privileges, the
// paths that are left (Landlock), limits, being traced or dumped, and system calls that no table
// entry asks for (worker_syscalls.def). What has been opened before stays open.
//
// Not limited here is the size of files: memory that a driver shares between mappings is a file to
// the kernel (memfd), and there is no other file to write to but those of the folder given.
// Owner: the process itself; there is no way back.  Threads: one, which must be the only one: some
// layers hold for the calling thread and those it starts later. (The calls are taken from all.)
// Source: namespaces(7), capabilities(7), landlock(7), seccomp(2), pivot_root(2).
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "transport/base/status.h"

namespace farcall::security {

enum class SandboxMode : std::uint8_t {
  kOff,     // no more than a process can do for itself without help: no core dumps, no tracing
  kBest,    // everything this machine has; gaps are told
  kStrict,  // a gap is a failure
};
std::string_view name_of(SandboxMode mode);
// "strict", "best" or "off".  Errors: kUnsupported, with what there is.
Result<SandboxMode> parse_sandbox_mode(std::string_view word);

// What the process must go on doing decides what can be taken from it.
enum class SandboxProfile : std::uint8_t {
  kPlain,   // memory, threads and sockets that are open already
  kNvidia,  // also NVIDIA's device files, its libraries and what it reads below /proc and /sys
  kRdma,    // also the host's network, its RDMA devices and more locked memory: no namespaces
};
std::string_view name_of(SandboxProfile profile);

struct SandboxPlan {
  SandboxMode mode = SandboxMode::kBest;
  SandboxProfile profile = SandboxProfile::kPlain;
  // Whether the process was made by spawn_isolated(), or why not.
  Status namespaces;
  // A user and group that are nobody else's, to change to where there is no user namespace and the
  // process is root; 0: none.
  std::uint32_t uid = 0;
  // The one folder whose files may be written; opened again below the new root under the same
  // number. -1: none.
  int folder = -1;
};

struct SandboxLayer {
  std::string name;     // "system calls"
  Status held;          // or why not
  std::string meaning;  // of its absence, for who runs the machine
  // Keeps somebody who has taken the process over from something; else it is advice, and its
  // absence no gap.
  bool wall = true;
};
using SandboxReport = std::vector<SandboxLayer>;

// Errors are in the report. Goes on after each, so that the rest holds.
SandboxReport confine(const SandboxPlan& plan);

bool complete(const SandboxReport& report);
// A line for each layer, for one process to tell another.
std::string to_lines(const SandboxReport& report);
// Errors: kMalformed.
Result<SandboxReport> report_from_lines(std::string_view lines);

// Users that belong to workers and to nobody else: a range that neither people nor containers are
// given (systemd's list of users has it as unused).
inline constexpr std::uint32_t kWorkerUidFirst = 0x70000000;
inline constexpr std::uint32_t kWorkerUidLast = 0x7ffffff0;

}  // namespace farcall::security
