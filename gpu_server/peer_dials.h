// PeerDials: how often the worker of one session may have other servers dialled for it.
//
//   switch (judge_dial(++asked)) { case DialAnswer::kDial: … }
//
// A worker that has dialled enough is told that there is no link: what it wanted to copy goes by
// way of the client, as it does between servers without a link. An honest worker dials again
// whenever a link breaks, and it is the other server that breaks them: that must not cost its
// client the session. Only who goes on asking all the same is no honest worker.
// Owner: the supervisor's thread of that session.  Threads: any; it keeps nothing.
#pragma once
#include "transport/base/limits_direct.h"

namespace farcall::server {

enum class DialAnswer {
  kDial,
  kRefuse,  // without dialling
  kEndSession,
};

// Beyond so many asks a worker does not take no for an answer.
inline constexpr int kPeerAsksMax = 4 * limits::kPeerDialsMax;

// asked: how often it has, this time included.
constexpr DialAnswer judge_dial(int asked) {
  if (asked > kPeerAsksMax) return DialAnswer::kEndSession;
  return asked > limits::kPeerDialsMax ? DialAnswer::kRefuse : DialAnswer::kDial;
}

}  // namespace farcall::server
