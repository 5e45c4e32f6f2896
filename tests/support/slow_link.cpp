// A link that is far away: forwards TCP connections with a delay each way and bandwidth limits, in
// user space, so that no privilege and no kernel module is needed.
//
//   slow_link PORT --rtt-us 500 [--mbit 1000] [--window-kib 2048]
//
// Listens on a free loopback port, which it prints, and connects to PORT on the loopback interface.
// Every byte comes out rtt/2 after it went in, or later where the line is still busy with the bytes
// before it; nothing is reordered or lost. --mbit is of the line, which all connections share, each
// way. --window-kib is of each connection: so many bytes go, and no more before the word that they
// arrived, another rtt/2 later; what TCP does by itself on a line that is really long. A sender
// that is too fast finds its socket full. Ends with its standard input. One thread.
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <deque>
#include <memory>
#include <string>
#include <vector>

namespace {

constexpr std::size_t kReadBytes = 64 * 1024;
// More than a line of 10 Gbit/s and 30 ms can hold is not kept.
constexpr std::size_t kUnderWayBytesMax = 48 << 20;

std::int64_t now_ns() {
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1'000'000'000 + now.tv_nsec;
}

[[noreturn]] void fail(const char* what) {
  std::fprintf(stderr, "slow_link: %s: %s\n", what, std::strerror(errno));
  std::exit(1);
}

struct Link {
  std::int64_t delay_ns = 0;  // each way
  double ns_per_byte = 0;
  std::size_t window_bytes = kUnderWayBytesMax;
};

// One direction of the link, with what all connections have put on it.
struct Line {
  explicit Line(const Link& of) : link(of) {}
  // When bytes that are put on it now are out at the far end.
  std::int64_t carry(std::size_t bytes, std::int64_t now) {
    free_ns = std::max(free_ns, now) +
              static_cast<std::int64_t>(link.ns_per_byte * static_cast<double>(bytes));
    return free_ns + link.delay_ns;
  }
  const Link link;
  std::int64_t free_ns = 0;
};

struct Socket {
  explicit Socket(int made) : fd(made) {
    const int on = 1;
    ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    ::fcntl(fd, F_SETFL, O_NONBLOCK);
  }
  ~Socket() { ::close(fd); }
  Socket(const Socket&) = delete;
  Socket& operator=(const Socket&) = delete;
  const int fd;
};

// One direction of one connection.
class Way {
 public:
  Way(std::shared_ptr<Socket> from, std::shared_ptr<Socket> to, Line& line)
      : from_(std::move(from)), to_(std::move(to)), line_(line) {}

  bool is_over() const { return is_over_; }
  void ask(std::vector<pollfd>& polled, std::int64_t now) {
    for (; !acks_.empty() && acks_.front().due_ns <= now; acks_.pop_front()) {
      under_way_ -= acks_.front().bytes;
    }
    polled.push_back({from_->fd, static_cast<short>(room() > 0 ? POLLIN : 0), 0});
    const bool gives = !pieces_.empty() && pieces_.front().due_ns <= now;
    polled.push_back({to_->fd, static_cast<short>(gives ? POLLOUT : 0), 0});
  }
  // When something is to be done that no descriptor tells of.
  std::int64_t due_ns(std::int64_t now) const {
    std::int64_t next = INT64_MAX;
    // What is due already waits for room, which poll tells of.
    if (!pieces_.empty() && pieces_.front().due_ns > now) next = pieces_.front().due_ns;
    if (!acks_.empty()) next = std::min(next, acks_.front().due_ns);
    return next;
  }

  void take(std::int64_t now) {
    if (room() == 0) return;
    std::vector<char> bytes(std::min(kReadBytes, room()));
    const ssize_t got = ::recv(from_->fd, bytes.data(), bytes.size(), 0);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (got <= 0) has_ended_ = true;
    bytes.resize(got > 0 ? static_cast<std::size_t>(got) : 0);
    under_way_ += bytes.size();
    const std::int64_t due_ns = line_.carry(bytes.size(), now);
    // The end of the stream travels as an empty piece.
    pieces_.push_back({due_ns, std::move(bytes), 0});
  }

  void give(std::int64_t now) {
    while (!is_over_ && !pieces_.empty() && pieces_.front().due_ns <= now) {
      Piece& piece = pieces_.front();
      if (piece.bytes.empty()) {
        ::shutdown(to_->fd, SHUT_WR);
        is_over_ = true;
        return;
      }
      const ssize_t sent = ::send(to_->fd, piece.bytes.data() + piece.sent,
                                  piece.bytes.size() - piece.sent, MSG_NOSIGNAL);
      if (sent < 0 && (errno == EAGAIN || errno == EINTR)) return;
      if (sent < 0) {
        // Nobody reads any more: the sender must learn of it.
        ::shutdown(from_->fd, SHUT_RDWR);
        is_over_ = true;
        return;
      }
      piece.sent += static_cast<std::size_t>(sent);
      acks_.push_back({now + line_.link.delay_ns, static_cast<std::size_t>(sent)});
      if (piece.sent == piece.bytes.size()) pieces_.pop_front();
    }
  }

