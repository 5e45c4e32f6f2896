#include "gpu_server/peer_dials.h"

#include <doctest/doctest.h>

namespace farcall::server {
namespace {

TEST_CASE("a worker whose links keep breaking loses the links, and not its session") {
  for (int asked = 1; asked <= limits::kPeerDialsMax; ++asked) {
    CHECK(judge_dial(asked) == DialAnswer::kDial);
  }
  CHECK(judge_dial(limits::kPeerDialsMax + 1) == DialAnswer::kRefuse);
  CHECK(judge_dial(kPeerAsksMax) == DialAnswer::kRefuse);
  CHECK(judge_dial(kPeerAsksMax + 1) == DialAnswer::kEndSession);
}

}  // namespace
}  // namespace farcall::server
