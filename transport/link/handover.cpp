#include "transport/link/handover.h"

#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <utility>

#include "transport/base/secure_arena.h"
#include "transport/link/socket.h"
#include "transport/wire/reader.h"
#include "transport/wire/writer.h"

namespace farcall::link {
namespace {

// Always this long, so that one receive takes exactly one message from any kind of Unix socket.
constexpr std::size_t kMessageBytes = 768;
constexpr std::uint32_t kMagic = 0x314f4846;  // "FHO1"
constexpr std::size_t kDescriptors = 2;
constexpr std::size_t kTextBytesMax = 64;

struct Message {
  std::array<std::byte, kMessageBytes> bytes{};
  Message() = default;
  Message(const Message&) = delete;
  ~Message() { wipe(bytes); }
};

void put_text(wire::Writer& out, const std::string& text) {
  if (text.size() > kTextBytesMax) out.fail();
  out.put(static_cast<std::uint8_t>(text.size()));
  out.bytes(text.data(), text.size());
}

std::string get_text(wire::Reader& in) {
  const auto bytes = in.get<std::uint8_t>();
  if (bytes > kTextBytesMax) in.fail();
  std::span<const std::byte> text = in.bytes(bytes);
  return std::string(reinterpret_cast<const char*>(text.data()), text.size());
}

Status encode(const Handover& gift, Message& message) {
  wire::Writer out(message.bytes);
  out.put(kMagic);
  out.put(gift.session_id.bytes);
  std::span<std::byte> keys = out.room(SessionKeys::kBytes);
  if (keys.size() == SessionKeys::kBytes) gift.keys.save(keys.first<SessionKeys::kBytes>());
  out.put(static_cast<std::uint8_t>(gift.strict ? 1 : 0));
  out.put(static_cast<std::uint8_t>(gift.peer.kind));
  out.put(gift.peer.not_after);
  for (const std::string* text :
       {&gift.peer.pool, &gift.peer.tenant, &gift.peer.user, &gift.peer.host, &gift.peer.serial}) {
    put_text(out, *text);
  }
  return out.ok() ? ok() : Status(Code::kOverQuota, "an identity too long to hand over");
}

Status decode(const Message& message, Handover* gift) {
  wire::Reader in(message.bytes);
  const auto magic = in.get<std::uint32_t>();
  gift->session_id.bytes = in.get<std::array<std::byte, 16>>();
  std::span<const std::byte> keys = in.bytes(SessionKeys::kBytes);
  if (keys.size() == SessionKeys::kBytes) {
    gift->keys = SessionKeys::load(keys.first<SessionKeys::kBytes>());
  }
  gift->strict = in.get<std::uint8_t>() != 0;
  const auto kind = in.get<std::uint8_t>();
  gift->peer.not_after = in.get<std::int64_t>();
  for (std::string* text : {&gift->peer.pool, &gift->peer.tenant, &gift->peer.user,
                            &gift->peer.host, &gift->peer.serial}) {
    *text = get_text(in);
  }
  if (in.failed() || magic != kMagic ||
      kind > static_cast<std::uint8_t>(security::IdentityKind::kAuthority)) {
    return {Code::kMalformed, "what arrived is no session"};
  }
  gift->peer.kind = static_cast<security::IdentityKind>(kind);
  return ok();
}

// Takes the descriptors out of a received message; whatever is not expected is closed.
Status adopt(msghdr& header, Handover* gift) {
  std::size_t taken = 0;
  for (cmsghdr* part = CMSG_FIRSTHDR(&header); part != nullptr; part = CMSG_NXTHDR(&header, part)) {
    if (part->cmsg_level != SOL_SOCKET || part->cmsg_type != SCM_RIGHTS) continue;
    const std::size_t count = (part->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (std::size_t i = 0; i < count; ++i) {
      int number = -1;
      std::memcpy(&number, CMSG_DATA(part) + i * sizeof(int), sizeof(int));
      Fd fd(number);
      if (taken == 0) gift->calls = std::move(fd);
      if (taken == 1) gift->bulk = std::move(fd);
      ++taken;
    }
  }
  const bool whole = taken == kDescriptors && (header.msg_flags & MSG_CTRUNC) == 0;
  return whole ? ok() : Status(Code::kMalformed, "a session arrived without its two lanes");
}

}  // namespace

Status send_session(int socket, const Handover& gift) {
  Message message;
  FARCALL_TRY(encode(gift, message));
  iovec part{message.bytes.data(), message.bytes.size()};
  alignas(cmsghdr) std::array<char, CMSG_SPACE(kDescriptors * sizeof(int))> room{};
  msghdr header{};
  header.msg_iov = &part;
  header.msg_iovlen = 1;
  header.msg_control = room.data();
  header.msg_controllen = room.size();
  cmsghdr* rights = CMSG_FIRSTHDR(&header);
  rights->cmsg_level = SOL_SOCKET;
  rights->cmsg_type = SCM_RIGHTS;
  rights->cmsg_len = CMSG_LEN(kDescriptors * sizeof(int));
  const int descriptors[kDescriptors] = {gift.calls.get(), gift.bulk.get()};
  std::memcpy(CMSG_DATA(rights), descriptors, sizeof(descriptors));
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
  alignas(cmsghdr) std::array<char, CMSG_SPACE(8 * sizeof(int))> room{};
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
  Status adopted = adopt(header, &gift);
  if (adopted.ok() && got != static_cast<ssize_t>(kMessageBytes)) {
    adopted = Status(Code::kMalformed, "a session arrived in part");
  }
  if (!adopted.ok()) return adopted;
  if (Status sound = decode(message, &gift); !sound.ok()) return sound;
  return gift;
}

}  // namespace farcall::link
