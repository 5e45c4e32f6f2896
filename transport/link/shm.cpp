#include "transport/link/shm.h"

#include <linux/futex.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <ctime>
#include <utility>

#include "transport/link/keys.h"
#include "transport/link/record.h"
#include "transport/link/shm_memory.h"
#include "transport/link/shm_ring.h"
#include "transport/link/socket.h"
#include "transport/link/wait.h"

namespace farcall::link {
namespace {

// A writer that waits for room looks this often whether its peer still lives.
constexpr std::int64_t kLookNs = 50'000'000;

void sleep_for_room(std::atomic<std::uint32_t>& bell, std::uint32_t seen) {
  const timespec nap{0, kLookNs};
  // The memory is another process's too, so the futex is a shared one.
  ::syscall(SYS_futex, &bell, FUTEX_WAIT, seen, &nap, nullptr, 0);
}

void ring(std::atomic<std::uint32_t>& bell) {
  bell.fetch_add(1, std::memory_order_seq_cst);
  ::syscall(SYS_futex, &bell, FUTEX_WAKE, INT32_MAX, nullptr, nullptr, 0);
}

enum class End { kServer, kClient };

class ShmCarrier final : public Carrier {
 public:
  ShmCarrier(ShmMemory memory, Fd socket, int watch_fd, End end)
      : memory_(std::move(memory)),
        socket_(std::move(socket)),
        watch_fd_(watch_fd),
        tx_(memory_.control(out(end)), memory_.bytes(out(end)), memory_.ring_bytes()),
        rx_(memory_.control(1 - out(end)), memory_.bytes(1 - out(end)), memory_.ring_bytes()) {}

  std::span<std::byte> tx_reserve(std::size_t bytes) override;
  Status tx_commit(std::size_t bytes) override;
  bool tx_ready() override {
    Result<std::span<std::byte>> room = tx_.reserve(kSmallRecordBytes);
    return room.ok() && !room.value().empty();
  }
  Result<std::span<const std::byte>> rx_peek() override;
  void rx_release() override {
    if (rx_.release()) ring(rx_.control().room_bell);
  }
  Status wait(Deadline deadline) override;
  bool rx_arrived() override { return rx_.has_more_than_peeked(); }

  int fd() const override { return socket_.get(); }
  void close() override {
    closed_.store(true, std::memory_order_release);
    ::shutdown(socket_.get(), SHUT_RDWR);
    ring(tx_.control().room_bell);
  }
  // The memory is not mapped in the child.
  void abandon() override {
    memory_.abandon();
    socket_.reset();
    watch_fd_ = -1;
  }
  std::string describe() const override { return "shm"; }

 private:
  static constexpr std::size_t kSmallRecordBytes = 1024;
  static int out(End end) { return end == End::kClient ? 0 : 1; }

  bool is_closed() const { return closed_.load(std::memory_order_acquire); }
  Status wait_for_room(std::size_t bytes);
  Status look_at_peer();
  Status take_bells();

