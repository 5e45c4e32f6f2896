#include "transport/link/stripes.h"

#include <linux/tcp.h>  // and not netinet/tcp.h, whose tcp_info ends too early
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <utility>

#include "transport/base/limits.h"

namespace farcall::link {
namespace {

constexpr std::int64_t kBytesPerUs = 3'000;  // 3 GB/s

class StripedCarrier final : public Carrier {
 public:
  explicit StripedCarrier(std::vector<std::unique_ptr<Carrier>> all) : all_(std::move(all)) {}

  std::span<std::byte> tx_reserve(std::size_t bytes) override { return tx().tx_reserve(bytes); }
  Status tx_commit(std::size_t bytes) override { return take_turn(tx().tx_commit(bytes)); }
  Status tx_send(std::span<const std::byte> record) override {
    return take_turn(tx().tx_send(record));
  }
  bool tx_ready() override { return tx().tx_ready(); }

  Result<std::span<const std::byte>> rx_peek() override { return rx().rx_peek(); }
  void rx_release() override {
    rx().rx_release();
    rx_turn_ = (rx_turn_ + 1) % all_.size();
  }
  Status wait(Deadline deadline) override { return rx().wait(deadline); }

  int fd() const override { return all_.front()->fd(); }
  void close() override {
    for (auto& one : all_) one->close();
  }
  void abandon() override {
    for (auto& one : all_) one->abandon();
  }
  std::string describe() const override { return all_.front()->describe(); }
  std::size_t connections() const override { return all_.size(); }

 private:
  Carrier& tx() { return *all_[tx_turn_]; }
  Carrier& rx() { return *all_[rx_turn_]; }
  Status take_turn(Status sent) {
    tx_turn_ = (tx_turn_ + 1) % all_.size();
    return sent;
  }

  const std::vector<std::unique_ptr<Carrier>> all_;
  std::size_t tx_turn_ = 0;
  std::size_t rx_turn_ = 0;
};

// All zeros where the kernel does not say; an older one fills less of it.
tcp_info tcp_info_of(int fd) {
  tcp_info info{};
  socklen_t bytes = sizeof(info);
  if (::getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &bytes) != 0) return tcp_info{};
  return info;
}

}  // namespace

std::unique_ptr<Carrier> make_striped_carrier(std::vector<std::unique_ptr<Carrier>> connections) {
  if (connections.empty()) return nullptr;
  if (connections.size() == 1) return std::move(connections.front());
  return std::make_unique<StripedCarrier>(std::move(connections));
}

std::int64_t round_trip_us(int fd) {
  const tcp_info info = tcp_info_of(fd);
  // All ones before the first measurement.
  return info.tcpi_min_rtt != UINT32_MAX ? info.tcpi_min_rtt : info.tcpi_rtt;
}

double delivery_ns_per_byte(int fd) { return delivery_ns_per_byte(tcp_info_of(fd)); }

double delivery_ns_per_byte(const tcp_info& info) {
  // A rate that was limited by what there was to send says nothing of the link.
  if (info.tcpi_delivery_rate_app_limited != 0 || info.tcpi_delivery_rate == 0) return 0;
  return 1e9 / static_cast<double>(info.tcpi_delivery_rate);
}

std::size_t stripes_for(std::int64_t round_trip_us) {
  constexpr auto kWindow = static_cast<std::int64_t>(limits::kLaneWindowBytes);
  constexpr auto kMost = static_cast<std::int64_t>(limits::kStripesMax);
  // What is too far for kMost anyway is cut first: no product overflows.
  const std::int64_t far_us = std::min(round_trip_us, kMost * kWindow / kBytesPerUs);
  const std::int64_t needed = (far_us * kBytesPerUs + kWindow - 1) / kWindow;
  return static_cast<std::size_t>(std::clamp<std::int64_t>(needed, 1, kMost));
}

}  // namespace farcall::link
