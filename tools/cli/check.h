// farcall check: a program on the software GPU of this machine, with its checks on.
//
//   return check_program({{"./app"}});   // 126 or 127: what the process exits with; else never
//   back
//
// Threads: one, the main thread.  No server, no connection, no certificate is used.
#pragma once
#include <string>
#include <vector>

namespace farcall::cli {

// Replaces this process by a program looked for on PATH; returns only when that failed.
int become_program(const std::vector<std::string>& command);

struct CheckOptions {
  std::vector<std::string> command;
  std::string what = "memory,init,race";  // words of FARCALL_SOFTGPU_CHECK
  int exit_code = 1;                      // when there are problems; 0: the program's own
};
int check_program(const CheckOptions& options);

}  // namespace farcall::cli