  ShmMemory memory_;
  Fd socket_;
  int watch_fd_;
  RingWriter tx_;
  RingReader rx_;
  AdaptiveWait tx_waiting_;
  AdaptiveWait rx_waiting_;
  Status tx_broken_;                    // why nothing leaves any more
  std::unique_ptr<std::byte[]> spill_;  // where records are sealed to that will not leave
  std::atomic<bool> closed_{false};
};

constexpr std::size_t ring_bytes(std::uint8_t lane) {
  return lane == kLaneCalls ? kShmCallRingBytes : kShmBulkRingBytes;
}

Status gone() { return {Code::kClosed, "the peer closed the link"}; }
Status closed_here() { return {Code::kClosed, "the link was closed"}; }
Status session_over() {
  return {Code::kClosed, "the server ended the session, or cannot be reached any more"};
}

// Whether the other end is still there, without waiting.
Status ShmCarrier::look_at_peer() {
  pollfd entries[2] = {{socket_.get(), POLLRDHUP, 0}, {watch_fd_, POLLIN | POLLRDHUP, 0}};
  if (::poll(entries, watch_fd_ >= 0 ? 2 : 1, 0) <= 0) return ok();
  if (is_closed()) return closed_here();
  return entries[0].revents != 0 ? gone() : session_over();
}

Status ShmCarrier::wait_for_room(std::size_t bytes) {
  Status broken;
  const auto ready = [&] {
    Result<std::span<std::byte>> room = tx_.reserve(bytes);
    if (!room.ok()) broken = room.status();
    return is_closed() || !room.ok() || !room.value().empty();
  };
  if (!tx_waiting_.spin(ready)) {
    while (broken.ok()) {
      const std::uint32_t seen = tx_.control().room_bell.load(std::memory_order_seq_cst);
      tx_.will_sleep();
      const bool now = ready();
      if (!now) sleep_for_room(tx_.control().room_bell, seen);
      tx_.slept();
      tx_waiting_.woke();
      if (now || ready()) break;
      broken = look_at_peer();
    }
  }
  return is_closed() ? closed_here() : broken;
}

std::span<std::byte> ShmCarrier::tx_reserve(std::size_t bytes) {
  bytes = std::min(bytes, kSealedBytesMax);
  while (tx_broken_.ok()) {
    Result<std::span<std::byte>> room = tx_.reserve(bytes);
    if (is_closed()) {
      tx_broken_ = closed_here();
    } else if (!room.ok()) {
      tx_broken_ = room.status();
    } else if (!room.value().empty()) {
      return room.value();
    } else {
      tx_broken_ = wait_for_room(bytes);
    }
  }
  if (!spill_) spill_.reset(new std::byte[kSealedBytesMax]);
  return {spill_.get(), bytes};
}

Status ShmCarrier::tx_commit(std::size_t bytes) {
  if (!tx_broken_.ok()) return tx_broken_;
  if (!tx_.publish(bytes)) return ok();
  const char bell = 0;
  if (::send(socket_.get(), &bell, 1, MSG_NOSIGNAL | MSG_DONTWAIT) == 1) return ok();
  // A full socket has bells enough in it.
  if (errno == EAGAIN || errno == EINTR) return ok();
  tx_broken_ = is_closed() ? closed_here() : gone();
  return tx_broken_;
}

Result<std::span<const std::byte>> ShmCarrier::rx_peek() {
  if (is_closed()) return closed_here();
  return rx_.peek();
}

// Empties the socket of what woke us.  Errors: kClosed when the peer is gone.
Status ShmCarrier::take_bells() {
  std::array<char, 64> bells;
  const ssize_t got = ::recv(socket_.get(), bells.data(), bells.size(), MSG_DONTWAIT);
  if (is_closed()) return closed_here();
  if (got > 0 || (got < 0 && (errno == EAGAIN || errno == EINTR))) return ok();
  return gone();
}

Status ShmCarrier::wait(Deadline deadline) {
  Status broken;
  const auto ready = [&] {
    Result<std::span<const std::byte>> record = rx_peek();
    if (!record.ok()) broken = record.status();
    return !record.ok() || !record.value().empty();
  };
  if (rx_waiting_.spin(ready)) return broken;
  for (;;) {
    rx_.will_sleep();
    pollfd entries[2] = {{socket_.get(), POLLIN | POLLRDHUP, 0},
                         {watch_fd_, POLLIN | POLLRDHUP, 0}};
    const bool now = ready();
    const int woken = now ? 0 : ::poll(entries, watch_fd_ >= 0 ? 2 : 1, deadline.left_ms());
    rx_.slept();
    rx_waiting_.woke();
    if (now) return broken;
    if (woken < 0 && errno != EINTR) return Status::system("wait for the link");
    // What the peer wrote before it went is still to be had.
    const Status peer = woken > 0 && entries[0].revents != 0 ? take_bells() : ok();
    if (ready()) return broken;
    if (!peer.ok()) return peer;
    if (woken > 0 && entries[1].revents != 0) return session_over();
    if (deadline.passed()) return {Code::kTimeout, "nothing arrived in time"};
  }
}

}  // namespace

Result<std::unique_ptr<Carrier>> offer_shm(Fd socket, std::uint8_t lane) {
  tune_socket(socket.get());
  Result<ShmMemory> memory = ShmMemory::make(ring_bytes(lane));
  if (!memory.ok()) return memory.status();
  if (Status sent = memory.value().send(socket.get()); !sent.ok()) return sent;
  return std::unique_ptr<Carrier>(
      new ShmCarrier(std::move(memory).value(), std::move(socket), -1, End::kServer));
}

Result<std::unique_ptr<Carrier>> join_shm(Fd socket, std::uint8_t lane, int watch_fd,
                                          Deadline deadline) {
  tune_socket(socket.get());
  Result<ShmMemory> memory = ShmMemory::receive(socket.get(), ring_bytes(lane), deadline);
  if (!memory.ok()) return memory.status();
  return std::unique_ptr<Carrier>(
      new ShmCarrier(std::move(memory).value(), std::move(socket), watch_fd, End::kClient));
}

}  // namespace farcall::link
