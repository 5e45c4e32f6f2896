// Faults: touches of protected memory become questions, and go on when they are answered.
//
//   catch_faults(resolve);            // resolve(address, is_write): may the touch be repeated?
//
// The one signal handler of this library, installed by the first program that uses managed or
// mapped memory and by no other. A fault that is not ours goes to the handler that was there
// before, or is the end the kernel makes of it. A handler that the program installs later replaces
// ours; the next catch_faults puts ours in front of it again.
// Owner: the process.  Threads: any; resolve runs inside the signal handler of the thread that
// touched, and must do only what may be done there.
#pragma once

namespace farcall::shim {

enum class Fault {
  kResolved,  // repeat the touch
  kNotOurs,
  kLost,  // the bytes are not to be had: SIGBUS, as for a file that cannot be read
};
using Resolve = Fault (*)(const void* address, bool is_write);

void catch_faults(Resolve resolve);
// In the child of a fork: every fault is somebody else's.
void ignore_faults();

}  // namespace farcall::shim
