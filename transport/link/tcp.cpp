// The socket carrier: one send per record, large reads, adaptive waiting.
#include <poll.h>
#include <sys/socket.h>

#include <atomic>
#include <cerrno>
#include <cstring>

#include "transport/link/acceptor.h"
#include "transport/link/carrier.h"
#include "transport/link/record.h"
#include "transport/link/socket.h"
#include "transport/link/wait.h"

namespace farcall::link {
namespace {

// Room for the record being read and the one behind it; stays within a core's L2 cache.
constexpr std::size_t kReceiveBytes = 2 * (kSealedBytesMax + limits::kRecordHeaderBytes);
// Below this, one read takes whatever is there; above, exactly the record and the next header, so
// that nothing has to be moved to make room.
constexpr std::size_t kSmallRecordBytes = 64 * 1024;

class SocketCarrier final : public Carrier {
 public:
  SocketCarrier(Fd socket, int watch_fd)
      : socket_(std::move(socket)),
        watch_fd_(watch_fd),
        peer_(peer_address(socket_)),
        tx_(new std::byte[kSealedBytesMax]),
        rx_(new std::byte[kReceiveBytes]) {
    tune_socket(socket_.get());
    set_use(socket_.get(), SocketUse::kLane);
  }

  std::span<std::byte> tx_reserve(std::size_t bytes) override {
    return {tx_.get(), std::min(bytes, kSealedBytesMax)};
  }
  Status tx_commit(std::size_t bytes) override { return tx_send({tx_.get(), bytes}); }
  Status tx_send(std::span<const std::byte> record) override;
  bool tx_ready() override {
    pollfd entry{socket_.get(), POLLOUT, 0};
    return ::poll(&entry, 1, 0) == 1 && entry.revents == POLLOUT;
  }
  Result<std::span<const std::byte>> rx_peek() override;
  void rx_release() override;
  Status wait(Deadline deadline) override;

  bool rx_arrived() override {
    if (unread_.load(std::memory_order_acquire) != 0) return true;
    pollfd entry{socket_.get(), POLLIN | POLLRDHUP, 0};
    return ::poll(&entry, 1, 0) != 0;
  }
  int fd() const override { return socket_.get(); }
  // Shutdown and not close: other threads may be inside a call with this descriptor.
  void close() override {
    closed_.store(true, std::memory_order_release);
    ::shutdown(socket_.get(), SHUT_RDWR);
  }
  void abandon() override {
    socket_.reset();
    watch_fd_ = -1;
  }
  std::string describe() const override { return (peer_ == "unix" ? "socket " : "tcp ") + peer_; }

 private:
  Status block(short events, Deadline deadline);
  Status whole(std::size_t* bytes);  // of the record at head_; 0 when not all of it is here
  Status fill(bool* progress);
  std::size_t read_goal();

