// Copies from server to server: the bodies of their messages, as hand.h has those of the others.
//
// The client is the authority. It has the receiver expect so many bytes at an address, and is given
// a ticket; it hands the ticket to the sender, which presents it to the receiver over a link that
// the two servers open (transport/link/peer.h) and sends the bytes; then it asks the receiver what
// has become of them. A ticket is good once, for one sender, for the bytes it is for, and not for
// long. Nothing a sender says decides where its bytes go.
#pragma once
#include <array>
#include <cstdint>
#include <cstring>
#include <string_view>

#include "transport/api/caller.h"
#include "transport/base/ticket.h"

namespace farcall::api::hand {

// Messages of the link that are no CUDA functions, and in no row of the table: they are of the
// session, and the hello's protocol covers them.
inline constexpr RowInfo kDirectFacts{0x0620, When::Sync, "direct_facts"};
inline constexpr RowInfo kDirectExpect{0x0621, When::Sync, "direct_expect"};
inline constexpr RowInfo kDirectPush{0x0622, When::Waits, "direct_push"};
inline constexpr RowInfo kDirectSettle{0x0623, When::Waits, "direct_settle"};
inline constexpr RowInfo kDirectClaim{0x0624, When::Sync, "direct_claim"};  // between servers
inline constexpr RowInfo kDirectLand{0x0625, When::Sync, "direct_land"};    // between servers

// The name in a server's certificate, which ends with NUL.
inline constexpr std::size_t kServerNameBytes = 72;
using ServerName = std::array<char, kServerNameBytes>;
// Empty for what does not end.
inline std::string_view text_of(const ServerName& name) {
  const void* end = std::memchr(name.data(), 0, name.size());
  if (end == nullptr) return {};
  return {name.data(), static_cast<std::size_t>(static_cast<const char*>(end) - name.data())};
}
inline ServerName name_of(std::string_view text) {
  ServerName name{};
  if (text.size() < name.size()) std::memcpy(name.data(), text.data(), text.size());
  return name;
}

// The status of a reply is the thread's business, as ever; what came of the request itself is a
// DirectOutcome behind it, so that neither is taken for the other.
enum class DirectOutcome : std::uint32_t {
  kDone = 0,
  kNotHere = 1,   // this server and the other do not talk to each other, and will not
  kNotNow = 2,    // too many at once
  kNoLink = 3,    // there is none, or it broke
  kRefused = 4,   // the ticket was not good (any more)
  kNotUsed = 5,   // the ticket was not used: nothing has come
  kBadRange = 6,  // not all within one allocation of this session
  kFailed = 7,    // the driver says so
};

// --- 0x0620 direct_facts: empty body.  rep: DirectOutcome (kDone, kNotHere), DirectFacts
struct DirectFacts {
  std::array<std::byte, 16> session;
  ServerName name;
};

// --- 0x0621 direct_expect.  rep: DirectOutcome (kDone, kNotHere, kNotNow, kBadRange), the ticket
struct DirectExpect {
  std::uint64_t dst;
  std::uint64_t bytes;
  ServerName sender;
};

// --- 0x0622 direct_push.  rep: DirectOutcome, once all has landed or it is known that it will not
struct DirectPush {
  std::uint64_t src;
  std::uint64_t bytes;
  std::array<std::byte, 16> session;  // of the receiver
  Ticket ticket;
  ServerName receiver;
};

// --- 0x0623 direct_settle: also after a failure of an earlier call. rep: DirectOutcome; kDone: all
// has landed. Nothing lands after the answer.
struct DirectSettle {
  Ticket ticket;
  std::uint32_t abandons;  // 1: the sender has failed, so what is under way is broken off
  std::uint32_t zero;
};

// --- 0x0624 direct_claim, on a link between servers; the body of its answer is a DirectOutcome:
// kRefused for a ticket that is not good (any more) for this sender and so many bytes
struct DirectClaim {
  Ticket ticket;
  std::uint64_t bytes;
};

// --- 0x0625 direct_land, after a claim: u64 payload_bytes, the payload on the bulk lane. Answered
// by a DirectOutcome once it has landed

}  // namespace farcall::api::hand
