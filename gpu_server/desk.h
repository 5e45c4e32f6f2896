// Desk: the buffers one of our threads works with. They see tenant bytes, so they are locked, kept
// out of dumps and wiped.
//
//   Desk* desk = Desk::of_this_thread();          // null when there is no memory
//   wire::Writer out(desk->reply.bytes());
//
// Owner: the thread; freed when it ends.  Threads: one.
#pragma once
#include "transport/api/scratch.h"
#include "transport/base/secure_arena.h"

namespace farcall::server {

struct Desk {
  SecureBuffer reply;      // limits::kFrameBodyBytesMax
  SecureBuffer arguments;  // limits::kScratchBytes
  SecureBuffer staging;    // limits::kCopyChunkBytes

  static Desk* of_this_thread();
};

}  // namespace farcall::server
