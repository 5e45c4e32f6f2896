#include "transport/wire/frame.h"

#include <array>
#include <cstdio>

namespace farcall::wire {

bool is_valid(const FrameHeader& head) {
  if ((head.flags & ~kFlagsKnown) != 0) return false;
  if ((head.flags & kReply) && (head.flags & kWantsReply)) return false;
  // Only the far end's notices, which answer no call, have none.
  if (head.call == 0 && !(head.flags & kReply)) return false;
  return head.body_bytes <= limits::kFrameBodyBytesMax && head.id != 0;
}

std::string describe(const FrameHeader& head) {
  std::array<char, 96> text{};
  std::snprintf(text.data(), text.size(), "id 0x%04x flags 0x%x call %u thread %u body %u bytes",
                unsigned{head.id}, unsigned{head.flags}, head.call, head.thread, head.body_bytes);
  return text.data();
}

}  // namespace farcall::wire
