#include "transport/link/bulk_lane.h"

#include <algorithm>
#include <cstring>

namespace farcall::link {
namespace {

std::size_t piece(std::uint64_t left, bool first) {
  const std::size_t most = first ? limits::kBulkFirstRecordBytes : limits::kRecordBytesMax;
  return static_cast<std::size_t>(std::min<std::uint64_t>(left, most));
}

Status make_once(SecureBuffer& buffer) {
  if (buffer.size() != 0) return ok();
  Result<SecureBuffer> made = SecureBuffer::make(limits::kRecordBytesMax);
  if (!made.ok()) return made.status();
  buffer = std::move(made).value();
  return ok();
}

}  // namespace

Status BulkSender::send(std::span<const std::byte> payload) {
  bool first = true;
  while (!payload.empty()) {
    const std::size_t bytes = piece(payload.size(), first);
    FARCALL_TRY(lane_.send(RecordType::kData, payload.first(bytes)));
    bytes_.fetch_add(bytes, std::memory_order_relaxed);
    payload = payload.subspan(bytes);
    first = false;
  }
  return ok();
}

Status BulkSender::send_from(std::uint64_t bytes, Session::Fill fill, bool* fill_failed) {
  *fill_failed = false;
  FARCALL_TRY(make_once(staging_));
  for (std::uint64_t sent = 0; sent < bytes;) {
    const std::size_t next = piece(bytes - sent, sent == 0);
    std::span<std::byte> room = staging_.bytes().first(next);
    if (Status filled = fill(room); !filled.ok()) {
      const auto detail = static_cast<std::uint32_t>(filled.detail());
      FARCALL_TRY(lane_.send(RecordType::kCalledOff, std::as_bytes(std::span(&detail, 1))));
      *fill_failed = true;
      return filled;
    }
    FARCALL_TRY(lane_.send(RecordType::kData, room));
    bytes_.fetch_add(next, std::memory_order_relaxed);
    sent += next;
  }
  return ok();
}

std::size_t BulkReceiver::take_spare(std::span<std::byte> destination) {
  const std::size_t bytes = std::min(destination.size(), spare_end_ - spare_at_);
  if (bytes == 0) return 0;
  std::span<std::byte> from = spare_.bytes().subspan(spare_at_, bytes);
  std::memcpy(destination.data(), from.data(), bytes);
  wipe(from);
  spare_at_ += bytes;
  return bytes;
}

Result<std::size_t> BulkReceiver::next_record(std::span<std::byte> destination, bool* fatal) {
  *fatal = true;
  Result<std::size_t> bytes = lane_.wait_next(Deadline::never());
  if (!bytes.ok()) return bytes;
  const bool direct = bytes.value() <= destination.size() && lane_.next_type() == RecordType::kData;
  if (!direct) {
    if (Status made = make_once(spare_); !made.ok()) return made;
  }
  Result<RecordType> type = lane_.open(direct ? destination : spare_.bytes());
  if (!type.ok()) return type.status();
  // In shared memory the peer can change the type between the two looks at it.
  if (direct && type.value() != RecordType::kData) {
    return Status(Code::kMalformed, "a record of the bulk lane changed its type");
  }
  if (type.value() == RecordType::kCalledOff) {
    std::uint32_t detail = 0;
    if (bytes.value() != sizeof(detail)) {
      return Status(Code::kMalformed, "a called-off record of the wrong length");
    }
    std::memcpy(&detail, spare_.data(), sizeof(detail));
    *fatal = false;
    return Status::driver("the peer called this payload off", static_cast<int>(detail));
  }
  if (type.value() != RecordType::kData || bytes.value() == 0) {
    return Status(Code::kMalformed, "the bulk lane carries payload only");
  }
  bytes_.fetch_add(bytes.value(), std::memory_order_relaxed);
  if (direct) return bytes;
  spare_at_ = 0;
  spare_end_ = bytes.value();
  return take_spare(destination);
}

Status BulkReceiver::read(std::span<std::byte> destination, bool* fatal) {
  *fatal = false;
  std::size_t filled = take_spare(destination);
  while (filled < destination.size()) {
    Result<std::size_t> more = next_record(destination.subspan(filled), fatal);
    if (!more.ok()) {
      wipe(destination.first(filled));
      return more.status();
    }
    filled += more.value();
  }
  *fatal = false;
  return ok();
}

}  // namespace farcall::link