 private:
  struct Piece {
    std::int64_t due_ns;
    std::vector<char> bytes;
    std::size_t sent;
  };
  struct Ack {
    std::int64_t due_ns;
    std::size_t bytes;
  };
  std::size_t room() const {
    return has_ended_ ? 0 : line_.link.window_bytes - std::min(line_.link.window_bytes, under_way_);
  }
  const std::shared_ptr<Socket> from_, to_;
  Line& line_;
  std::deque<Piece> pieces_;
  std::deque<Ack> acks_;       // of what has arrived, on their way back
  std::size_t under_way_ = 0;  // not acknowledged
  bool has_ended_ = false;
  bool is_over_ = false;
};

int listen_on_loopback(std::uint16_t* port) {
  const int listener = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = ::htonl(INADDR_LOOPBACK);
  socklen_t bytes = sizeof address;
  if (listener < 0 || ::bind(listener, reinterpret_cast<sockaddr*>(&address), bytes) != 0 ||
      ::listen(listener, 64) != 0 ||
      ::getsockname(listener, reinterpret_cast<sockaddr*>(&address), &bytes) != 0) {
    fail("listen");
  }
  *port = ::ntohs(address.sin_port);
  return listener;
}

int connect_to(std::uint16_t port) {
  const int made = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = ::htonl(INADDR_LOOPBACK);
  address.sin_port = ::htons(port);
  if (::connect(made, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0) return made;
  ::close(made);
  return -1;
}

struct Lines {
  Line to_server, to_client;
};

void accept_one(int listener, std::uint16_t port, Lines& lines,
                std::vector<std::unique_ptr<Way>>& ways) {
  const int near = ::accept(listener, nullptr, nullptr);
  if (near < 0) return;
  auto client = std::make_shared<Socket>(near);
  const int far = connect_to(port);
  if (far < 0) return;
  auto server = std::make_shared<Socket>(far);
  ways.push_back(std::make_unique<Way>(client, server, lines.to_server));
  ways.push_back(std::make_unique<Way>(server, client, lines.to_client));
}

// One turn: waits until something can be read, is due, or has room again.
void turn(int listener, std::uint16_t port, Lines& lines, std::vector<std::unique_ptr<Way>>& ways) {
  std::int64_t now = now_ns(), next = INT64_MAX;
  std::vector<pollfd> polled{{STDIN_FILENO, POLLIN, 0}, {listener, POLLIN, 0}};
  for (auto& way : ways) {
    way->ask(polled, now);
    next = std::min(next, way->due_ns(now));
  }
  const std::int64_t left =
      next == INT64_MAX ? 1'000'000'000 : std::max<std::int64_t>(0, next - now);
  const timespec timeout{left / 1'000'000'000, left % 1'000'000'000};
  if (::ppoll(polled.data(), polled.size(), &timeout, nullptr) < 0 && errno != EINTR) fail("poll");
  char rest[256];
  if ((polled[0].revents & (POLLIN | POLLHUP)) != 0 &&
      ::read(STDIN_FILENO, rest, sizeof rest) <= 0) {
    std::exit(0);
  }
  now = now_ns();
  for (std::size_t i = 0; i < ways.size(); ++i) {
    // Errors show at the read, so that they are not waited for in circles.
    if ((polled[2 + 2 * i].revents & (POLLIN | POLLHUP | POLLERR)) != 0) ways[i]->take(now);
    ways[i]->give(now);
  }
  std::erase_if(ways, [](const auto& way) { return way->is_over(); });
  if ((polled[1].revents & POLLIN) != 0) accept_one(listener, port, lines, ways);
}

}  // namespace

int main(int argc, char** argv) {
  Link link;
  std::uint16_t port = 0;
  for (int i = 1; i < argc; ++i) {
    const std::string word = argv[i];
    if (word == "--rtt-us" && i + 1 < argc) {
      link.delay_ns = static_cast<std::int64_t>(std::atof(argv[++i]) * 1e3 / 2);
    } else if (word == "--mbit" && i + 1 < argc) {
      link.ns_per_byte = 8e3 / std::atof(argv[++i]);
    } else if (word == "--window-kib" && i + 1 < argc) {
      link.window_bytes = static_cast<std::size_t>(std::atoi(argv[++i])) << 10;
    } else {
      port = static_cast<std::uint16_t>(std::atoi(word.c_str()));
    }
  }
  if (port == 0) {
    std::fprintf(stderr,
                 "usage: slow_link PORT --rtt-us MICROSECONDS [--mbit MBIT] [--window-kib KIB]\n");
    return 2;
  }
  // Else the kernel rounds every wait up by 50 µs.
  ::prctl(PR_SET_TIMERSLACK, 1UL, 0UL, 0UL, 0UL);
  std::uint16_t own = 0;
  const int listener = listen_on_loopback(&own);
  std::printf("%u\n", own);
  std::fflush(stdout);
  Lines lines{Line(link), Line(link)};
  std::vector<std::unique_ptr<Way>> ways;
  for (;;) turn(listener, port, lines, ways);
}
