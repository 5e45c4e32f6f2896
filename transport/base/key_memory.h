// Memory for keys that the kernel itself has no way to: memfd_secret(2), where there is such a
// thing, and a SecureBuffer as any other where not.
//
//   int main() { use_secret_memory(); …                        // in programs of ours
//   Result<SecureBuffer> key = make_key_buffer(sizeof(Secret));
//
// Its pages are out of the kernel's map of all memory while they are in use: what reads another
// process's memory (/proc/PID/mem, ptrace, process_vm_readv), a device, or a flaw of the kernel
// that reads too far gets nothing. They are never swapped, dumped or put to disk by hibernation,
// which the kernel refuses meanwhile. A page for each key, and for keys only: each is taken out of
// that map by a call that all processors wait for. Not used unless the program says so, once, at
// its start: the shim does not, because a stranger's program forks, and such memory is shared with
// children or absent in them, never wiped. Owner: as SecureBuffer.  Threads: any.
#pragma once
#include <cstddef>

#include "transport/base/secure_arena.h"
#include "transport/base/status.h"

namespace farcall {

// From now on, where the kernel has it. In a process that never runs on in a forked child.
void use_secret_memory();

// Errors: those of SecureBuffer::make.
Result<SecureBuffer> make_key_buffer(std::size_t bytes);

// Whether keys would be there now.  Errors: kUnsupported with the reason and what to do.
Status try_secret_memory();

}  // namespace farcall
