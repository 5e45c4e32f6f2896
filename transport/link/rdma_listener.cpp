#include "transport/link/rdma_listener.h"

#include <poll.h>

#include <cerrno>
#include <cstring>
#include <vector>

#include "transport/base/limits.h"
#include "transport/base/log.h"
#include "transport/link/rdma_carrier.h"

namespace farcall::link {
namespace {

class Listener final : public RdmaListener {
 public:
  Listener(const RdmaPlugin& plugin, FarcallUcxListener* listener, std::string place)
      : plugin_(plugin), listener_(listener), place_(std::move(place)) {}
  ~Listener() override {
    for (const Stranger& stranger : strangers_) plugin_->destroy(stranger.pipe);
    plugin_->unlisten(listener_);
  }
  const std::string& place() const override { return place_; }
  Result<RdmaLane> accept(Deadline deadline) override;

 private:
  struct Stranger {
    FarcallUcxPipe* pipe;
    Deadline deadline;  // to say hello
  };
  void let_in();
  bool hear(RdmaLane* lane);
  Status sleep(Deadline deadline);

  const RdmaPlugin plugin_;
  FarcallUcxListener* const listener_;
  const std::string place_;
  std::vector<Stranger> strangers_;
};

void Listener::let_in() {
  FarcallUcxError error{};
  while (strangers_.size() < limits::kRdmaStrangersMax) {
    FarcallUcxPipe* pipe = plugin_->take(listener_, &error);
    if (pipe != nullptr) {
      strangers_.push_back({pipe, Deadline::after(system_clock(), limits::kHandshakeMs)});
    } else if (error.code == 0) {
      return;
    } else {
      FARCALL_LOG_WARN("an RDMA connection could not be let in: %s", error.text);
    }
  }
}

// True when one of those that were let in has said its hello.
bool Listener::hear(RdmaLane* lane) {
  for (auto stranger = strangers_.begin(); stranger != strangers_.end();) {
    FarcallUcxError error{};
    const void* hello = plugin_->hello(stranger->pipe, &error);
    if (hello != nullptr) {
      std::memcpy(lane->hello.data(), hello, lane->hello.size());
      lane->carrier = make_rdma_carrier(plugin_, stranger->pipe, -1, place_);
      strangers_.erase(stranger);
      return true;
    }
    if (error.code != 0 || stranger->deadline.passed()) {
      FARCALL_LOG_DEBUG("an RDMA connection that said no hello: %s", error.text);
      plugin_->destroy(stranger->pipe);
      stranger = strangers_.erase(stranger);
    } else {
      ++stranger;
    }
  }
  return false;
}

Status Listener::sleep(Deadline deadline) {
  std::vector<pollfd> entries;
  bool quiet = plugin_->listener_may_sleep(listener_);
  entries.push_back({plugin_->listener_fd(listener_), POLLIN, 0});
  for (const Stranger& stranger : strangers_) {
    quiet = plugin_->may_sleep(stranger.pipe, kFarcallUcxReceive) && quiet;
    entries.push_back({plugin_->pipe_fd(stranger.pipe), POLLIN, 0});
    entries.push_back({plugin_->pipe_bell(stranger.pipe, kFarcallUcxReceive), POLLIN, 0});
  }
  int ready = 0;
  if (quiet) ready = ::poll(entries.data(), entries.size(), look_within_ms(deadline));
  const int error = errno;
  for (const Stranger& stranger : strangers_) plugin_->awake(stranger.pipe, kFarcallUcxReceive);
  if (ready < 0 && error != EINTR) return Status::system("wait for RDMA connections", error);
  return ok();
}

Result<RdmaLane> Listener::accept(Deadline deadline) {
  for (;;) {
    let_in();
    RdmaLane lane;
    if (hear(&lane)) return lane;
    if (deadline.passed()) return Status(Code::kTimeout, "no RDMA connection came in time");
    if (Status slept = sleep(deadline); !slept.ok()) return slept;
  }
}

}  // namespace

Result<std::unique_ptr<RdmaListener>> listen_by(const RdmaPlugin& plugin,
                                                const RdmaAddress& address) {
  if (address.is_any()) {
    return Status(Code::kNotFound, "RDMA listens at one interface: name its address");
  }
  FarcallUcxError error{};
  FarcallUcxListener* listener =
      plugin->listen(plugin.context(), address.get(), address.bytes(), &error);
  if (listener == nullptr) return status_of(error);
  std::string place = address.with_port(plugin->listener_port(listener));
  return std::unique_ptr<RdmaListener>(
      std::make_unique<Listener>(plugin, listener, std::move(place)));
}

}  // namespace farcall::link
