// The system call filter, made of worker_syscalls.def by libseccomp.
#include <asm/ioctls.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <seccomp.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <cstdlib>
#include <initializer_list>
#include <memory>

#include "security/sandbox_layers.h"

#ifndef PR_SET_VMA
#  define PR_SET_VMA 0x53564d41
#endif
#ifndef __SNR_memfd_secret  // libseccomp 2.5.4 knows it by number only on some architectures
#  define __SNR_memfd_secret 447
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#  define FARCALL_SANITIZED 1
#elif defined(__has_feature)
#  if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#    define FARCALL_SANITIZED 1
#  endif
#endif
#ifndef FARCALL_SANITIZED
#  define FARCALL_SANITIZED 0
#endif

namespace farcall::security {
namespace {

// argument & mask == value
struct Argument {
  unsigned number;
  std::uint64_t mask;
  std::uint64_t value;
};

constexpr std::uint64_t kAll64 = ~std::uint64_t{0};
// The kernel reads an int of these: the upper half is anything.
constexpr std::uint64_t kAll32 = 0xffffffff;
// A thread, and none of what makes a process or a namespace. CLONE_NEWTIME shares its bit with the
// signal's number, which is none for a thread.
constexpr std::uint64_t kThreadFlags = CLONE_THREAD | CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID |
                                       CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS |
                                       CLONE_NEWCGROUP | CLONE_PTRACE | CLONE_UNTRACED | 0xff;

class Filter {
 public:
  explicit Filter(std::uint32_t otherwise) : filter_(::seccomp_init(otherwise)) {}

  void rule(std::uint32_t action, int call, std::initializer_list<Argument> when) {
    if (!filter_ || failed_ != 0) return;
    if (when.size() == 0) failed_ = ::seccomp_rule_add(filter_.get(), action, call, 0);
    for (const Argument& each : when) {
      if (failed_ != 0) return;
      const scmp_arg_cmp compare{each.number, SCMP_CMP_MASKED_EQ, each.mask, each.value};
      failed_ = ::seccomp_rule_add_array(filter_.get(), action, call, 1, &compare);
    }
  }
  Status load() {
    if (!filter_) return Status(Code::kSystem, "make a filter");
    // The other ways into the same kernel: 32-bit calls, x32.
    if (failed_ == 0) {
      failed_ = ::seccomp_attr_set(filter_.get(), SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);
    }
    // A driver's library may have started a thread when it was loaded.
    if (failed_ == 0) failed_ = ::seccomp_attr_set(filter_.get(), SCMP_FLTATR_CTL_TSYNC, 1);
    // Looked up as a tree: what a call costs does not depend on where in the table it stands.
    if (failed_ == 0) failed_ = ::seccomp_attr_set(filter_.get(), SCMP_FLTATR_CTL_OPTIMIZE, 2);
    if (failed_ == 0) failed_ = ::seccomp_load(filter_.get());
    if (failed_ != 0) return Status::system("install the filter", -failed_);
    return ok();
  }

 private:
  struct Release {
    void operator()(void* filter) const { ::seccomp_release(filter); }
  };
  std::unique_ptr<void, Release> filter_;
  int failed_ = 0;
};

Status deny_list() {
  Filter filter(SCMP_ACT_ALLOW);
#define CALL(name, reason)
#define CALL_IF(name, reason, ...)
#define ANSWER(name, error, reason)
#define NVIDIA(name, reason)
#define NVIDIA_IF(name, reason, ...)
#define NEVER(name) filter.rule(SCMP_ACT_KILL_PROCESS, SCMP_SYS(name), {});
#define RDMA_ANSWER(name, error, reason) filter.rule(SCMP_ACT_ERRNO(error), SCMP_SYS(name), {});
#include "security/worker_syscalls.def"
#undef CALL
#undef CALL_IF
#undef ANSWER
#undef NVIDIA
#undef NVIDIA_IF
#undef NEVER
#undef RDMA_ANSWER
  return filter.load();
}

Status allow_list(bool nvidia) {
  const auto kOwnPid = static_cast<std::uint64_t>(::getpid());
  Filter filter(nvidia ? SCMP_ACT_ERRNO(EPERM) : SCMP_ACT_KILL_PROCESS);
#define CALL(name, reason) filter.rule(SCMP_ACT_ALLOW, SCMP_SYS(name), {});
#define CALL_IF(name, reason, ...) filter.rule(SCMP_ACT_ALLOW, SCMP_SYS(name), {__VA_ARGS__});
#define ANSWER(name, error, reason) filter.rule(SCMP_ACT_ERRNO(error), SCMP_SYS(name), {});
#define NVIDIA(name, reason) \
  if (nvidia) filter.rule(SCMP_ACT_ALLOW, SCMP_SYS(name), {});
#define NVIDIA_IF(name, reason, ...) \
  if (nvidia) filter.rule(SCMP_ACT_ALLOW, SCMP_SYS(name), {__VA_ARGS__});
#define NEVER(name) \
  if (nvidia) filter.rule(SCMP_ACT_KILL_PROCESS, SCMP_SYS(name), {});
#define RDMA_ANSWER(name, error, reason) NEVER(name)
#include "security/worker_syscalls.def"
#undef CALL
#undef CALL_IF
#undef ANSWER
#undef NVIDIA
#undef NVIDIA_IF
#undef NEVER
#undef RDMA_ANSWER
  return filter.load();
}

}  // namespace

Status take_calls(SandboxProfile profile) {
  if constexpr (FARCALL_SANITIZED != 0) {
    return Status(Code::kUnsupported,
                  "built with a sanitizer, whose runtime asks the kernel for more");
  }
  if (profile == SandboxProfile::kRdma) return deny_list();
  return allow_list(profile == SandboxProfile::kNvidia);
}

}  // namespace farcall::security
