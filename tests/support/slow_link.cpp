// A link that is far away: forwards TCP connections with a delay each way and a bandwidth limit, in
// user space, so that no privilege and no kernel module is needed.
//
//   slow_link PORT --rtt-us 500 [--mbit 1000]
//
// Listens on a free loopback port, which it prints, and connects to PORT on the loopback interface.
// Every byte comes out rtt/2 after it went in, or later where the line is still busy with the bytes
// before it; nothing is reordered or lost. What is under way is bounded: a sender that is too fast
// finds its socket full. Ends with its standard input. One thread.
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

struct Line {
  std::int64_t delay_ns = 0;
  double ns_per_byte = 0;
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
  Way(std::shared_ptr<Socket> from, std::shared_ptr<Socket> to, const Line& line)
      : from_(std::move(from)), to_(std::move(to)), line_(line) {}

  bool is_over() const { return is_over_; }
  void ask(std::vector<pollfd>& polled, std::int64_t now) {
    const bool takes = !has_ended_ && under_way_ < kUnderWayBytesMax;
    polled.push_back({from_->fd, static_cast<short>(takes ? POLLIN : 0), 0});
    const bool gives = !pieces_.empty() && pieces_.front().due_ns <= now;
    polled.push_back({to_->fd, static_cast<short>(gives ? POLLOUT : 0), 0});
  }
  std::int64_t due_ns() const { return pieces_.empty() ? INT64_MAX : pieces_.front().due_ns; }

  void take(std::int64_t now) {
    if (has_ended_ || under_way_ >= kUnderWayBytesMax) return;
    std::vector<char> bytes(kReadBytes);
    const ssize_t got = ::recv(from_->fd, bytes.data(), bytes.size(), 0);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (got <= 0) has_ended_ = true;
    bytes.resize(got > 0 ? static_cast<std::size_t>(got) : 0);
    line_free_ns_ =
        std::max(line_free_ns_, now) +
        static_cast<std::int64_t>(line_.ns_per_byte * static_cast<double>(bytes.size()));
    under_way_ += bytes.size();
    // The end of the stream travels as an empty piece.
    pieces_.push_back({line_free_ns_ + line_.delay_ns, std::move(bytes), 0});
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
      under_way_ -= static_cast<std::size_t>(sent);
      if (piece.sent == piece.bytes.size()) pieces_.pop_front();
    }
  }

 private:
  struct Piece {
    std::int64_t due_ns;
    std::vector<char> bytes;
    std::size_t sent;
  };
  const std::shared_ptr<Socket> from_, to_;
  const Line line_;
  std::deque<Piece> pieces_;
  std::size_t under_way_ = 0;
  std::int64_t line_free_ns_ = 0;
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

void accept_one(int listener, std::uint16_t port, const Line& line,
                std::vector<std::unique_ptr<Way>>& ways) {
  const int near = ::accept(listener, nullptr, nullptr);
  if (near < 0) return;
  auto client = std::make_shared<Socket>(near);
  const int far = connect_to(port);
  if (far < 0) return;
  auto server = std::make_shared<Socket>(far);
  ways.push_back(std::make_unique<Way>(client, server, line));
  ways.push_back(std::make_unique<Way>(server, client, line));
}

// One turn: waits until something can be read, is due, or has room again.
void turn(int listener, std::uint16_t port, const Line& line,
          std::vector<std::unique_ptr<Way>>& ways) {
  std::int64_t now = now_ns(), next = INT64_MAX;
  std::vector<pollfd> polled{{STDIN_FILENO, POLLIN, 0}, {listener, POLLIN, 0}};
  for (auto& way : ways) {
    way->ask(polled, now);
    if (way->due_ns() > now) next = std::min(next, way->due_ns());
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
  if ((polled[1].revents & POLLIN) != 0) accept_one(listener, port, line, ways);
}

}  // namespace

int main(int argc, char** argv) {
  Line line;
  std::uint16_t port = 0;
  for (int i = 1; i < argc; ++i) {
    const std::string word = argv[i];
    if (word == "--rtt-us" && i + 1 < argc) {
      line.delay_ns = static_cast<std::int64_t>(std::atof(argv[++i]) * 1e3 / 2);
    } else if (word == "--mbit" && i + 1 < argc) {
      line.ns_per_byte = 8e3 / std::atof(argv[++i]);
    } else {
      port = static_cast<std::uint16_t>(std::atoi(word.c_str()));
    }
  }
  if (port == 0) {
    std::fprintf(stderr, "usage: slow_link PORT --rtt-us MICROSECONDS [--mbit MBIT]\n");
    return 2;
  }
  // Else the kernel rounds every wait up by 50 µs.
  ::prctl(PR_SET_TIMERSLACK, 1UL, 0UL, 0UL, 0UL);
  std::uint16_t own = 0;
  const int listener = listen_on_loopback(&own);
  std::printf("%u\n", own);
  std::fflush(stdout);
  std::vector<std::unique_ptr<Way>> ways;
  for (;;) turn(listener, port, line, ways);
}
