#include "transport/link/handover.h"

#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <utility>

#include "transport/base/limits.h"
#include "transport/base/secure_arena.h"
#include "transport/link/socket.h"
#include "transport/wire/reader.h"
#include "transport/wire/writer.h"

namespace farcall::link {
namespace {

// Always this long, so that one receive takes exactly one message from any kind of Unix socket.
constexpr std::size_t kMessageBytes = 384;
constexpr std::uint32_t kMagic = 0x364f4846;  // "FHO6"
static_assert(4 + sizeof(SessionId::bytes) + SessionKeys::kBytes + 3 + 5 + sizeof(Ticket) + 1 +
                  kPeerNameBytesMax <=
              kMessageBytes);
constexpr std::size_t kDescriptorsMax = 1 + limits::kStripesMax;
// A worker's place or its reason for having none; always this long too.
constexpr std::size_t kPlaceTextBytesMax = 509;
constexpr std::size_t kPlaceMessageBytes = 512;

struct Message {
  std::array<std::byte, kMessageBytes> bytes{};
  Message() = default;
  Message(const Message&) = delete;
  ~Message() { wipe(bytes); }
};

std::size_t descriptors_of(const Handover& gift) {
  if (gift.kind == HandoverKind::kPeerRefused) return 0;
  return gift.carrier == CarrierKind::kRdma ? 0 : 1 + gift.bulk.size();
}

Status encode(const Handover& gift, Message& message) {
  if (descriptors_of(gift) > kDescriptorsMax) {
    return {Code::kOverQuota, "a session of too many lanes to hand over"};
  }
  if (gift.peer.size() > kPeerNameBytesMax) {
    return {Code::kOverQuota, "the name of a server that long"};
  }
  wire::Writer out(message.bytes);
  out.put(kMagic);
  out.put(gift.session_id.bytes);
  std::span<std::byte> keys = out.room(SessionKeys::kBytes);
  if (keys.size() == SessionKeys::kBytes) gift.keys.save(keys.first<SessionKeys::kBytes>());
  out.put(static_cast<std::uint8_t>(gift.carrier));
  out.put(static_cast<std::uint8_t>(descriptors_of(gift)));
  out.put(static_cast<std::uint8_t>(gift.compress));
  out.put(static_cast<std::uint8_t>(gift.kind));
  out.put(gift.number);
  out.put(gift.ticket);
  out.put(static_cast<std::uint8_t>(gift.peer.size()));
  out.bytes(gift.peer.data(), gift.peer.size());
  return ok();
}

// descriptors: how many came along
Status decode(const Message& message, std::size_t descriptors, Handover* gift) {
  wire::Reader in(message.bytes);
  const auto magic = in.get<std::uint32_t>();
  gift->session_id.bytes = in.get<std::array<std::byte, 16>>();
  std::span<const std::byte> keys = in.bytes(SessionKeys::kBytes);
  if (keys.size() == SessionKeys::kBytes) {
    gift->keys = SessionKeys::load(keys.first<SessionKeys::kBytes>());
  }
  const auto carrier = in.get<std::uint8_t>();
  const auto descriptors_sent = in.get<std::uint8_t>();
  const auto compress = in.get<std::uint8_t>();
  const auto kind = in.get<std::uint8_t>();
  gift->number = in.get<std::uint32_t>();
  gift->ticket = in.get<Ticket>();
  std::span<const std::byte> peer = in.bytes(in.get<std::uint8_t>());
  gift->peer.assign(reinterpret_cast<const char*>(peer.data()), peer.size());
  if (in.failed() || magic != kMagic || carrier >= kCarrierKinds ||
      compress > static_cast<std::uint8_t>(Compress::kOn) ||
      kind > static_cast<std::uint8_t>(HandoverKind::kPeerRefused) ||
      gift->peer.size() > kPeerNameBytesMax) {
    return {Code::kMalformed, "what arrived is no session"};
  }
  gift->carrier = static_cast<CarrierKind>(carrier);
  gift->compress = static_cast<Compress>(compress);
  gift->kind = static_cast<HandoverKind>(kind);
  const bool has_lanes =
      gift->carrier != CarrierKind::kRdma && gift->kind != HandoverKind::kPeerRefused;
  if (descriptors != descriptors_sent || (has_lanes ? descriptors < 2 : descriptors != 0)) {
    return {Code::kMalformed, "a session arrived without its lanes"};
  }
  return ok();
}

// Takes the descriptors out of a received message; whatever is not expected is closed.
Status adopt(msghdr& header, Handover* gift, std::size_t* descriptors) {
  std::size_t taken = 0;
  for (cmsghdr* part = CMSG_FIRSTHDR(&header); part != nullptr; part = CMSG_NXTHDR(&header, part)) {
    if (part->cmsg_level != SOL_SOCKET || part->cmsg_type != SCM_RIGHTS) continue;
    const std::size_t count = (part->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (std::size_t i = 0; i < count; ++i) {
      int number = -1;
      std::memcpy(&number, CMSG_DATA(part) + i * sizeof(int), sizeof(int));
      Fd fd(number);
      if (taken == 0) gift->calls = std::move(fd);
      if (taken != 0) gift->bulk.push_back(std::move(fd));
      ++taken;
    }
  }
  *descriptors = taken;
  const bool whole = (header.msg_flags & MSG_CTRUNC) == 0;
  return whole ? ok() : Status(Code::kMalformed, "a session arrived with too many lanes");
}

}  // namespace

Status send_session(int socket, const Handover& gift) {
  Message message;
  FARCALL_TRY(encode(gift, message));
  iovec part{message.bytes.data(), message.bytes.size()};
  alignas(cmsghdr) std::array<char, CMSG_SPACE(kDescriptorsMax * sizeof(int))> room{};
  msghdr header{};
  header.msg_iov = &part;
  header.msg_iovlen = 1;
  if (const std::size_t count = descriptors_of(gift); count != 0) {
    std::array<int, kDescriptorsMax> descriptors{gift.calls.get()};
    std::transform(gift.bulk.begin(), gift.bulk.end(), descriptors.begin() + 1,
                   [](const Fd& fd) { return fd.get(); });
    header.msg_control = room.data();
    header.msg_controllen = CMSG_SPACE(count * sizeof(int));
    cmsghdr* rights = CMSG_FIRSTHDR(&header);
    rights->cmsg_level = SOL_SOCKET;
    rights->cmsg_type = SCM_RIGHTS;
    rights->cmsg_len = CMSG_LEN(count * sizeof(int));
    std::memcpy(CMSG_DATA(rights), descriptors.data(), count * sizeof(int));
  }
  ssize_t sent = -1;
  do {
    sent = ::sendmsg(socket, &header, MSG_NOSIGNAL);
  } while (sent < 0 && errno == EINTR);
  if (sent < 0 && errno == EPIPE) return {Code::kClosed, "the worker is gone"};
  if (sent < 0) return Status::system("hand a session over");
  // A Unix socket takes a message this small whole, or nothing of it.
  if (sent != static_cast<ssize_t>(kMessageBytes)) {
    return {Code::kSystem, "a session was handed over in part"};
  }
  return ok();
}

Result<Handover> receive_session(int socket, Deadline deadline) {
  if (Status waited = wait_readable(socket, deadline); !waited.ok()) return waited;
  Message message;
  iovec part{message.bytes.data(), message.bytes.size()};
  alignas(cmsghdr) std::array<char, CMSG_SPACE(kDescriptorsMax * sizeof(int))> room{};
  msghdr header{};
  header.msg_iov = &part;
  header.msg_iovlen = 1;
  header.msg_control = room.data();
  header.msg_controllen = room.size();
  ssize_t got = -1;
  do {
    got = ::recvmsg(socket, &header, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
  } while (got < 0 && errno == EINTR);
  if (got == 0) return Status(Code::kClosed, "the supervisor is gone");
  if (got < 0) return Status::system("receive a session");
  Handover gift;
  std::size_t descriptors = 0;
  Status adopted = adopt(header, &gift, &descriptors);
  if (adopted.ok() && got != static_cast<ssize_t>(kMessageBytes)) {
    adopted = Status(Code::kMalformed, "a session arrived in part");
  }
  if (!adopted.ok()) return adopted;
  if (Status sound = decode(message, descriptors, &gift); !sound.ok()) return sound;
  return gift;
}

Status send_place(int socket, const Result<std::string>& place) {
  const std::string text = (place.ok() ? place.value() : place.status().text());
  std::array<std::byte, kPlaceMessageBytes> bytes{};
  wire::Writer out(bytes);
  out.put(static_cast<std::uint8_t>(place.ok() ? Code::kOk : place.status().code()));
  const std::size_t length = std::min(text.size(), kPlaceTextBytesMax);
  out.put(static_cast<std::uint16_t>(length));
  out.bytes(text.data(), length);
  return write_all(socket, bytes, Deadline::after(system_clock(), limits::kHandshakeMs));
}

Result<std::string> receive_place(int socket, Deadline deadline) {
  std::array<std::byte, kPlaceMessageBytes> bytes;
  if (Status got = read_exactly(socket, bytes, deadline); !got.ok()) return got;
  wire::Reader in(bytes);
  const auto code = in.get<std::uint8_t>();
  const auto length = in.get<std::uint16_t>();
  if (length > kPlaceTextBytesMax || code > static_cast<std::uint8_t>(Code::kDriver)) {
    return Status(Code::kMalformed, "what a worker said is no place");
  }
  std::span<const std::byte> text = in.bytes(length);
  std::string said(reinterpret_cast<const char*>(text.data()), text.size());
  if (code != 0) return Status(static_cast<Code>(code), said);
  return said;
}

}  // namespace farcall::link
