#include "transport/link/record.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <new>
#include <string>
#include <utility>

#include "security/crypto.h"
#include "transport/base/key_memory.h"
#include "transport/link/session.h"

namespace farcall::link {

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
      floor_(reinterpret_cast<const Secret*>(secret_.data())->traffic.floor),
      rekey_bytes_(std::min(limits.bytes, floor_.rekey_bytes())),
      rekey_records_(limits.records) {}

RecordCipher::~RecordCipher() { forget(); }

void RecordCipher::forget() {
  wipe(secret_.bytes());
  aead_.reset();
}

Result<SecureBuffer> RecordCipher::keep(const TrafficKey& key) {
  security::init_crypto();
  Result<SecureBuffer> kept = make_key_buffer(sizeof(Secret));
  if (kept.ok()) new (kept->data()) Secret{key};
  return kept;
}

Status RecordCipher::load_key() {
  const auto* secret = reinterpret_cast<const Secret*>(secret_.data());
  Result<std::unique_ptr<Aead>> aead = make_aead(engine_, secret->traffic.key, use_, cipher_);
  if (!aead.ok()) return aead.status();
  aead_ = std::move(aead).value();
  return ok();
}

Status RecordCipher::next_key(Cipher cipher) {
  auto* secret = reinterpret_cast<Secret*>(secret_.data());
  std::string info = "farcall rekey";
  info += static_cast<char>(lane_);
  ++epoch_;
  for (unsigned shift = 0; shift < 32; shift += 8) {
    info += static_cast<char>((epoch_ >> shift) & 0xff);
  }
  info += static_cast<char>(cipher);
  TrafficKey next;
  next.floor = floor_;
  std::array<std::byte, kTrafficKeyBytes> fresh{};
  Status derived = security::hkdf_expand(secret->traffic.key, info, fresh);
  std::memcpy(next.key.data(), fresh.data(), next.key.size());
  std::memcpy(next.iv.data(), fresh.data() + next.key.size(), next.iv.size());
  secret->traffic = next;
  cipher_ = cipher;
  wipe(fresh);
  wipe(&next, sizeof(next));
  key_bytes_ = 0;
  key_records_ = 0;
  aead_.reset();  // the old key never meets the new IV, even when the new key cannot be loaded
  return derived.ok() ? load_key() : derived;
}

Status RecordCipher::prepare(std::size_t plain_bytes) {
  if (aead_ == nullptr) return {Code::kClosed, "the lane's keys are gone"};
  if (sequence_ == UINT64_MAX) return {Code::kClosed, "the lane has used up its sequence numbers"};
  key_bytes_ += plain_bytes;
  ++key_records_;
  return ok();
}

RecordPlace RecordCipher::place(const RecordHeader& header) {
  const auto* secret = reinterpret_cast<const Secret*>(secret_.data());
  RecordPlace next;
  next.associated_ = {header, sequence_};
  std::memcpy(next.nonce_.data(), secret->traffic.iv.data(), next.nonce_.size());
  for (std::size_t i = 0; i < 8; ++i) {
    next.nonce_[11 - i] ^= static_cast<std::byte>((sequence_ >> (8 * i)) & 0xff);
  }
  next.taken_ = true;
  ++sequence_;
  return next;
}

Status RecordCipher::lend(HelperKey* key) {
  if (aead_ == nullptr) return {Code::kClosed, "the lane's keys are gone"};
  if (key->aead != nullptr && key->epoch == epoch_) return ok();
  const auto* secret = reinterpret_cast<const Secret*>(secret_.data());
  Result<std::unique_ptr<Aead>> aead = make_aead(engine_, secret->traffic.key, use_, cipher_);
  if (!aead.ok()) return aead.status();
  *key = {std::move(aead).value(), epoch_};
  return ok();
}

Result<RecordSealer> RecordSealer::make(const TrafficKey& key, std::uint8_t lane,
                                        const RekeyLimits& limits, Engine engine) {
  Result<SecureBuffer> secret = keep(key);
  if (!secret.ok()) return secret.status();
  RecordSealer sealer(std::move(secret).value(), lane, limits, engine, Aead::Use::kSeal);
  if (Status loaded = sealer.load_key(); !loaded.ok()) return loaded;
  return sealer;
}

void RecordSealer::use(Cipher cipher, std::uint64_t rekey_bytes) {
  wanted_ = at_least(floor_.cipher, cipher);
  wanted_bytes_ = rekey_bytes;
}

Result<RecordPlace> RecordSealer::take_place(RecordType type, std::size_t plain_bytes) {
  if (plain_bytes > limits::kRecordBytesMax) {
    return Status(Code::kOverQuota, "a record of " + std::to_string(plain_bytes) + " bytes");
  }
  if (aead_ != nullptr && (is_due() || key_bytes_ >= wanted_bytes_ || wanted_ != cipher_)) {
    if (Status changed = next_key(wanted_); !changed.ok()) return changed;
  }
  if (Status counted = prepare(plain_bytes); !counted.ok()) return counted;
  RecordHeader header;
  header.flags = static_cast<std::uint8_t>(cipher_);
  header.length = static_cast<std::uint32_t>(plain_bytes + limits::kRecordTagBytes);
  header.type = static_cast<std::uint8_t>(type);
  header.epoch = static_cast<std::uint16_t>(epoch_);
  header.lane = lane_;
  return place(header);
}

bool RecordSealer::seal_at(RecordPlace place, Aead& with, std::span<const std::byte> plain,
                           std::span<std::byte> out) {
  const RecordHeader& header = place.associated_.header;
  if (!place.taken_ || header.length != plain.size() + limits::kRecordTagBytes ||
      out.size() != sealed_bytes(plain.size())) {
    return false;
  }
  std::memcpy(out.data(), &header, sizeof(header));
  return with.seal(place.nonce_, place.associated(), plain, out.subspan(sizeof(header)));
}

Status RecordSealer::seal(RecordType type, std::span<const std::byte> plain,
                          std::span<std::byte> out) {
  if (out.size() != sealed_bytes(plain.size())) {
    return {Code::kOverQuota, "a record of " + std::to_string(plain.size()) + " bytes"};
  }
  Result<RecordPlace> place = take_place(type, plain.size());
  if (!place.ok()) return place.status();
  if (seal_at(std::move(place).value(), *aead_, plain, out)) return ok();
  forget();
  return {Code::kSystem, "seal a record: " + security::take_crypto_error()};
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
  if (header.lane != lane_ || header.flags >= kCiphers || header.reserved != 0) {
    return {Code::kMalformed, "a record header has bits this lane never sends"};
  }
  if (header.type < static_cast<std::uint8_t>(RecordType::kConfirm) ||
      header.type > static_cast<std::uint8_t>(RecordType::kPacked)) {
    return {Code::kMalformed, "a record is of an unknown type"};
  }
  return ok();
}

// Believes the header, which no key vouches for yet: if somebody made it up, the record does not
// open, and nothing opens after it.
Status RecordOpener::follow(const RecordHeader& header) {
  const auto cipher = static_cast<Cipher>(header.flags);
  if (at_least(floor_.cipher, cipher) != cipher) {
    return {Code::kMalformed,
            std::string("a record is sealed with ") + to_string(cipher) + ", less than was agreed"};
  }
  if (header.epoch == static_cast<std::uint16_t>(epoch_ + 1)) return next_key(cipher);
  if (header.epoch != static_cast<std::uint16_t>(epoch_) || is_due()) {
    return {Code::kMalformed, "a record is of another key epoch"};
  }
  if (cipher == cipher_) return ok();
  return {Code::kMalformed, "a record is sealed with another cipher under the same key"};
}

Result<RecordPlace> RecordOpener::take_place(std::span<const std::byte> record) {
  if (record.size() < kRecordOverheadBytes) {
    return Status(Code::kMalformed, "a record is shorter than its header and tag");
  }
  if (aead_ == nullptr) return Status(Code::kClosed, "the lane's keys are gone");
  RecordHeader header;
  std::memcpy(&header, record.data(), sizeof(header));
  Status sound = check_header(header, record.size());
  if (sound.ok()) sound = follow(header);
  if (sound.ok()) sound = prepare(record.size() - kRecordOverheadBytes);
  if (!sound.ok()) {
    forget();
    return sound;
  }
  return place(header);
}

bool RecordOpener::open_at(RecordPlace place, Aead& with, std::span<const std::byte> record,
                           std::span<std::byte> out) {
  if (!place.taken_ || record.size() != sealed_bytes(out.size())) return false;
  const std::span<const std::byte> sealed = record.subspan(sizeof(RecordHeader));
  if (with.open(place.nonce_, place.associated(), sealed, out)) return true;
  wipe(out);
  security::take_crypto_error();
  return false;
}

Status RecordOpener::does_not_open() {
  return {
      Code::kMalformed,
      "a record does not open: it was changed, repeated, moved or dropped on its way, or sealed "
      "with other keys"};
}

Result<RecordType> RecordOpener::open(std::span<const std::byte> record, std::span<std::byte> out) {
  if (record.size() > sealed_bytes(out.size())) {
    return Status(Code::kMalformed,
                  "a record of " + std::to_string(record.size() - kRecordOverheadBytes) +
                      " bytes where at most " + std::to_string(out.size()) + " are allowed");
  }
  Result<RecordPlace> place = take_place(record);
  if (!place.ok()) return place.status();
  const RecordType type = place.value().type();
  const std::span<std::byte> text = out.first(record.size() - kRecordOverheadBytes);
  if (open_at(std::move(place).value(), *aead_, record, text)) return type;
  forget();
  return does_not_open();
}

}  // namespace farcall::link