  Fd socket_;
  int watch_fd_;
  const std::string peer_;
  std::unique_ptr<std::byte[]> tx_;  // ciphertext, both
  std::unique_ptr<std::byte[]> rx_;
  std::size_t head_ = 0;
  std::size_t tail_ = 0;
  std::uint64_t received_ = 0;          // bytes, ever
  std::atomic<std::size_t> unread_{0};  // tail_ - head_, for rx_arrived
  AdaptiveWait waiting_;
  std::atomic<bool> closed_{false};
};

Status gone() { return {Code::kClosed, "the peer closed the link"}; }

Status SocketCarrier::block(short events, Deadline deadline) {
  for (;;) {
    pollfd entries[2] = {{socket_.get(), events, 0}, {watch_fd_, POLLIN | POLLRDHUP, 0}};
    const int ready = ::poll(entries, watch_fd_ >= 0 ? 2 : 1, deadline.left_ms());
    if (ready < 0 && errno != EINTR) return Status::system("wait for the link");
    if (closed_.load(std::memory_order_acquire)) return {Code::kClosed, "the link was closed"};
    if (ready > 0 && entries[0].revents != 0) return ok();
    if (ready > 0 && entries[1].revents != 0) {
      return {Code::kClosed, "the server ended the session, or cannot be reached any more"};
    }
    if (deadline.passed()) return {Code::kTimeout, "nothing arrived in time"};
  }
}

Status SocketCarrier::tx_send(std::span<const std::byte> left) {
  while (!left.empty()) {
    const ssize_t sent = ::send(socket_.get(), left.data(), left.size(), MSG_NOSIGNAL);
    if (sent >= 0) {
      left = left.subspan(static_cast<std::size_t>(sent));
    } else if (errno == EAGAIN) {
      FARCALL_TRY(block(POLLOUT, Deadline::never()));
    } else if (errno == EPIPE || errno == ECONNRESET) {
      return gone();
    } else if (errno != EINTR) {
      return Status::system("send on the link");
    }
  }
  return ok();
}

Status SocketCarrier::whole(std::size_t* bytes) {
  *bytes = 0;
  if (tail_ - head_ < limits::kRecordHeaderBytes) return ok();
  Result<std::size_t> all = whole_record_bytes({rx_.get() + head_, limits::kRecordHeaderBytes});
  if (!all.ok()) return all.status();
  if (all.value() <= tail_ - head_) *bytes = all.value();
  return ok();
}

std::size_t SocketCarrier::read_goal() {
  const std::size_t have = tail_ - head_;
  std::size_t goal = kSmallRecordBytes;
  if (have >= limits::kRecordHeaderBytes) {
    Result<std::size_t> all = whole_record_bytes({rx_.get() + head_, limits::kRecordHeaderBytes});
    if (all.ok() && all.value() > have) goal = all.value() - have + limits::kRecordHeaderBytes;
  }
  if (tail_ + goal > kReceiveBytes) {
    std::memmove(rx_.get(), rx_.get() + head_, have);
    head_ = 0;
    tail_ = have;
  }
  return std::min(goal, kReceiveBytes - tail_);
}

Status SocketCarrier::fill(bool* progress) {
  *progress = false;
  const std::size_t goal = read_goal();
  const ssize_t got = ::recv(socket_.get(), rx_.get() + tail_, goal, MSG_DONTWAIT);
  if (got > 0) {
    tail_ += static_cast<std::size_t>(got);
    received_ += static_cast<std::size_t>(got);
    unread_.store(tail_ - head_, std::memory_order_release);
    *progress = true;
    return ok();
  }
  if (got == 0 || errno == ECONNRESET) return gone();
  if (errno == EAGAIN || errno == EINTR) return ok();
  return Status::system("receive on the link");
}

Result<std::span<const std::byte>> SocketCarrier::rx_peek() {
  for (;;) {
    std::size_t bytes = 0;
    if (Status sound = whole(&bytes); !sound.ok()) return sound;
    if (bytes > 0) return std::span<const std::byte>(rx_.get() + head_, bytes);
    bool progress = false;
    if (Status filled = fill(&progress); !filled.ok()) return filled;
    if (!progress) return std::span<const std::byte>();
  }
}

void SocketCarrier::rx_release() {
  std::size_t bytes = 0;
  if (!whole(&bytes).ok()) return;
  head_ += bytes;
  if (head_ == tail_) head_ = tail_ = 0;
  unread_.store(tail_ - head_, std::memory_order_release);
}

// A part of a record is a sign of life: a large one may take longer to come than it is worth
// spinning for where nothing comes.
Status SocketCarrier::wait(Deadline deadline) {
  Status broken;
  bool whole_record = false;
  const auto stirs = [&] {
    const std::uint64_t before = received_;
    Result<std::span<const std::byte>> record = rx_peek();
    if (!record.ok()) broken = record.status();
    whole_record = !record.ok() || !record.value().empty();
    return whole_record || received_ != before;
  };
  while (!whole_record) {
    if (waiting_.spin(stirs)) continue;
    FARCALL_TRY(block(POLLIN, deadline));
    waiting_.woke();
    (void)stirs();  // not for spin() to see: what a sleep brought is no success of spinning
  }
  return broken;
}

}  // namespace

std::unique_ptr<Carrier> make_socket_carrier(Fd socket, int watch_fd) {
  return std::make_unique<SocketCarrier>(std::move(socket), watch_fd);
}

}  // namespace farcall::link
