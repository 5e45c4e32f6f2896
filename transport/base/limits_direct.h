// Limits of copies from server to server (transport/api/hand_direct.h): a part of limits.h that few
// need.
#pragma once
#include "transport/base/limits.h"

namespace farcall::limits {

// Servers that one may be told to talk to: a list that a person keeps.
inline constexpr std::size_t kPeersMax = 64;
// A copy takes three round trips to set up, and a piece of one through the client two: below this
// that is no slower.
inline constexpr std::size_t kDirectBytesMin = 256 * 1024;
// Copies that a session expects from other servers, and how long one may take to begin.
inline constexpr std::size_t kDirectTicketsMax = 64;
inline constexpr std::int64_t kDirectTicketMs = 10'000;
// Links that one session keeps to sessions on other servers, each way.
inline constexpr std::size_t kDirectLinksMax = kServersMax;
// Connections to other servers that one session may make its server open: one each would do.
inline constexpr int kPeerDialsMax = 64;
// Copies in a row that did not get through before a client gives that way up.
inline constexpr int kDirectFailuresMax = 3;

}  // namespace farcall::limits
