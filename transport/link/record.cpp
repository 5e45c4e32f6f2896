#include "transport/link/record.h"

#include <array>
#include <cstring>
#include <new>
#include <string>
#include <utility>

#include "security/crypto.h"
#include "transport/link/session.h"

namespace farcall::link {
namespace {

// Authenticated beside the ciphertext: the header, and the sequence that is not sent.
struct Associated {
  RecordHeader header;
  std::uint64_t sequence;
};
static_assert(sizeof(Associated) == 24);

}  // namespace

Result<std::size_t> whole_record_bytes(std::span<const std::byte> header) {
  RecordHeader head;
  if (header.size() < sizeof(head)) return Status(Code::kMalformed, "a record header is cut short");
  std::memcpy(&head, header.data(), sizeof(head));
  if (head.length < limits::kRecordTagBytes ||
      head.length > limits::kRecordBytesMax + limits::kRecordTagBytes) {
    return Status(Code::kMalformed,
                  "a record claims " + std::to_string(head.length) + " bytes; allowed are " +
                      std::to_string(limits::kRecordTagBytes) + " to " +
                      std::to_string(limits::kRecordBytesMax + limits::kRecordTagBytes));
  }
  return limits::kRecordHeaderBytes + head.length;
}

RecordCipher::RecordCipher(SecureBuffer secret, std::uint8_t lane, const RekeyLimits& limits,
                           Engine engine, Aead::Use use)
    : secret_(std::move(secret)),
      lane_(lane),
      engine_(engine),
      use_(use),
      rekey_bytes_(limits.bytes),
      rekey_records_(limits.records) {}

RecordCipher::~RecordCipher() { forget(); }

void RecordCipher::forget() {
  wipe(secret_.bytes());
  aead_.reset();
}

Result<SecureBuffer> RecordCipher::keep(const TrafficKey& key) {
  security::init_crypto();
  Result<SecureBuffer> kept = SecureBuffer::make(sizeof(Secret));
  if (kept.ok()) new (kept->data()) Secret{key};
  return kept;
}

Status RecordCipher::load_key() {
  const auto* secret = reinterpret_cast<const Secret*>(secret_.data());
  Result<std::unique_ptr<Aead>> aead = make_aead(engine_, secret->traffic.key, use_);
  if (!aead.ok()) return aead.status();
  aead_ = std::move(aead).value();
  return ok();
}

Status RecordCipher::next_key() {
  auto* secret = reinterpret_cast<Secret*>(secret_.data());
  std::string info = "farcall rekey";
  info += static_cast<char>(lane_);
  ++epoch_;
  for (unsigned shift = 0; shift < 32; shift += 8) {
    info += static_cast<char>((epoch_ >> shift) & 0xff);
  }
  TrafficKey next;
  std::array<std::byte, kTrafficKeyBytes> fresh{};
  Status derived = security::hkdf_expand(secret->traffic.key, info, fresh);
  std::memcpy(next.key.data(), fresh.data(), next.key.size());
  std::memcpy(next.iv.data(), fresh.data() + next.key.size(), next.iv.size());
  secret->traffic = next;
  wipe(fresh);
  wipe(&next, sizeof(next));
  key_bytes_ = 0;
  key_records_ = 0;
  aead_.reset();  // the old key never meets the new IV, even when the new key cannot be loaded
  return derived.ok() ? load_key() : derived;
}

Status RecordCipher::prepare(std::size_t plain_bytes) {
  if (aead_ == nullptr) return {Code::kClosed, "the lane's keys are gone"};
  // Both ends count the same records, so both change keys before the same one.
  if (key_bytes_ >= rekey_bytes_ || key_records_ >= rekey_records_) FARCALL_TRY(next_key());
  if (sequence_ == UINT64_MAX) return {Code::kClosed, "the lane has used up its sequence numbers"};
  key_bytes_ += plain_bytes;
  ++key_records_;
  return ok();
}

void RecordCipher::nonce(std::span<std::byte, 12> out) const {
  const auto* secret = reinterpret_cast<const Secret*>(secret_.data());
  std::memcpy(out.data(), secret->traffic.iv.data(), out.size());
  for (std::size_t i = 0; i < 8; ++i) {
    out[11 - i] ^= static_cast<std::byte>((sequence_ >> (8 * i)) & 0xff);
  }
}

Result<RecordSealer> RecordSealer::make(const TrafficKey& key, std::uint8_t lane,
                                        const RekeyLimits& limits, Engine engine) {
  Result<SecureBuffer> secret = keep(key);
  if (!secret.ok()) return secret.status();
  RecordSealer sealer(std::move(secret).value(), lane, limits, engine, Aead::Use::kSeal);
  if (Status loaded = sealer.load_key(); !loaded.ok()) return loaded;
  return sealer;
}

Status RecordSealer::seal(RecordType type, std::span<const std::byte> plain,
                          std::span<std::byte> out) {
  if (plain.size() > limits::kRecordBytesMax || out.size() != sealed_bytes(plain.size())) {
    return {Code::kOverQuota, "a record of " + std::to_string(plain.size()) + " bytes"};
  }
  FARCALL_TRY(prepare(plain.size()));
  Associated associated{};
  associated.header.length = static_cast<std::uint32_t>(plain.size() + limits::kRecordTagBytes);
  associated.header.type = static_cast<std::uint8_t>(type);
  associated.header.epoch = static_cast<std::uint16_t>(epoch_);
  associated.header.lane = lane_;
  associated.sequence = sequence_;
  std::array<std::byte, 12> iv;
  nonce(iv);
  std::memcpy(out.data(), &associated.header, sizeof(RecordHeader));
  if (!aead_->seal(iv, std::as_bytes(std::span(&associated, 1)), plain,
                   out.subspan(sizeof(RecordHeader)))) {
    // Part of the record may have been sealed: this sequence number must not be used again.
    forget();
    return {Code::kSystem, "seal a record: " + security::take_crypto_error()};
  }
  ++sequence_;
  return ok();
}

Result<RecordOpener> RecordOpener::make(const TrafficKey& key, std::uint8_t lane,
                                        const RekeyLimits& limits, Engine engine) {
  Result<SecureBuffer> secret = keep(key);
  if (!secret.ok()) return secret.status();
  RecordOpener opener(std::move(secret).value(), lane, limits, engine, Aead::Use::kOpen);
  if (Status loaded = opener.load_key(); !loaded.ok()) return loaded;
  return opener;
}

Status RecordOpener::check_header(const RecordHeader& header, std::size_t record_bytes) const {
  if (header.length + limits::kRecordHeaderBytes != record_bytes) {
    return {Code::kMalformed, "a record's length disagrees with its header"};
  }
  if (header.lane != lane_ || header.flags != 0 || header.reserved != 0) {
    return {Code::kMalformed, "a record header has bits this lane never sends"};
  }
  if (header.epoch != static_cast<std::uint16_t>(epoch_)) {
    return {Code::kMalformed, "a record is of another key epoch"};
  }
  if (header.type < static_cast<std::uint8_t>(RecordType::kConfirm) ||
      header.type > static_cast<std::uint8_t>(RecordType::kGoodbye)) {
    return {Code::kMalformed, "a record is of an unknown type"};
  }
  return ok();
}

Result<RecordType> RecordOpener::open(std::span<const std::byte> record, std::span<std::byte> out) {
  if (record.size() < kRecordOverheadBytes) {
    return Status(Code::kMalformed, "a record is shorter than its header and tag");
  }
  const std::size_t plain_bytes = record.size() - kRecordOverheadBytes;
  if (plain_bytes > out.size()) {
    return Status(Code::kMalformed, "a record of " + std::to_string(plain_bytes) +
                                        " bytes where at most " + std::to_string(out.size()) +
                                        " are allowed");
  }
  if (Status due = prepare(plain_bytes); !due.ok()) return due;
  Associated associated{};
  std::memcpy(&associated.header, record.data(), sizeof(RecordHeader));
  if (Status sound = check_header(associated.header, record.size()); !sound.ok()) {
    forget();
    return sound;
  }
  associated.sequence = sequence_;
  std::array<std::byte, 12> iv;
  nonce(iv);
  if (!aead_->open(iv, std::as_bytes(std::span(&associated, 1)),
                   record.subspan(sizeof(RecordHeader)), out.first(plain_bytes))) {
    wipe(out.first(plain_bytes));
    forget();
    security::take_crypto_error();
    return Status(Code::kMalformed,
                  "a record does not open: it was changed, repeated, moved or dropped on its way, "
                  "or sealed with other keys");
  }
  ++sequence_;
  return static_cast<RecordType>(associated.header.type);
}

}  // namespace farcall::link
