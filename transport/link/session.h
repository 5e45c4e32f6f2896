// Session: the encrypted link between one client process and its worker. Frames (calls, replies) in
// order on lane 0, payloads on lane 1, both ways, every byte sealed.
//
//   Result<std::uint32_t> call = session.post(head, Flush::kNow, [&](wire::Writer& out) {
//     out.put(address);
//   });
//   Result<Frame> reply = session.receive(Deadline::never());
//
// Owner: dial() gives the client one, session_from_carriers() the worker one, and
// make_loopback_session_pair() a test both ends in one process, with real sealing.
// Threads: each function says. Posting threads share one lock for as long as a frame takes to
// encode; whoever finds the wire idle sends, and sends for the others what gathered meanwhile.
// There is no plaintext mode. Any record or frame that is not exactly what the peer must send
// closes the session.
#pragma once
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "transport/base/clock.h"
#include "transport/base/function_ref.h"
#include "transport/base/status.h"
#include "transport/wire/frame.h"
#include "transport/wire/writer.h"

namespace farcall::link {

struct Frame {
  wire::FrameHeader head;           // wire::is_valid() already holds
  std::span<const std::byte> body;  // valid until the next receive()
};

// kNow: on the wire before, or at the latest with, the send in flight.
// kLater: gathers with others until the record is full (64 KiB), a kNow or flush() comes, or a
// later post finds the oldest gathered frame more than 20 µs old. A caller that stops posting must
// flush() for itself.
// kSoon: kNow when nothing was sent for 50 µs, so that the first of many calls is not kept; else
// kLater.
enum class Flush { kNow, kLater, kSoon };

struct LinkStats {
  std::uint64_t frames_out = 0;
  std::uint64_t frames_in = 0;
  std::uint64_t records_out = 0;  // both lanes
  std::uint64_t records_in = 0;
  std::uint64_t bytes_out = 0;  // on the wire, headers and tags included, both lanes
  std::uint64_t bytes_in = 0;
  std::uint64_t bulk_bytes_out = 0;  // payload bytes
  std::uint64_t bulk_bytes_in = 0;
  std::uint64_t bulk_wire_bytes_out = 0;  // what they took on the wire
  std::uint64_t bulk_wire_bytes_in = 0;
  std::uint64_t bulk_connections = 1;  // that payloads are spread over
  std::uint64_t round_trips = 0;       // frames sent with kWantsReply
  // Of this process (crypto_pool.h): records of large payloads that helper threads sealed or
  // opened, and those that the threads of the lanes got to first.
  unsigned crypto_threads = 0;
  std::uint64_t records_by_helpers = 0;
  std::uint64_t records_by_callers = 0;
};

// When to change keys. The defaults are limits::kRekey*; both ends must agree.
struct RekeyLimits {
  std::uint64_t bytes;
  std::uint64_t records;
  static RekeyLimits standard();
};

class Session {
 public:
  using Encode = FunctionRef<void(wire::Writer&)>;
  using Fill = FunctionRef<Status(std::span<std::byte>)>;

  ~Session();  // closes; no other thread may be inside
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  // Appends one frame.
  //   head    id, flags, thread. body_bytes is filled in. call 0: the next call number is assigned,
  //           but not with kReply: that is a notice, which answers no call and has no number.
  //   encode  writes the body; runs under the send lock, so it must not call this session; runs a
  //           second time on an empty record when the first had no room.
  // Returns the frame's call number. Sent means handed to the link: a failure on the wire closes
  // the session and shows at the next call.
  // Errors: kOverQuota when the body exceeds limits::kFrameBodyBytesMax or encode failed the
  // Writer (nothing is sent, no number is used up), else why the session closed.  Threads: any.
  Result<std::uint32_t> post(wire::FrameHeader head, Flush flush, Encode encode);

  // post(kNow) of a frame that announces a payload (kBulkFollows is added), then the payload on the
  // bulk lane. Payloads leave in the order of their frames.
  //   payload  borrowed until return; any size
  // Errors: as post.  Threads: any; payloads take turns, frames of other threads do not wait.
  Result<std::uint32_t> post_bulk(wire::FrameHeader head, Encode encode,
                                  std::span<const std::byte> payload);

  // The same for a payload that comes piece by piece.
  //   fill  called with room of 1 … limits::kRecordBytesMax bytes, to fill it all, until `bytes`
  //         have been sent
  // When fill fails, the payload is called off: the peer's bulk_read returns kDriver with the
  // detail of fill's Status, the session lives on, and this returns fill's Status.
  Result<std::uint32_t> post_bulk_from(wire::FrameHeader head, Encode encode, std::uint64_t bytes,
                                       Fill fill);

  // Sends what has gathered.  Threads: any.
  Status flush();
  // False when nothing gathers. After a post, its own thread sees at least its own frame.
  // Threads: any.
  bool has_gathered() const;

  // The next frame. Errors: kTimeout (try again), kClosed, kMalformed.  Threads: one at a time.
  Result<Frame> receive(Deadline deadline);
  // True when receive() would return at once, be it with an error.  Threads: the receiving one.
  bool has_more();
  // True when the next frame came in the record of the last one: it costs no system call to know.
  // Threads: the receiving one.
  bool has_frame();
  // False when nothing has come that receive() has not looked at; true may be a guess.
  // Threads: any.
  bool has_arrived();

  // Fills `destination` with the next bytes of the bulk lane; blocks until they are there.
  // A caller that reads one payload in several pieces stops at the first error.
  // Errors: kDriver when the peer called the payload off (detail is its CUresult; the next
  // bulk_read starts at the next payload), else why the session closed. On error, what was
  // written to `destination` is wiped.  Threads: one at a time.
  Status bulk_read(std::span<std::byte> destination);

  // Ends the session and wakes every thread inside it; their calls, and all later ones, return
  // `why`. The first reason stays. The peer is told unless that would block or `why` is kClosed or
  // kSystem, and then gets kClosed with the text of `why`: so no secrets in it.
  // Threads: any; idempotent.
  void close(const Status& why);
  // Why the session is closed; ok while it is open.  Threads: any.
  Status closed() const;

  // For the child of a fork: closes the descriptors and wipes the keys without touching a lock or
  // the wire. Afterwards the object may only be leaked: its locks may be held by threads that the
  // child does not have.
  void abandon_in_child();

  LinkStats stats() const;  // Threads: any
  // "tcp 127.0.0.1:7717, AES-256-GCM (ipsec-mb)", and ", payloads over 4 connections" where so.
  std::string describe() const;

 private:
  friend struct SessionParts;
  class State;
  explicit Session(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

// Both ends of one session in this process, open and confirmed. Each direction of each lane holds
// up to 64 MiB of unread records, so one thread can play both ends.
struct SessionPair {
  std::unique_ptr<Session> client;
  std::unique_ptr<Session> server;
};
Result<SessionPair> make_loopback_session_pair();
Result<SessionPair> make_loopback_session_pair(RekeyLimits rekey);

}  // namespace farcall::link
