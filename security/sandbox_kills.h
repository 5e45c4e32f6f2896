// Which system call a sandbox ended a process for.
//
//   if (WTERMSIG(status) == SIGSYS) log(killing_call(pid));   // "ptrace", or ""
//
// The kernel tells a parent no more than the signal; the number stands in the kernel's log, where
// that can be read (root, usually) and no audit daemon takes it away.
// Threads: any.  Never waits.
#pragma once
#include <sys/types.h>

#include <string>
#include <string_view>

namespace farcall::security {

// pid: of a process that ended, not yet used again.  "" where the log does not tell.
std::string killing_call(pid_t pid);

// The same from one line of the log; "" when it is about something else.
std::string killing_call_of(std::string_view line, pid_t pid);

}  // namespace farcall::security
