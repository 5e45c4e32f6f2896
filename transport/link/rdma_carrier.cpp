#include "transport/link/rdma_carrier.h"

#include <poll.h>

#include <algorithm>
#include <atomic>
#include <cerrno>

#include "transport/link/record.h"
#include "transport/link/wait.h"

namespace farcall::link {
namespace {

class RdmaCarrier final : public Carrier {
 public:
  RdmaCarrier(const RdmaPlugin& plugin, FarcallUcxPipe* pipe, int watch_fd, const std::string& peer)
      : plugin_(plugin), pipe_(pipe), watch_fd_(watch_fd), peer_(peer) {}
  ~RdmaCarrier() override { plugin_->destroy(pipe_); }

  Status connected(Deadline deadline) {
    return send_when([&](FarcallUcxError* why) { return plugin_->connected(pipe_, why); },
                     deadline);
  }

  std::span<std::byte> tx_reserve(std::size_t bytes) override;
  Status tx_commit(std::size_t bytes) override;
  bool tx_ready() override { return plugin_->can_send(pipe_); }

  Result<std::span<const std::byte>> rx_peek() override;
  void rx_release() override { plugin_->release(pipe_); }
  Status wait(Deadline deadline) override;

  bool rx_arrived() override { return plugin_->arrived(pipe_); }
  // UCX's descriptor says something only to who has armed it, which wait() does.
  int fd() const override { return -1; }
  void close() override { plugin_->close(pipe_); }
  void abandon() override {
    watch_fd_ = -1;
    plugin_->abandon(pipe_);
  }
  std::string describe() const override { return "rdma " + peer_; }

 private:
  Status block(FarcallUcxSide side, Deadline deadline);
  Status send_when(FunctionRef<bool(FarcallUcxError*)> done, Deadline deadline);

  const RdmaPlugin plugin_;
  FarcallUcxPipe* const pipe_;
  int watch_fd_;
  const std::string peer_;
  std::unique_ptr<std::byte[]> scratch_;  // where sealing goes on harmlessly on a dead link
  AdaptiveWait sending_;
  AdaptiveWait receiving_;
};

Status RdmaCarrier::block(FarcallUcxSide side, Deadline deadline) {
  if (!plugin_->may_sleep(pipe_, side)) {
    return deadline.passed() ? Status(Code::kTimeout, "nothing arrived in time") : ok();
  }
  pollfd entries[3] = {{plugin_->pipe_fd(pipe_), POLLIN, 0},
                       {plugin_->pipe_bell(pipe_, side), POLLIN, 0},
                       {watch_fd_, POLLIN | POLLRDHUP, 0}};
  const int ready = ::poll(entries, watch_fd_ >= 0 ? 3 : 2, look_within_ms(deadline));
  const int error = errno;
  plugin_->awake(pipe_, side);
  if (ready < 0 && error != EINTR) return Status::system("wait for the link", error);
  if (ready > 0 && entries[0].revents == 0 && entries[1].revents == 0) {
    return {Code::kClosed, "the server ended the session, or cannot be reached any more"};
  }
  if (ready == 0 && deadline.passed()) return {Code::kTimeout, "nothing arrived in time"};
  return ok();
}

// Waits until `done` or it says why never.
Status RdmaCarrier::send_when(FunctionRef<bool(FarcallUcxError*)> done, Deadline deadline) {
  FarcallUcxError error{};
  const auto decided = [&] { return done(&error) || error.code != 0; };
  if (sending_.spin(decided)) return status_of(error);
  while (!decided()) FARCALL_TRY(block(kFarcallUcxSend, deadline));
  return status_of(error);
}

std::span<std::byte> RdmaCarrier::tx_reserve(std::size_t bytes) {
  bytes = std::min(bytes, kSealedBytesMax);
  void* room = nullptr;
  Status waited = send_when(
      [&](FarcallUcxError* error) {
        room = plugin_->reserve(pipe_, bytes, error);
        return room != nullptr;
      },
      Deadline::never());
  if (!waited.ok()) {
    if (scratch_ == nullptr) scratch_.reset(new std::byte[kSealedBytesMax]);
    room = scratch_.get();
  }
  return {static_cast<std::byte*>(room), bytes};
}

Status RdmaCarrier::tx_commit(std::size_t bytes) {
  FarcallUcxError error{};
  if (!plugin_->commit(pipe_, bytes, &error)) return status_of(error);
  return send_when([&](FarcallUcxError* why) { return plugin_->left(pipe_, why); },
                   Deadline::never());
}

Result<std::span<const std::byte>> RdmaCarrier::rx_peek() {
  FarcallUcxError error{};
  FarcallUcxRecord record{};
  if (!plugin_->peek(pipe_, &record, &error)) {
    if (error.code != 0) return status_of(error);
    return std::span<const std::byte>();
  }
  const std::span bytes(static_cast<const std::byte*>(record.data), record.bytes);
  if (bytes.size() < limits::kRecordHeaderBytes) {
    return Status(Code::kMalformed, "a record is cut short");
  }
  Result<std::size_t> whole = whole_record_bytes(bytes.first(limits::kRecordHeaderBytes));
  if (!whole.ok()) return whole.status();
  if (whole.value() != bytes.size()) return Status(Code::kMalformed, "a record is cut short");
  return bytes;
}

Status RdmaCarrier::wait(Deadline deadline) {
  Status broken;
  const auto ready = [&] {
    Result<std::span<const std::byte>> record = rx_peek();
    if (!record.ok()) broken = record.status();
    return !record.ok() || !record.value().empty();
  };
  if (receiving_.spin(ready)) return broken;
  while (!ready()) FARCALL_TRY(block(kFarcallUcxReceive, deadline));
  return broken;
}

}  // namespace

std::unique_ptr<Carrier> make_rdma_carrier(const RdmaPlugin& plugin, FarcallUcxPipe* pipe,
                                           int watch_fd, const std::string& peer) {
  return std::make_unique<RdmaCarrier>(plugin, pipe, watch_fd, peer);
}

Result<std::unique_ptr<Carrier>> connect_by(const RdmaPlugin& plugin, const RdmaAddress& peer,
                                            std::span<const std::byte, kLaneHelloBytes> hello,
                                            int watch_fd, Deadline deadline) {
  FarcallUcxError error{};
  FarcallUcxPipe* pipe =
      plugin->connect(plugin.context(), peer.get(), peer.bytes(), hello.data(), &error);
  if (pipe == nullptr) return status_of(error);
  const std::string place = peer.with_port(peer.port());
  auto carrier = std::make_unique<RdmaCarrier>(plugin, pipe, watch_fd, place);
  if (Status up = carrier->connected(deadline); !up.ok()) {
    return Status(up.code(), "connect to " + place + " by RDMA: " + up.text(), up.detail());
  }
  return std::unique_ptr<Carrier>(std::move(carrier));
}

}  // namespace farcall::link
