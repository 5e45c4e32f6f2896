#include "transport/link/bulk_lane.h"

#include <algorithm>
#include <cstring>

#include "transport/base/log.h"

namespace farcall::link {
namespace {

// Of a payload of which `left` bytes are to go: its next record.
std::size_t piece(std::uint64_t left, bool first, std::size_t most) {
  if (first) most = limits::kBulkFirstRecordBytes;
  return static_cast<std::size_t>(std::min<std::uint64_t>(left, most));
}

Status make_once(SecureBuffer& buffer, std::size_t records = 1) {
  if (buffer.size() >= records * limits::kRecordBytesMax) return ok();
  Result<SecureBuffer> made = SecureBuffer::make(records * limits::kRecordBytesMax);
  if (!made.ok()) return made.status();
  buffer = std::move(made).value();
  return ok();
}

}  // namespace

BulkSender::Begun BulkSender::begin_payload() const {
  return {system_clock().now_ns(), lane_.seal_cost().ns};
}

void BulkSender::end_payload(const Begun& begun, std::uint64_t bytes) {
  // Short payloads say nothing about sealing: their time is that of a wake-up.
  if (bytes < limits::kHelpedBytesMin) return;
  const std::int64_t now_ns = system_clock().now_ns();
  const std::uint64_t sealing_ns = lane_.seal_cost().ns;
  // An estimate, which may become smaller.
  if (sealing_ns < begun.sealing_ns) return;
  const Cipher before = strength_.now().cipher;
  const Strength& next =
      strength_.after({.sealing_ns = static_cast<double>(sealing_ns - begun.sealing_ns),
                       .took_ns = static_cast<double>(now_ns - begun.at_ns),
                       .bytes = bytes},
                      now_ns);
  if (next.cipher != before) {
    FARCALL_LOG_INFO("payloads are sealed with %s from now on: sealing takes %.0f %% of their time",
                     to_string(next.cipher), 100 * strength_.share());
  }
  lane_.use(next);
}

Status BulkSender::send_packed(std::span<const std::byte> piece) {
  const std::span<const std::byte> packed = compressor_.pack(piece);
  const std::span<const std::byte> text = packed.empty() ? piece : packed;
  const std::int64_t begun_ns = system_clock().now_ns();
  FARCALL_TRY(lane_.send(packed.empty() ? RecordType::kData : RecordType::kPacked, text));
  compressor_.sent(text.size(), system_clock().now_ns() - begun_ns, lane_.link_ns_per_byte());
  return ok();
}

Status BulkSender::send_piece(std::span<const std::byte> piece, bool helped) {
  if (compressor_.is_on()) {
    FARCALL_TRY(send_packed(piece));
  } else {
    FARCALL_TRY(helped ? lane_.send_ahead(piece) : lane_.send(RecordType::kData, piece));
  }
  bytes_.fetch_add(piece.size(), std::memory_order_relaxed);
  return ok();
}

Status BulkSender::send(std::span<const std::byte> payload) {
  compressor_.start(payload.size());
  const std::size_t whole = payload.size();
  const bool helped = helps(whole);
  if (helped) (void)lane_.slots_ahead();
  const Begun begun = begin_payload();
  Status sent;
  for (bool first = true; sent.ok() && !payload.empty(); first = false) {
    const std::size_t bytes = piece(payload.size(), first, lane_.payload_record_bytes());
    sent = send_piece(payload.first(bytes), helped);
    payload = payload.subspan(bytes);
  }
  // Also after an error: helpers may still be reading the payload.
  if (helped) sent = lane_.finish_sending();
  if (sent.ok()) end_payload(begun, whole);
  return sent;
}

Status BulkSender::call_off(const Status& why, bool helped) {
  if (helped) FARCALL_TRY(lane_.finish_sending());
  const auto detail = static_cast<std::uint32_t>(why.detail());
  return lane_.send(RecordType::kCalledOff, std::as_bytes(std::span(&detail, 1)));
}

Status BulkSender::send_from(std::uint64_t bytes, Session::Fill fill, bool* fill_failed) {
  *fill_failed = false;
  compressor_.start(bytes);
  const bool helped = helps(bytes);
  const std::size_t slots = helped ? lane_.slots_ahead() : 1;
  FARCALL_TRY(make_once(staging_, slots));
  const Begun begun = begin_payload();
  Status sent;
  std::size_t slot = 0;
  for (std::uint64_t at = 0; sent.ok() && at < bytes; slot = (slot + 1) % slots) {
    const std::size_t next = piece(bytes - at, at == 0, lane_.payload_record_bytes());
    std::span<std::byte> room = staging_.bytes().subspan(slot * limits::kRecordBytesMax, next);
    if (Status filled = fill(room); !filled.ok()) {
      FARCALL_TRY(call_off(filled, helped));
      *fill_failed = true;
      return filled;
    }
    sent = send_piece(room, helped);
    at += next;
  }
  if (helped) sent = lane_.finish_sending();
  if (sent.ok()) end_payload(begun, bytes);
  return sent;
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
  if (takes_packed_ && lane_.next_type() == RecordType::kPacked)
    return next_packed(bytes.value(), destination);
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
  return start_spare(bytes.value(), destination);
}

std::size_t BulkReceiver::start_spare(std::size_t bytes, std::span<std::byte> destination) {
  spare_at_ = 0;
  spare_end_ = bytes;
  return take_spare(destination);
}

Result<std::size_t> BulkReceiver::next_packed(std::size_t text_bytes,
                                              std::span<std::byte> destination) {
  if (Status made = make_once(packed_); !made.ok()) return made;
  Result<RecordType> type = lane_.open(packed_.bytes());
  if (!type.ok()) return type.status();
  // In shared memory the peer can change the type between the two looks at it.
  if (type.value() != RecordType::kPacked) {
    return Status(Code::kMalformed, "a record of the bulk lane changed its type");
  }
  const std::span<const std::byte> text = packed_.bytes().first(text_bytes);
  Result<std::size_t> bytes = Decompressor::unpacked_bytes(text);
  if (!bytes.ok()) return bytes;
  const bool direct = bytes.value() <= destination.size();
  if (!direct) {
    if (Status made = make_once(spare_); !made.ok()) return made;
  }
  const std::span<std::byte> out = (direct ? destination : spare_.bytes()).first(bytes.value());
  Status unpacked = decompressor_.unpack(text, out);
  wipe(packed_.bytes().first(text_bytes));
  if (!unpacked.ok()) return unpacked;
  bytes_.fetch_add(bytes.value(), std::memory_order_relaxed);
  if (direct) return bytes;
  return start_spare(bytes.value(), destination);
}

Result<std::size_t> BulkReceiver::read_helped(std::span<std::byte> destination) {
  std::size_t filled = 0;
  Status wrong;
  while (wrong.ok() && filled < destination.size()) {
    Result<std::size_t> bytes = lane_.wait_next(Deadline::never());
    wrong = bytes.status();
    if (!bytes.ok()) break;
    const bool plain = bytes.value() > 0 && bytes.value() <= destination.size() - filled &&
                       lane_.next_type() == RecordType::kData;
    if (!plain) break;
    wrong = lane_.open_ahead(destination.subspan(filled, bytes.value()));
    filled += bytes.value();
  }
  Status opened = lane_.finish_opening();
  if (wrong.ok()) wrong = opened;
  if (!wrong.ok()) {
    wipe(destination);
    return wrong;
  }
  bytes_.fetch_add(filled, std::memory_order_relaxed);
  return filled;
}

Status BulkReceiver::read(std::span<std::byte> destination, bool* fatal) {
  *fatal = true;
  std::size_t filled = take_spare(destination);
  if (Lane::helps(destination.size() - filled)) {
    Result<std::size_t> helped = read_helped(destination.subspan(filled));
    if (!helped.ok()) {
      wipe(destination.first(filled));
      return helped.status();
    }
    filled += helped.value();
  }
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
