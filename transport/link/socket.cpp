#include "transport/link/socket.h"

#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <cerrno>
#include <cstddef>
#include <cstring>
#include <memory>

#include "transport/base/limits.h"
#include "transport/link/acceptor.h"

namespace farcall::link {
namespace {

constexpr int kSocketBufferBytes = limits::kLaneWindowBytes;
constexpr int kKeepaliveIdleS = 10;
constexpr int kKeepaliveGapS = 5;
constexpr int kKeepaliveProbes = 3;
constexpr int kUserTimeoutMs = 25'000;
// As many as may stand at the door at once; the kernel turns the rest away.
constexpr int kListenBacklog = limits::kUnauthenticatedConnectionsMax;

void set(int fd, int level, int option, int value) {
  // A refusal leaves the connection slower or slower to notice a death, not wrong.
  ::setsockopt(fd, level, option, &value, sizeof(value));
}

// A congestion control that paces (BBR, the default of some hosts) sets a timer for every few
// segments: over the loopback interface, which has no queue to spare, that took a quarter of the
// bandwidth. Every kernel has reno, and lets everybody choose it.
void do_not_pace(int fd) {
  constexpr char kReno[] = "reno";
  ::setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, kReno, sizeof(kReno) - 1);
}

struct AddressesFree {
  void operator()(addrinfo* list) const { ::freeaddrinfo(list); }
};
using Addresses = std::unique_ptr<addrinfo, AddressesFree>;

Result<Addresses> resolve(const std::string& host, std::uint16_t port, int flags) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = flags | AI_NUMERICSERV;
  addrinfo* list = nullptr;
  const char* name = host.empty() ? nullptr : host.c_str();
  const int error = ::getaddrinfo(name, std::to_string(port).c_str(), &hints, &list);
  if (error != 0) {
    return Status(Code::kNotFound, "no address for \"" + host + "\": " + ::gai_strerror(error) +
                                       "; check the name, or give the server's IP address");
  }
  return Addresses(list);
}

Status wait_for(int fd, short events, Deadline deadline) {
  for (;;) {
    pollfd entry{fd, events, 0};
    const int ready = ::poll(&entry, 1, deadline.left_ms());
    if (ready > 0) return ok();
    if (ready < 0 && errno != EINTR) return Status::system("wait for a socket");
    if (deadline.passed()) return {Code::kTimeout, "the peer did not answer in time"};
  }
}

// Begins a connection on a new socket, which finish_connect() waits for.
Result<Fd> start_connect(const sockaddr* to, socklen_t bytes) {
  Fd fd(::socket(to->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd) return Status::system("socket");
  tune_socket(fd.get());
  if (::connect(fd.get(), to, bytes) != 0 && errno != EINPROGRESS) {
    return Status::system("connect");
  }
  return fd;
}

Status finish_connect(int fd, Deadline deadline) {
  FARCALL_TRY(wait_for(fd, POLLOUT, deadline));
  int error = 0;
  socklen_t bytes = sizeof(error);
  ::getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &bytes);
  return error == 0 ? ok() : Status::system("connect", error);
}

// The address of "@name"; 0 bytes when it is none.
socklen_t abstract_address(const std::string& name, sockaddr_un* at) {
  *at = {};
  at->sun_family = AF_UNIX;
  if (name.size() < 2 || name.size() > sizeof(at->sun_path) || name.front() != '@') return 0;
  std::memcpy(at->sun_path + 1, name.data() + 1, name.size() - 1);
  return static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + name.size());
}

// The host part of an address, without the port.
std::string host_of(const sockaddr_storage& at) {
  if (at.ss_family == AF_INET) {
    const auto& v4 = reinterpret_cast<const sockaddr_in&>(at).sin_addr;
    return std::string(reinterpret_cast<const char*>(&v4), sizeof(v4));
  }
  if (at.ss_family == AF_INET6) {
    const auto& v6 = reinterpret_cast<const sockaddr_in6&>(at).sin6_addr;
    return std::string(reinterpret_cast<const char*>(&v6), sizeof(v6));
  }
  return "";
}

}  // namespace

