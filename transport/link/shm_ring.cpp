#include "transport/link/shm_ring.h"

#include <array>
#include <cstring>

#include "transport/base/limits.h"
#include "transport/link/record.h"

namespace farcall::link {
namespace {

constexpr std::uint64_t aligned(std::uint64_t bytes) {
  return (bytes + kRingAlignBytes - 1) / kRingAlignBytes * kRingAlignBytes;
}

Status jumped() { return {Code::kMalformed, "the peer's position in the shared ring jumped"}; }

}  // namespace

// Announcing sleep and publishing are each a store followed by a look at the other's word. All four
// are sequentially consistent, so at least one side sees the other and nobody sleeps on work.

RingWriter::RingWriter(RingControl& control, std::byte* bytes, std::size_t capacity)
    : control_(control), bytes_(bytes), capacity_(capacity) {}

Result<std::span<std::byte>> RingWriter::reserve(std::size_t bytes) {
  const std::uint64_t need = aligned(bytes);
  if (bytes == 0 || need > capacity_) {
    return Status(Code::kOverQuota, "a record larger than the shared ring");
  }
  if (written_ - taken_ + need > capacity_) {
    const std::uint64_t taken = control_.taken.load(std::memory_order_seq_cst);
    if (taken < taken_ || taken > written_) return jumped();
    taken_ = taken;
    if (written_ - taken_ + need > capacity_) return std::span<std::byte>();
  }
  return std::span(bytes_ + written_ % capacity_, bytes);
}

bool RingWriter::publish(std::size_t bytes) {
  written_ += aligned(bytes);
  control_.written.store(written_, std::memory_order_seq_cst);
  return control_.reader_sleeps.load(std::memory_order_seq_cst) != 0 &&
         control_.reader_sleeps.exchange(0, std::memory_order_relaxed) != 0;
}

void RingWriter::will_sleep() { control_.writer_sleeps.store(1, std::memory_order_seq_cst); }
void RingWriter::slept() { control_.writer_sleeps.store(0, std::memory_order_relaxed); }

RingReader::RingReader(RingControl& control, const std::byte* bytes, std::size_t capacity)
    : control_(control), bytes_(bytes), capacity_(capacity) {}

Result<std::span<const std::byte>> RingReader::peek() {
  const std::byte* at = bytes_ + taken_ % capacity_;
  if (record_ != 0) return std::span(at, record_);
  if (written_ == taken_) {
    const std::uint64_t written = control_.written.load(std::memory_order_seq_cst);
    if (written == taken_) return std::span<const std::byte>();
    if (written < taken_ || written - taken_ > capacity_ || written % kRingAlignBytes != 0) {
      return jumped();
    }
    written_ = written;
  }
  std::array<std::byte, limits::kRecordHeaderBytes> header;
  std::memcpy(header.data(), at, header.size());
  Result<std::size_t> whole = whole_record_bytes(header);
  if (!whole.ok()) return whole.status();
  if (aligned(whole.value()) > written_ - taken_) {
    return Status(Code::kMalformed, "a record in the shared ring is longer than what was written");
  }
  record_ = whole.value();
  peeked_to_.store(taken_ + aligned(record_), std::memory_order_relaxed);
  return std::span(at, record_);
}

bool RingReader::release() {
  taken_ += aligned(record_);
  record_ = 0;
  control_.taken.store(taken_, std::memory_order_seq_cst);
  return control_.writer_sleeps.load(std::memory_order_seq_cst) != 0 &&
         control_.writer_sleeps.exchange(0, std::memory_order_relaxed) != 0;
}

void RingReader::will_sleep() { control_.reader_sleeps.store(1, std::memory_order_seq_cst); }
void RingReader::slept() { control_.reader_sleeps.store(0, std::memory_order_relaxed); }

bool RingReader::has_more_than_peeked() const {
  return control_.written.load(std::memory_order_acquire) !=
         peeked_to_.load(std::memory_order_relaxed);
}

}  // namespace farcall::link
