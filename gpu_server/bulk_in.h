// BulkLane and BulkIn: the payloads that clients announce, each read by the call it belongs to.
//
//   std::uint64_t ticket = lane.take_ticket();           // the leader, in the order of the frames
//   BulkIn payload(session, lane, ticket, bytes);        // whoever runs the call
//   while (payload.left() > 0) payload.read(staging.first(…));
//
// Payloads lie on the bulk lane in the order of the frames that announced them, but the calls may
// run on several threads. A ticket is a place in that order: read() waits for its turn, and the
// turn passes on when the payload has been read to its end or dropped. Threads: BulkLane any; a
// BulkIn belongs to one.
#pragma once
#include <condition_variable>
#include <cstdint>
#include <span>

#include "transport/base/guarded.h"
#include "transport/base/status.h"

namespace farcall::link {
class Session;
}

namespace farcall::server {

class BulkLane {
 public:
  std::uint64_t take_ticket();  // the leader only
  void wait_turn(std::uint64_t ticket);
  void pass_on(std::uint64_t ticket);

 private:
  struct State {
    std::uint64_t next_ticket = 0;
    std::uint64_t turn = 0;
  };
  Guarded<State> state_;
  std::condition_variable changed_;
};

class BulkIn {
 public:
  // No payload: left() is 0.
  BulkIn() = default;
  BulkIn(link::Session& session, BulkLane& lane, std::uint64_t ticket, std::uint64_t bytes);
  ~BulkIn();  // drops what is left, so that the next payload starts where it should
  BulkIn(const BulkIn&) = delete;
  BulkIn& operator=(const BulkIn&) = delete;

  std::uint64_t left() const { return left_; }
  // The next `to.size()` bytes, at most left().
  // Errors: those of the link, which is closed then; kMalformed when asked for more than left().
  Status read(std::span<std::byte> to);
  // Reads and forgets the rest. `scratch` is where it passes through.
  Status drop(std::span<std::byte> scratch);

 private:
  void finish();
  link::Session* session_ = nullptr;
  BulkLane* lane_ = nullptr;
  std::uint64_t ticket_ = 0;
  std::uint64_t left_ = 0;
  bool has_turn_ = false;
};

}  // namespace farcall::server
