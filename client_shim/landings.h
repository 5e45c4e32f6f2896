// Landings: where the bytes of copies nobody waited for will land: page-locked memory of this
// process.
//
//   std::uint64_t landing = landings.expect(host, bytes);       // 0: no room, wait for the copy
//   client.post(cuMemcpyDtoHAsync with `landing`);
//   …  landings.land(frame, session);                           // the receiver, at its notice
//
// A landing is there from before its call is posted until its bytes are in place, or will never
// come. Memory that is on its way to be freed, or to be read by a copy to the device, waits for the
// landings in it. What a client may have under way is bounded (limits::kLateBytesMax).
// Owner: one per client.  Threads: any; land() by whoever receives.  Its lock is a leaf, not held
// while bytes are read.
#pragma once
#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <map>

#include "transport/base/guarded.h"
#include "transport/base/status.h"
#include "transport/link/session.h"

namespace farcall::shim {

class Landings {
 public:
  // A number for a copy of `bytes` (1 … limits::kLateCopyBytesMax) to `to`; 0 when too much is
  // under way, or the link is gone.
  std::uint64_t expect(void* to, std::size_t bytes);
  // Its call was not posted.
  void cancel(std::uint64_t landing);
  // Takes a copy_landed frame.
  // Errors: kMalformed for a landing nobody expects or of another length; the link's.
  Status land(const link::Frame& frame, link::Session& session);
  // The link is gone: nothing lands any more.
  void fail_all();

  bool any() const { return under_way_.load(std::memory_order_seq_cst) > 0; }
  // Blocks until nothing is on its way into this memory.
  void wait_clear(const void* from, std::size_t bytes);

 private:
  struct Landing {
    std::byte* to = nullptr;
    std::size_t bytes = 0;
  };
  struct State {
    std::map<std::uint64_t, Landing> expected;
    std::uint64_t last = 0;
    std::size_t granules = 0;
    bool over = false;
  };
  void forget(State& state, std::uint64_t landing);

  Guarded<State> state_;
  std::condition_variable changed_;
  std::atomic<std::size_t> under_way_{0};
};

}  // namespace farcall::shim