void tune_socket(int fd) {
  ::fcntl(fd, F_SETFL, ::fcntl(fd, F_GETFL) | O_NONBLOCK);
  int domain = AF_UNIX;
  socklen_t bytes = sizeof(domain);
  ::getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &bytes);
  if (domain == AF_UNIX) return;
  set(fd, IPPROTO_TCP, TCP_NODELAY, 1);
  set(fd, SOL_SOCKET, SO_SNDBUF, kSocketBufferBytes);
  set(fd, SOL_SOCKET, SO_RCVBUF, kSocketBufferBytes);
  set(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
  set(fd, IPPROTO_TCP, TCP_KEEPIDLE, kKeepaliveIdleS);
  set(fd, IPPROTO_TCP, TCP_KEEPINTVL, kKeepaliveGapS);
  set(fd, IPPROTO_TCP, TCP_KEEPCNT, kKeepaliveProbes);
}

void set_use(int fd, SocketUse use) {
  set(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, use == SocketUse::kControl ? kUserTimeoutMs : 0);
  if (use == SocketUse::kLane && is_same_host(fd)) do_not_pace(fd);
}

Result<Fd> connect_tcp(const std::string& host, std::uint16_t port, Deadline deadline) {
  Result<Addresses> addresses = resolve(host, port, 0);
  if (!addresses.ok()) return addresses.status();
  Status last(Code::kNotFound, "no address");
  for (const addrinfo* to = addresses.value().get(); to != nullptr; to = to->ai_next) {
    Result<Fd> fd = start_connect(to->ai_addr, to->ai_addrlen);
    last = fd.ok() ? finish_connect(fd.value().get(), deadline) : fd.status();
    if (last.ok()) return fd;
  }
  const std::string where = host + ":" + std::to_string(port);
  if (last.code() == Code::kTimeout) {
    return Status(Code::kTimeout, "no answer from " + where + "; is the server up, and may this " +
                                      "machine reach it?");
  }
  return Status(last.code(), where + ": " + last.text(), last.detail());
}

Result<std::vector<Fd>> connect_beside(int connected, std::size_t count, Deadline deadline) {
  sockaddr_storage there{};
  socklen_t bytes = sizeof(there);
  if (::getpeername(connected, reinterpret_cast<sockaddr*>(&there), &bytes) != 0) {
    if (errno == ENOTCONN) return Status(Code::kClosed, "the peer closed the connection");
    return Status::system("find the peer's address");
  }
  std::vector<Fd> made;
  while (made.size() < count) {
    Result<Fd> next = start_connect(reinterpret_cast<const sockaddr*>(&there), bytes);
    if (!next.ok()) return next.status();
    made.push_back(std::move(next).value());
  }
  for (const Fd& each : made) {
    if (Status up = finish_connect(each.get(), deadline); !up.ok()) return up;
  }
  return made;
}

Result<Fd> connect_abstract(const std::string& name) {
  sockaddr_un at;
  const socklen_t bytes = abstract_address(name, &at);
  if (bytes == 0) return Status(Code::kMalformed, "\"" + name + "\" is no abstract socket");
  Fd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!fd) return Status::system("socket");
  if (::connect(fd.get(), reinterpret_cast<sockaddr*>(&at), bytes) != 0) {
    if (errno != ECONNREFUSED) return Status::system("connect to " + name);
    return Status(Code::kNotFound,
                  "the server's shared memory cannot be reached from here; it needs a server on "
                  "this host, in this network namespace");
  }
  tune_socket(fd.get());
  return fd;
}

bool is_same_host(int fd) {
  sockaddr_storage here{};
  sockaddr_storage there{};
  socklen_t here_bytes = sizeof(here);
  socklen_t there_bytes = sizeof(there);
  if (::getsockname(fd, reinterpret_cast<sockaddr*>(&here), &here_bytes) != 0) return false;
  if (::getpeername(fd, reinterpret_cast<sockaddr*>(&there), &there_bytes) != 0) return false;
  const std::string host = host_of(here);
  return !host.empty() && host == host_of(there);
}

Status wait_readable(int fd, Deadline deadline) { return wait_for(fd, POLLIN, deadline); }

