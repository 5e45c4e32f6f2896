// FrameHeader: the sixteen bytes in front of every call, reply and notice.
//
//   FrameHeader head = reader.get<FrameHeader>();
//   if (!is_valid(head)) return malformed(describe(head));
//   Reader body(reader.bytes(head.body_bytes));
//
// A frame is this header and `body_bytes` of body. Frames stand back to back in a record and never
// span records. All numbers are little endian; both ends run on little-endian machines, and the
// build checks it, so a header is copied as it stands.
// Threads: plain values.
#pragma once
#include <bit>
#include <cstddef>
#include <cstdint>
#include <string>

#include "transport/base/limits.h"

namespace farcall::wire {

static_assert(std::endian::native == std::endian::little, "frames are copied, never swapped");

// FrameHeader::flags. Any other bit ends the session.
inline constexpr std::uint16_t kReply = 1;        // answers the frame with the same `call`
inline constexpr std::uint16_t kWantsReply = 2;   // the sender waits for a kReply frame
inline constexpr std::uint16_t kBulkFollows = 4;  // a payload for this frame is on the bulk lane
inline constexpr std::uint16_t kFlagsKnown = kReply | kWantsReply | kBulkFollows;

struct FrameHeader {
  std::uint16_t id = 0;          // row of the API table; the high byte is family and capability
  std::uint16_t flags = 0;       // kReply, kWantsReply, kBulkFollows
  std::uint32_t body_bytes = 0;  // 0 … limits::kFrameBodyBytesMax
  std::uint32_t call = 0;    // +1 for each frame the client sends, from 1; a reply repeats it; 0
                             // with kReply is a notice, which answers no call
  std::uint32_t thread = 0;  // client thread number, dense, from 1

  friend bool operator==(const FrameHeader&, const FrameHeader&) = default;
};
static_assert(sizeof(FrameHeader) == limits::kFrameHeaderBytes);

// The capability a row needs, which a lease may or may not grant.
constexpr std::uint8_t family(std::uint16_t id) { return static_cast<std::uint8_t>(id >> 8); }

// Can this header be acted on at all? Checks flags, length and that a reply wants no reply.
// Whether the id exists is for the dispatch table to say.
bool is_valid(const FrameHeader& head);

// "id 0x0210 flags 0x4 call 17 thread 2 body 24 bytes": for logs, never the body itself.
std::string describe(const FrameHeader& head);

}  // namespace farcall::wire
