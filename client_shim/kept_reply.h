// KeptReply: a reply that is taken after the receiver has been given up.
//
//   KeptReply kept(take);
//   CUresult result = client.ask_now(row, encode, [&](Reply& reply) { return kept.keep(reply); });
//   return kept.taken(result);
//
// While there is mirrored memory (mirrors.h) a `take` may write to a page that has to be fetched
// first, and whoever receives is the one who would have to fetch it. So the body is copied there,
// and `take` runs on the asking thread when nothing waits for it any more. What comes with a
// payload is taken at once: a payload can be read only then.
// Owner: one call.  Threads: keep() on any, while the asking thread is parked; else one. The copy
// is locked, kept out of core dumps, and wiped.
#pragma once
#include "client_shim/receiver.h"
#include "transport/base/secure_arena.h"

namespace farcall::shim {

class KeptReply {
 public:
  explicit KeptReply(Take take) : take_(take) {}
  KeptReply(const KeptReply&) = delete;
  KeptReply& operator=(const KeptReply&) = delete;

  CUresult keep(Reply& reply);
  // What the call returns; `result` as it is where nothing was kept. A body that does not parse
  // closes the session.
  CUresult taken(CUresult result);

 private:
  Take take_;
  SecureBuffer body_;
  link::Session* session_ = nullptr;  // null: nothing is kept
};

}  // namespace farcall::shim
