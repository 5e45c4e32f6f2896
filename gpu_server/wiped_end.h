// The end of a worker: nothing of its tenant is left in the pages that go back to the kernel.
//
//   FARCALL_TRY(prepare_wiped_end());     // at the start, before it is confined
//   …
//   end_wiped(0);                         // instead of _exit(0)
//
// The kernel does not clear pages that a process leaves behind, unless it was started with
// init_on_free=1: until they are given out again, whoever reads the machine's memory reads them.
// So the last thing a worker does is to overwrite every page that it can write to: heap, stacks,
// device memory of the software GPU, what libraries left in variables. It stops its other threads
// first, by a signal in whose handler they stay. After that no function of any library may be
// called, so that all of it is plain system calls.
//
// A pipe's bytes lie in pages of the kernel's, which stay as they are when they have been read. One
// that tenants' bytes went through can be given for that (overwrite_pipe_at_end).
//
// Not reached: what else is not memory of the process (socket buffers, the GPU), and a worker that
// is killed or crashes. `farcall-server --check` says whether the kernel covers those. In
// builds with sanitizers, whose bookkeeping cannot be overwritten, it ends unwiped. Owner: the
// worker's process.  Threads: prepare while there is one; end_wiped() any.
#pragma once
#include "transport/base/status.h"
#include "transport/base/unique.h"

namespace farcall::server {

// Opens what is needed of /proc, which a sandbox takes away, and reserves room.
// Errors: kSystem.
Status prepare_wiped_end();

// Both ends of a pipe for one page (F_SETPIPE_SZ): then the kernel uses the same page all the time,
// and end_wiped() overwrites it, whether its bytes were read or not. Of a larger pipe it would only
// reach the last. At most limits::kWipedPipesMax; not before prepare_wiped_end().
// Errors: kOverQuota. Where nothing is prepared (tests) it closes them.
Status overwrite_pipe_at_end(Fd reading, Fd writing);

// Ends the process with `status`. Threads that cannot be stopped within limits::kParkMs go on until
// they touch what has been overwritten; they end with the process either way. Without a successful
// prepare_wiped_end() it ends unwiped and says so. Of several threads that call it the first is
// taken.
[[noreturn]] void end_wiped(int status);

}  // namespace farcall::server
