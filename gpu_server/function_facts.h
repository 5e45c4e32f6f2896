// What a client must know of a function to launch it without asking again, as it goes into a reply.
//
//   put_function(call, function, false, module_id);          // FunctionFacts and its sizes
//   put_functions(call, library, true, library_id);          // of all that a library has
//
// Bodies: transport/api/hand.h.  Threads: those of the call.
#pragma once
#include "gpu_server/call.h"

namespace farcall::server {

// real: a CUfunction, or with is_kernel a CUkernel.  parent: the id it dies with.
// False, and nothing is written, when the session has too many handles.
bool put_function(Call& call, void* real, bool is_kernel, std::uint64_t parent);

// u32 n and n functions with their names: all of `owner` (a CUmodule or CUlibrary; null: none) as
// far as a reply has room, or none where that would cost: an image of many functions, a driver that
// loads each when it is first used, a thread without a context. To tell is a favour, so a driver
// that fails here fails nothing.
void put_functions(Call& call, void* owner, bool is_library, std::uint64_t id);

}  // namespace farcall::server