Status read_exactly(int fd, std::span<std::byte> room, Deadline deadline) {
  while (!room.empty()) {
    const ssize_t got = ::recv(fd, room.data(), room.size(), MSG_DONTWAIT);
    if (got > 0) {
      room = room.subspan(static_cast<std::size_t>(got));
    } else if (got == 0) {
      return {Code::kClosed, "the peer closed the connection"};
    } else if (errno == EAGAIN) {
      FARCALL_TRY(wait_readable(fd, deadline));
    } else if (errno != EINTR) {
      return Status::system("receive");
    }
  }
  return ok();
}

Status write_all(int fd, std::span<const std::byte> bytes, Deadline deadline) {
  while (!bytes.empty()) {
    const ssize_t sent = ::send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent >= 0) {
      bytes = bytes.subspan(static_cast<std::size_t>(sent));
    } else if (errno == EAGAIN) {
      FARCALL_TRY(wait_for(fd, POLLOUT, deadline));
    } else if (errno == EPIPE || errno == ECONNRESET) {
      return {Code::kClosed, "the peer closed the connection"};
    } else if (errno != EINTR) {
      return Status::system("send");
    }
  }
  return ok();
}

Result<Fd> listen_tcp(const std::string& host, std::uint16_t port) {
  Result<Addresses> addresses = resolve(host, port, AI_PASSIVE);
  if (!addresses.ok()) return addresses.status();
  const addrinfo& at = *addresses.value();
  Fd fd(::socket(at.ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!fd) return Status::system("socket");
  set(fd.get(), SOL_SOCKET, SO_REUSEADDR, 1);
  set(fd.get(), SOL_SOCKET, SO_RCVBUF, kSocketBufferBytes);  // before listen: scales the window
  const std::string where = host + ":" + std::to_string(port);
  if (::bind(fd.get(), at.ai_addr, at.ai_addrlen) != 0) return Status::system("bind " + where);
  if (::listen(fd.get(), kListenBacklog) != 0) return Status::system("listen on " + where);
  return fd;
}

Result<Fd> listen_abstract(const std::string& name) {
  sockaddr_un at;
  const socklen_t bytes = abstract_address(name, &at);
  if (bytes == 0) return Status(Code::kUnsupported, "\"" + name + "\" is no abstract socket");
  Fd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!fd) return Status::system("socket");
  if (::bind(fd.get(), reinterpret_cast<sockaddr*>(&at), bytes) != 0) {
    return Status::system("bind " + name);
  }
  if (::listen(fd.get(), kListenBacklog) != 0) return Status::system("listen on " + name);
  return fd;
}

std::uint16_t bound_port(const Fd& socket) {
  sockaddr_storage at{};
  socklen_t bytes = sizeof(at);
  if (::getsockname(socket.get(), reinterpret_cast<sockaddr*>(&at), &bytes) != 0) return 0;
  if (at.ss_family == AF_INET) return ntohs(reinterpret_cast<sockaddr_in*>(&at)->sin_port);
  if (at.ss_family == AF_INET6) return ntohs(reinterpret_cast<sockaddr_in6*>(&at)->sin6_port);
  return 0;
}

Result<Fd> accept_tcp(const Fd& listener) {
  for (;;) {
    Fd fd(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (fd) {
      tune_socket(fd.get());
      return fd;
    }
    if (errno == EAGAIN) return Status(Code::kTimeout, "no connection is waiting");
    // The connection died in the queue; the next one may be fine.
    if (errno != EINTR && errno != ECONNABORTED) return Status::system("accept");
  }
}

std::string peer_address(const Fd& socket) {
  sockaddr_storage at{};
  socklen_t bytes = sizeof(at);
  char host[NI_MAXHOST] = {};
  char port[NI_MAXSERV] = {};
  if (::getpeername(socket.get(), reinterpret_cast<sockaddr*>(&at), &bytes) != 0) return "unknown";
  if (at.ss_family == AF_UNIX) return "unix";
  if (::getnameinfo(reinterpret_cast<sockaddr*>(&at), bytes, host, sizeof(host), port, sizeof(port),
                    NI_NUMERICHOST | NI_NUMERICSERV) != 0) {
    return "unknown";
  }
  const bool v6 = at.ss_family == AF_INET6;
  return (v6 ? "[" + std::string(host) + "]" : std::string(host)) + ":" + port;
}

}  // namespace farcall::link
