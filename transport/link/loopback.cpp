// The loopback carrier: records in two queues of this process, for tests.
#include <chrono>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <vector>

#include "transport/link/carrier.h"
#include "transport/link/record.h"

namespace farcall::link {
namespace {

constexpr std::size_t kUnreadBytesMax = std::size_t{64} << 20;

// One direction. Holds ciphertext only, so plain vectors do.
struct Pipe {
  std::mutex mutex;
  std::condition_variable changed;
  std::deque<std::vector<std::byte>> records;
  std::size_t unread_bytes = 0;
  bool closed = false;

  Status push(std::span<const std::byte> record) {
    std::unique_lock lock(mutex);
    changed.wait(lock, [&] { return closed || unread_bytes < kUnreadBytesMax; });
    if (closed) return {Code::kClosed, "the loopback link is closed"};
    records.emplace_back(record.begin(), record.end());
    unread_bytes += record.size();
    changed.notify_all();
    return ok();
  }
  // Takes the first record; empty when there is none.  Errors: kClosed when none will come.
  Result<std::vector<std::byte>> take() {
    std::unique_lock lock(mutex);
    if (records.empty()) {
      if (closed) return Status(Code::kClosed, "the peer closed the loopback link");
      return std::vector<std::byte>();
    }
    std::vector<std::byte> record = std::move(records.front());
    records.pop_front();
    unread_bytes -= record.size();
    changed.notify_all();
    return record;
  }
  bool is_empty() {
    std::unique_lock lock(mutex);
    return !closed && records.empty();
  }
  bool has_room() {
    std::unique_lock lock(mutex);
    return !closed && unread_bytes < kUnreadBytesMax;
  }
  Status wait(Deadline deadline) {
    std::unique_lock lock(mutex);
    const auto ready = [&] { return closed || !records.empty(); };
    if (deadline.is_never()) {
      changed.wait(lock, ready);
    } else {
      const auto until =
          std::chrono::system_clock::now() + std::chrono::milliseconds(deadline.left_ms());
      if (!changed.wait_until(lock, until, ready)) {
        return {Code::kTimeout, "nothing arrived in time"};
      }
    }
    return ok();
  }
  void close() {
    std::unique_lock lock(mutex);
    closed = true;
    changed.notify_all();
  }
};

class LoopbackCarrier final : public Carrier {
 public:
  LoopbackCarrier(std::shared_ptr<Pipe> out, std::shared_ptr<Pipe> in)
      : out_(std::move(out)), in_(std::move(in)) {}
  ~LoopbackCarrier() override { close(); }

  std::span<std::byte> tx_reserve(std::size_t bytes) override {
    tx_.resize(bytes);
    return tx_;
  }
  Status tx_commit(std::size_t bytes) override { return out_->push(std::span(tx_).first(bytes)); }
  bool tx_ready() override { return out_->has_room(); }

  Result<std::span<const std::byte>> rx_peek() override {
    if (rx_.empty()) {
      Result<std::vector<std::byte>> next = in_->take();
      if (!next.ok()) return next.status();
      rx_ = std::move(next).value();
    }
    if (!rx_.empty()) {
      Result<std::size_t> whole = whole_record_bytes(rx_);
      if (!whole.ok()) return whole.status();
      if (whole.value() != rx_.size()) return Status(Code::kMalformed, "a record is cut short");
    }
    return std::span<const std::byte>(rx_);
  }
  void rx_release() override { rx_.clear(); }
  Status wait(Deadline deadline) override { return rx_.empty() ? in_->wait(deadline) : ok(); }

  bool rx_arrived() override { return !in_->is_empty(); }
  int fd() const override { return -1; }
  void close() override {
    out_->close();
    in_->close();
  }
  void abandon() override {}  // nothing of it leaves the process
  std::string describe() const override { return "loopback"; }

 private:
  // Shared by the two ends, which may die in either order.
  std::shared_ptr<Pipe> out_;
  std::shared_ptr<Pipe> in_;
  std::vector<std::byte> tx_;
  std::vector<std::byte> rx_;
};

}  // namespace

CarrierPair make_loopback_carriers() {
  auto up = std::make_shared<Pipe>();
  auto down = std::make_shared<Pipe>();
  return {std::make_unique<LoopbackCarrier>(up, down), std::make_unique<LoopbackCarrier>(down, up)};
}

}  // namespace farcall::link
