#include "transport/link/work_ahead.h"

#include <cstring>
#include <utility>

namespace farcall::link {

struct SealAhead::Slot final : CryptoPool::Job {
  void work() override {
    CostMeter::start(cost);
    good = RecordSealer::seal_at(std::move(place), *key.aead, plain,
                                 std::span(sealed).first(sealed_bytes(plain.size())));
    took_ns = CostMeter::stop(cost);
  }
  HelperKey key;
  RecordPlace place;
  std::span<const std::byte> plain;
  std::vector<std::byte> sealed = std::vector<std::byte>(kSealedBytesMax);  // ciphertext
  CostSample cost;
  std::int64_t took_ns = -1;
  bool good = false;
};

SealAhead::SealAhead(RecordSealer& sealer, CryptoPool& pool, Send send, CostMeter* cost)
    : sealer_(sealer), pool_(pool), cost_(cost), send_(std::move(send)) {
  (void)slots();
}

std::size_t SealAhead::slots() {
  while (under_way_ == 0 && slots_.size() <= pool_.threads()) {
    slots_.push_back(std::make_unique<Slot>());
  }
  return slots_.size();
}

SealAhead::~SealAhead() {
  broken_ = Status(Code::kClosed, "the lane is gone");
  (void)finish();
}

Status SealAhead::add(RecordType type, std::span<const std::byte> plain) {
  if (!broken_.ok()) return broken_;
  Slot& slot = *slots_[(oldest_ + under_way_) % slots_.size()];
  Result<RecordPlace> place = sealer_.take_place(type, plain.size());
  broken_ = place.ok() ? sealer_.lend(&slot.key) : place.status();
  if (!broken_.ok()) return broken_;
  slot.place = std::move(place).value();
  slot.plain = plain;
  if (cost_ != nullptr) slot.cost = cost_->count(plain.size());
  ++under_way_;
  pool_.submit(slot);
  if (under_way_ == slots_.size()) broken_ = send_oldest();
  return broken_;
}

Status SealAhead::send_oldest() {
  Slot& slot = *slots_[oldest_];
  pool_.finish(slot);
  if (cost_ != nullptr) cost_->take(slot.cost, slot.took_ns);
  oldest_ = (oldest_ + 1) % slots_.size();
  --under_way_;
  if (!broken_.ok()) return broken_;
  if (!slot.good) return {Code::kSystem, "seal a record"};
  return send_(std::span(slot.sealed).first(sealed_bytes(slot.plain.size())));
}

Status SealAhead::finish() {
  while (under_way_ > 0) {
    if (Status sent = send_oldest(); broken_.ok()) broken_ = sent;
  }
  return broken_;
}

void SealAhead::wipe_in_child() {
  under_way_ = 0;
  for (auto& slot : slots_) slot->key = {};
}

struct OpenAhead::Slot final : CryptoPool::Job {
  void work() override {
    CostMeter::start(cost);
    good = RecordOpener::open_at(std::move(place), *key.aead,
                                 std::span(record).first(sealed_bytes(out.size())), out);
    took_ns = CostMeter::stop(cost);
  }
  HelperKey key;
  RecordPlace place;
  std::vector<std::byte> record = std::vector<std::byte>(kSealedBytesMax);  // ciphertext
  std::span<std::byte> out;
  CostSample cost;
  std::int64_t took_ns = -1;
  bool good = false;
};

OpenAhead::OpenAhead(RecordOpener& opener, CryptoPool& pool, CostMeter* cost)
    : opener_(opener), pool_(pool), cost_(cost) {
  slots_.push_back(std::make_unique<Slot>());
}

OpenAhead::~OpenAhead() { (void)finish(); }

Status OpenAhead::add(std::span<const std::byte> record, std::span<std::byte> out) {
  if (!broken_.ok()) return broken_;
  while (under_way_ == 0 && slots_.size() <= pool_.threads()) {
    slots_.push_back(std::make_unique<Slot>());
  }
  Slot& slot = *slots_[(oldest_ + under_way_) % slots_.size()];
  if (record.size() > slot.record.size() || record.size() != sealed_bytes(out.size())) {
    return broken_ = Status(Code::kMalformed, "a record is not as long as its text");
  }
  // Copied first and looked at afterwards: the peer may be able to write to where it lies.
  std::memcpy(slot.record.data(), record.data(), record.size());
  Result<RecordPlace> place =
      opener_.take_place(std::span<const std::byte>(slot.record).first(record.size()));
  broken_ = place.ok() ? opener_.lend(&slot.key) : place.status();
  if (broken_.ok() && place.value().type() != RecordType::kData) {
    broken_ = Status(Code::kMalformed, "the bulk lane carries payload only");
  }
  if (!broken_.ok()) return broken_;
  slot.place = std::move(place).value();
  slot.out = out;
  if (cost_ != nullptr) slot.cost = cost_->count(out.size());
  ++under_way_;
  pool_.submit(slot);
  if (under_way_ == slots_.size()) take_oldest();
  return broken_;
}

void OpenAhead::take_oldest() {
  Slot& slot = *slots_[oldest_];
  pool_.finish(slot);
  if (cost_ != nullptr) cost_->take(slot.cost, slot.took_ns);
  oldest_ = (oldest_ + 1) % slots_.size();
  --under_way_;
  if (!slot.good && broken_.ok()) broken_ = RecordOpener::does_not_open();
}

Status OpenAhead::finish() {
  while (under_way_ > 0) take_oldest();
  return broken_;
}

void OpenAhead::wipe_in_child() {
  under_way_ = 0;
  for (auto& slot : slots_) slot->key = {};
}

}  // namespace farcall::link
