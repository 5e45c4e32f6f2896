// User, capabilities, limits, traces: what a process may do by who it is.
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>

#include "security/sandbox_layers.h"

namespace farcall::security {
namespace {

// Threads: a driver's, one for each client thread that waits, a few of the link's.
constexpr rlim_t kThreadsMax = 8192;
// Descriptors: a link has up to 16 connections, a session some ten links to other servers.
constexpr rlim_t kDescriptorsMax = 4096;

// The user that the namespace's root is outside.
std::uint32_t outer_uid() {
  std::FILE* map = std::fopen("/proc/self/uid_map", "re");
  if (map == nullptr) return 0;
  unsigned inside = 0;
  unsigned outside = 0;
  const int read = std::fscanf(map, "%u %u", &inside, &outside);
  std::fclose(map);
  return read == 2 ? outside : 0;
}

bool is_workers_own(std::uint32_t uid) { return uid >= kWorkerUidFirst && uid <= kWorkerUidLast; }

void drop_bounding_set() {
  for (unsigned long cap = 0; ::prctl(PR_CAPBSET_READ, cap, 0, 0, 0) >= 0; ++cap) {
    (void)::prctl(PR_CAPBSET_DROP, cap, 0, 0, 0);
  }
}

// Without groups where the namespace lets them go (a plain user's does not).
Status become(std::uint32_t uid) {
  if (::setgroups(0, nullptr) != 0 && errno != EPERM) return Status::system("leave all groups");
  if (::setresgid(uid, uid, uid) != 0) return Status::system("change the group");
  if (::setresuid(uid, uid, uid) != 0) return Status::system("change the user");
  return ok();
}

Status set_limit(__rlimit_resource which, rlim_t most, const char* name) {
  rlimit limit{};
  if (::getrlimit(which, &limit) != 0) return Status::system(name);
  limit.rlim_max = std::min(limit.rlim_max, most);
  limit.rlim_cur = std::min(limit.rlim_cur, limit.rlim_max);
  if (::setrlimit(which, &limit) != 0) return Status::system(name);
  return ok();
}

}  // namespace

Status take_uid(const SandboxPlan& plan) {
  if (plan.namespaces.ok()) {
    const std::uint32_t outside = outer_uid();
    FARCALL_TRY(become(0));
    if (is_workers_own(outside)) return ok();
    return Status(Code::kUnsupported, "the server does not run as root, so workers are user " +
                                          std::to_string(outside) + " like it");
  }
  if (plan.uid != 0 && ::geteuid() == 0) {
    drop_bounding_set();  // the right to goes with the user
    return become(plan.uid);
  }
  return Status(Code::kUnsupported,
                "workers are user " + std::to_string(::geteuid()) + " like the server");
}

// The one that RDMA needs is to lock memory for its devices.
Status take_capabilities(const SandboxPlan& plan) {
  drop_bounding_set();
  (void)::prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
  __user_cap_header_struct head{.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
  __user_cap_data_struct sets[_LINUX_CAPABILITY_U32S_3] = {};
  if (plan.profile == SandboxProfile::kRdma && ::geteuid() == 0) {
    sets[0].permitted = sets[0].effective = 1U << CAP_IPC_LOCK;
  }
  if (::syscall(SYS_capset, &head, sets) != 0) return Status::system("capset");
  return ok();
}

Status take_limits(const SandboxPlan& plan) {
  FARCALL_TRY(set_limit(RLIMIT_CORE, 0, "limit core dumps"));
  FARCALL_TRY(set_limit(RLIMIT_NOFILE, kDescriptorsMax, "limit descriptors"));
  FARCALL_TRY(set_limit(RLIMIT_MSGQUEUE, 0, "limit message queues"));
  FARCALL_TRY(set_limit(RLIMIT_RTPRIO, 0, "limit real-time priority"));
  // Counted for each user of each namespace: where that is not the worker's alone, it would count
  // strangers' threads.
  if (!plan.namespaces.ok() && plan.uid == 0) {
    return Status(Code::kUnsupported, "threads cannot be counted without a user of its own");
  }
  return set_limit(RLIMIT_NPROC, kThreadsMax, "limit threads");
}

// After the user has changed: the kernel forgets both then.
Status take_traces() {
  if (::prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0) return Status::system("forbid tracing and cores");
  if (::prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) != 0) return Status::system("tie to the parent");
  return ok();
}

Status check_locked_memory() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_MEMLOCK, &limit) != 0) return Status::system("getrlimit");
  if (limit.rlim_cur == RLIM_INFINITY) return ok();
  return Status(Code::kUnsupported,
                "a worker may lock " + std::to_string(limit.rlim_cur >> 10) + " KiB of its memory");
}

}  // namespace farcall::security
