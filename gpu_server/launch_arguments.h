// What a kernel is called with, from the wire to where a driver wants it: LaunchParams and the
// bytes behind it (transport/api/hand.h), as in launches and in the kernel nodes of graphs.
//
//   LaunchArguments arguments;
//   if (!load_arguments(load, layout_of(call, id, function), arguments)) return kMalformed;
//
// Threads: one per call.
#pragma once
#include "gpu_server/call.h"
#include "gpu_server/functions.h"
#include "transport/api/load.h"

namespace farcall::server {

struct LaunchArguments {
  void** params = nullptr;  // one pointer per parameter, or
  void** extra = nullptr;   // the whole in the kernel's own layout
};

// The layout of a function or kernel that the client named by `id`; null for a null function.
Functions::Layout layout_of(Call& call, std::uint64_t id, CUfunction function);

// Copies them into the call's scratch, where they stay until the call is over. What does not fit
// the layout is refused.
// False: malformed.
bool load_arguments(api::Load& load, const Functions::Layout& layout, LaunchArguments& arguments);

}  // namespace farcall::server
