// How it works: the first byte chooses what the attacker knows.
//   even  the keys are the attacker's: the rest of the input is cut into record texts, which are
//         sealed properly and sent. So the fuzzer reaches the frame and payload parsers behind the
//         tag: nothing may crash, and every frame handed out lies within its record.
//   odd   the keys are unknown: the rest of the input is the byte stream of both lanes. Nothing may
//         ever be delivered.
// The session under test is a server's, over socket pairs, as a worker has it.
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <span>
#include <vector>

#include "transport/link/carrier.h"
#include "transport/link/record.h"
#include "transport/link/session_parts.h"

using namespace farcall;
using namespace farcall::link;

namespace {

using Input = std::span<const std::byte>;

void require(bool holds) {
  if (!holds) std::abort();
}

struct Wire {
  Fd calls;
  Fd bulk;
};

std::unique_ptr<Session> server_over(Wire& attacker) {
  SessionParts parts;
  parts.role = Role::kServer;
  parts.compress = Compress::kOn;  // the decompressor is behind the tag, too
  for (std::uint8_t lane = 0; lane < kLanes; ++lane) {
    parts.keys.at(lane, Direction::kToServer).floor = kLowestFloor;
  }
  for (Fd* end : {&attacker.calls, &attacker.bulk}) {
    int ends[2];
    require(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
    *end = Fd(ends[0]);
    (end == &attacker.calls ? parts.calls : parts.bulk) = make_socket_carrier(Fd(ends[1]), -1);
  }
  Result<std::unique_ptr<Session>> session = SessionParts::start(std::move(parts));
  require(session.ok());
  return std::move(session).value();
}

void send_bytes(const Fd& to, Input bytes) {
  // Inputs are far smaller than a socket's buffer; what does not fit is not part of this test.
  static_cast<void>(::send(to.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT));
}

void seal_and_send(RecordSealer& sealer, const Fd& to, RecordType type, Input text) {
  std::vector<std::byte> record(sealed_bytes(text.size()));
  require(sealer.seal(type, text, record).ok());
  send_bytes(to, record);
}

void drain(Session& session) {
  std::array<std::byte, 600> room;
  for (int i = 0; i < 64; ++i) {
    Result<Frame> frame = session.receive(Deadline::never());
    if (!frame.ok()) break;
    require(frame->head.body_bytes == frame->body.size() && wire::is_valid(frame->head));
    // Touch every byte, for the sanitizer to judge.
    for (std::byte byte : frame->body) room[0] ^= byte;
    if (frame->head.flags & wire::kBulkFollows) {
      static_cast<void>(session.bulk_read(std::span(room).first(frame->head.thread % 600)));
    }
  }
  static_cast<void>(session.bulk_read(room));
}

void with_keys(Input input) {
  Wire attacker;
  std::unique_ptr<Session> session = server_over(attacker);
  TrafficKey zero;
  zero.floor = kLowestFloor;
  Result<RecordSealer> calls = RecordSealer::make(zero, kLaneCalls, RekeyLimits::standard());
  Result<RecordSealer> bulk = RecordSealer::make(zero, kLaneBulk, RekeyLimits::standard());
  require(calls.ok() && bulk.ok());
  const char up[] = "farcall lane up";
  const Input confirm = std::as_bytes(std::span(up, sizeof(up) - 1));
  seal_and_send(calls.value(), attacker.calls, RecordType::kConfirm, confirm);
  seal_and_send(bulk.value(), attacker.bulk, RecordType::kConfirm, confirm);
  require(SessionParts::confirm(*session, Deadline::never()).ok());
  // {u8 lane, type, cipher, whether packed, u16 length, text} …
  while (input.size() >= 3) {
    const auto how = std::to_integer<unsigned>(input[0]);
    std::uint16_t length = 0;
    std::memcpy(&length, input.data() + 1, sizeof(length));
    input = input.subspan(3);
    const Input text = input.first(std::min<std::size_t>(length, input.size()));
    input = input.subspan(text.size());
    const bool call_lane = (how & 1) == 0;
    if ((how & 0x40) != 0) {  // by another key, perhaps with the other cipher
      (call_lane ? calls : bulk)->use(static_cast<Cipher>(how >> 5 & 1), how >> 4 & 1);
    }
    seal_and_send(
        call_lane ? calls.value() : bulk.value(), call_lane ? attacker.calls : attacker.bulk,
        (how & 0x80) != 0 ? RecordType::kPacked : static_cast<RecordType>(1 + (how >> 1) % 4),
        text);
  }
  attacker = {};  // the streams end here
  drain(*session);
}

void without_keys(Input input) {
  Wire attacker;
  std::unique_ptr<Session> session = server_over(attacker);
  send_bytes(attacker.calls, input);
  send_bytes(attacker.bulk, input);
  attacker = {};
  require(!SessionParts::confirm(*session, Deadline::never()).ok());
  require(!session->receive(Deadline::never()).ok());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0 || size > 64 * 1024) return 0;
  const Input input = std::as_bytes(std::span(data, size)).subspan(1);
  if (data[0] & 1) {
    without_keys(input);
  } else {
    with_keys(input);
  }
  return 0;
}
