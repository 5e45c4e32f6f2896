#include "transport/link/lane.h"

#include <cstddef>
#include <utility>

#include "transport/base/switches.h"
#include "transport/link/stripes.h"

namespace farcall::link {
namespace {

void add(std::atomic<std::uint64_t>& counter, std::uint64_t by) {
  counter.fetch_add(by, std::memory_order_relaxed);
}

}  // namespace

Lane::Lane(std::unique_ptr<Carrier> carrier, RecordSealer sealer, RecordOpener opener)
    : carrier_(std::move(carrier)),
      connections_(carrier_->connections()),
      sealer_(std::move(sealer)),
      opener_(std::move(opener)) {}

Result<std::unique_ptr<Lane>> Lane::make(std::unique_ptr<Carrier> carrier, const SessionKeys& keys,
                                         std::uint8_t lane, Role role, const RekeyLimits& rekey) {
  const bool client = role == Role::kClient;
  const Direction out = client ? Direction::kToServer : Direction::kToClient;
  const Direction in = client ? Direction::kToClient : Direction::kToServer;
  Result<RecordSealer> sealer = RecordSealer::make(keys.at(lane, out), lane, rekey);
  if (!sealer.ok()) return sealer.status();
  Result<RecordOpener> opener = RecordOpener::make(keys.at(lane, in), lane, rekey);
  if (!opener.ok()) return opener.status();
  return std::unique_ptr<Lane>(
      new Lane(std::move(carrier), std::move(sealer).value(), std::move(opener).value()));
}

Status Lane::send(RecordType type, std::span<const std::byte> plain) {
  const std::size_t bytes = sealed_bytes(plain.size());
  std::span<std::byte> slot = carrier_->tx_reserve(bytes);
  const CostSample cost = seal_cost_.begin(plain.size());
  FARCALL_TRY(sealer_.seal(type, plain, slot));
  seal_cost_.end(cost);
  FARCALL_TRY(carrier_->tx_commit(bytes));
  add(records_out_, 1);
  add(bytes_out_, bytes);
  return ok();
}

bool Lane::helps(std::uint64_t payload_bytes) {
  return payload_bytes >= limits::kHelpedBytesMin && is_on(Switch::kPipeline) &&
         CryptoPool::here().threads() > 0;
}

std::size_t Lane::slots_ahead() {
  if (seal_ahead_ == nullptr) {
    const auto send = [this](std::span<const std::byte> record) -> Status {
      FARCALL_TRY(carrier_->tx_send(record));
      add(records_out_, 1);
      add(bytes_out_, record.size());
      return ok();
    };
    seal_ahead_ = std::make_unique<SealAhead>(sealer_, CryptoPool::here(), send, &seal_cost_);
  }
  return seal_ahead_->slots();
}

Status Lane::send_ahead(std::span<const std::byte> plain) {
  if (seal_ahead_ == nullptr) (void)slots_ahead();
  return seal_ahead_->add(RecordType::kData, plain);
}

Status Lane::finish_sending() {
  if (seal_ahead_ == nullptr) return ok();
  Status sent = seal_ahead_->finish();
  if (!sent.ok()) sealer_.forget();  // places were taken that no record will fill
  return sent;
}

Result<std::size_t> Lane::wait_next(Deadline deadline) {
  while (next_.empty()) {
    Result<std::span<const std::byte>> peeked = carrier_->rx_peek();
    if (!peeked.ok()) return peeked.status();
    next_ = peeked.value();
    if (!next_.empty()) break;
    if (Status waited = carrier_->wait(deadline); !waited.ok()) return waited;
  }
  if (next_.size() < kRecordOverheadBytes) {
    return Status(Code::kMalformed, "a record is shorter than its header and tag");
  }
  return next_.size() - kRecordOverheadBytes;
}

bool Lane::has_next() {
  if (!next_.empty()) return true;
  Result<std::span<const std::byte>> peeked = carrier_->rx_peek();
  if (!peeked.ok()) return true;  // receive() would return the error at once
  next_ = peeked.value();
  return !next_.empty();
}

RecordType Lane::next_type() const {
  return static_cast<RecordType>(next_[offsetof(RecordHeader, type)]);
}

Result<RecordType> Lane::open(std::span<std::byte> out) {
  const std::size_t bytes = next_.size();
  const CostSample cost = open_cost_.begin(bytes - kRecordOverheadBytes);
  Result<RecordType> type = opener_.open(next_, out);
  open_cost_.end(cost);
  next_ = {};
  carrier_->rx_release();
  add(records_in_, 1);
  add(bytes_in_, bytes);
  return type;
}

Status Lane::open_ahead(std::span<std::byte> out) {
  if (open_ahead_ == nullptr) {
    open_ahead_ = std::make_unique<OpenAhead>(opener_, CryptoPool::here(), &open_cost_);
  }
  const std::size_t bytes = next_.size();
  Status taken = open_ahead_->add(next_, out);
  next_ = {};
  carrier_->rx_release();
  add(records_in_, 1);
  add(bytes_in_, bytes);
  return taken;
}

Status Lane::finish_opening() {
  if (open_ahead_ == nullptr) return ok();
  Status opened = open_ahead_->finish();
  if (!opened.ok()) opener_.forget();
  return opened;
}

double Lane::link_ns_per_byte() const {
  const int fd = carrier_->fd();
  return fd < 0 ? 0 : delivery_ns_per_byte(fd) / static_cast<double>(connections_);
}

void Lane::abandon() {
  carrier_->abandon();
  sealer_.forget();
  opener_.forget();
  if (seal_ahead_) seal_ahead_->wipe_in_child();
  if (open_ahead_) open_ahead_->wipe_in_child();
}

std::string Lane::describe() const {
  const bool may_be_less = floor().cipher != Cipher::kAes256Gcm;
  return carrier_->describe() + (may_be_less ? ", AES-128-GCM or more (" : ", AES-256-GCM (") +
         std::string(to_string(sealer_.engine())) + ")";
}

Lane::Counts Lane::counts() const {
  return {records_out_.load(std::memory_order_relaxed), records_in_.load(std::memory_order_relaxed),
          bytes_out_.load(std::memory_order_relaxed), bytes_in_.load(std::memory_order_relaxed)};
}

}  // namespace farcall::link
