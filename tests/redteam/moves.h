// What somebody tries who has taken over a worker: one move each, all of which must fail.
//
//   int error = moves()[i].make();      // 0: it worked; else errno. It may end the process.
//
// Compiled into a CUDA driver of the test's own (driver.cpp), so that the real worker makes them,
// in its sandbox, in the middle of a call of its client. Threads: any; each move is made in a
// process of its own.
#pragma once
#include <span>

namespace farcall::redteam {

struct Move {
  const char* name;
  int (*make)();
};

// Where the targets are: by environment variables of the worker, and from what it could see before
// it was confined. Call it when the driver is loaded.
void look_around();

std::span<const Move> moves();
// The moves of each file.
std::span<const Move> file_moves();
std::span<const Move> process_moves();
std::span<const Move> kernel_moves();

// The process that started the worker, by the host's number; -1 when unknown.
int supervisor();
// From the environment, FARCALL_REDTEAM_<NAME>; "" when it is not there.
const char* target(const char* name);
// A system call's or a C function's answer as a move's.
int outcome(long answer);

}  // namespace farcall::redteam
