#include "tools/bench/limit_pipe.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "transport/base/limits.h"

namespace farcall::bench {
namespace {

constexpr std::size_t kRecordMax = kHeader + limits::kRecordBytesMax + limits::kRecordTagBytes;

void pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#endif
}

class TcpPipe final : public Pipe {
 public:
  explicit TcpPipe(int socket)
      : socket_(socket), out_(new std::byte[kRecordMax]()), in_(new std::byte[kRecordMax]()) {
    const int on = 1, bytes = limits::kLaneWindowBytes;
    ::setsockopt(socket_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    ::setsockopt(socket_, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof(bytes));
    ::setsockopt(socket_, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof(bytes));
    // As on a lane between two ends of one host: some hosts' default paces.
    ::setsockopt(socket_, IPPROTO_TCP, TCP_CONGESTION, "reno", 4);
  }
  TcpPipe(const TcpPipe&) = delete;
  TcpPipe& operator=(const TcpPipe&) = delete;
  ~TcpPipe() override { ::close(socket_); }

  std::span<std::byte> reserve(std::size_t bytes) override { return {out_.get(), bytes}; }
  void commit(std::span<std::byte> record) override {
    while (!record.empty()) {
      const ssize_t sent = ::send(socket_, record.data(), record.size(), MSG_NOSIGNAL);
      if (sent < 0 && errno != EINTR) die("send");
      if (sent > 0) record = record.subspan(static_cast<std::size_t>(sent));
    }
  }
  std::span<const std::byte> take(std::size_t bytes) override {
    for (std::size_t have = 0; have < bytes;) {
      const ssize_t got = ::recv(socket_, in_.get() + have, bytes - have, MSG_DONTWAIT);
      if (got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR)) die("recv");
      if (got > 0) have += static_cast<std::size_t>(got);
    }
    return {in_.get(), bytes};
  }
  void release() override {}

 private:
  int socket_;
  std::unique_ptr<std::byte[]> out_, in_;
};

// One direction: slots in turn; `filled` and `emptied` count them for ever.
struct Ring {
  static constexpr std::size_t kSlots = 8;  // 2 MiB, as a lane has; with half, a twentieth slower
  alignas(64) std::atomic<std::uint64_t> filled{0};
  alignas(64) std::atomic<std::uint64_t> emptied{0};
  alignas(64) std::byte slots[kSlots][(kRecordMax + 63) / 64 * 64];
};

// Both directions, in one memfd.
struct SharedRings {
  SharedRings() {
    const int fd = ::memfd_create("bench_limit", MFD_CLOEXEC);
    if (fd < 0 || ::ftruncate(fd, 2 * sizeof(Ring)) != 0) die("memfd");
    void* at =
        ::mmap(nullptr, 2 * sizeof(Ring), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd, 0);
    ::close(fd);
    if (at == MAP_FAILED) die("mmap");
    rings = static_cast<Ring*>(at);  // zero bytes are an empty ring
  }
  SharedRings(const SharedRings&) = delete;
  SharedRings& operator=(const SharedRings&) = delete;
  ~SharedRings() { ::munmap(rings, 2 * sizeof(Ring)); }
  Ring* rings = nullptr;
};

class RingPipe final : public Pipe {
 public:
  RingPipe(std::shared_ptr<SharedRings> shared, int out)
      : shared_(std::move(shared)), out_(shared_->rings[out]), in_(shared_->rings[1 - out]) {}

  std::span<std::byte> reserve(std::size_t bytes) override {
    while (sent_ - out_.emptied.load(std::memory_order_acquire) == Ring::kSlots) pause();
    return {out_.slots[sent_ % Ring::kSlots], bytes};
  }
  void commit(std::span<std::byte>) override {
    out_.filled.store(++sent_, std::memory_order_release);
  }
  std::span<const std::byte> take(std::size_t bytes) override {
    while (in_.filled.load(std::memory_order_acquire) == taken_) pause();
    return {in_.slots[taken_ % Ring::kSlots], bytes};
  }
  void release() override { in_.emptied.store(++taken_, std::memory_order_release); }

 private:
  std::shared_ptr<SharedRings> shared_;  // the two ends go away in either order
  Ring& out_;
  Ring& in_;
  std::uint64_t sent_ = 0, taken_ = 0;
};

}  // namespace

void die(const char* doing) {
  std::fprintf(stderr, "bench_limit: %s: %s\n", doing, std::strerror(errno));
  std::exit(1);
}

Ends make_tcp() {
  const int listener = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t bytes = sizeof(address);
  auto* generic = reinterpret_cast<sockaddr*>(&address);
  if (listener < 0 || ::bind(listener, generic, bytes) != 0 || ::listen(listener, 1) != 0 ||
      ::getsockname(listener, generic, &bytes) != 0) {
    die("listen on the loopback interface");
  }
  const int near = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (near < 0 || ::connect(near, generic, bytes) != 0) die("connect");
  const int far = ::accept4(listener, nullptr, nullptr, SOCK_CLOEXEC);
  if (far < 0) die("accept");
  ::close(listener);
  return {std::make_unique<TcpPipe>(near), std::make_unique<TcpPipe>(far)};
}

Ends make_ring() {
  auto shared = std::make_shared<SharedRings>();
  return {std::make_unique<RingPipe>(shared, 0), std::make_unique<RingPipe>(shared, 1)};
}

}  // namespace farcall::bench
