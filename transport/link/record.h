// Records: the sealed unit of a lane. A clear 16-byte header, ciphertext, a 16-byte tag.
//
//   Result<RecordSealer> sealer = RecordSealer::make(key, kLaneCalls, RekeyLimits::standard());
//   FARCALL_TRY(sealer.value().seal(RecordType::kData, plain, slot));
//
// AES-256-GCM, or AES-128-GCM where both ends' policies allow it (cipher.h). Header and the
// record's sequence number are authenticated with the text; nonce = IV xor sequence. The sequence
// is not sent and grows by exactly one per record for the life of the lane, so a record that is
// replayed, dropped, reordered, reflected or moved to another lane does not open. Keys change by
// HKDF, with a record whose header says so: when the sender likes, and at the latest after so many
// bytes or records. Only then may the cipher change. What is below the lane's floor is not opened,
// whoever sealed it. Owner: a lane.  Threads: one.  After a failed open nothing opens any more: the
// caller closes.
#pragma once
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>

#include "transport/base/limits.h"
#include "transport/base/secure_arena.h"
#include "transport/base/status.h"
#include "transport/link/engine.h"
#include "transport/link/keys.h"

namespace farcall::link {

struct RekeyLimits;

enum class RecordType : std::uint8_t {
  kConfirm = 1,    // first record of a lane in each direction; proves the keys
  kData = 2,       // lane 0: whole frames; lane 1: payload
  kCalledOff = 3,  // lane 1: the payload under way ends here; text = u32 CUresult
  kGoodbye = 4,    // lane 0: the sender ends the session; text = u8 Code, then why
  kPacked = 5,     // lane 1, where both ends agreed to it: payload, compressed (compress.h)
};

// Clear, authenticated, little endian.
struct RecordHeader {
  std::uint32_t length = 0;  // of what follows: ciphertext and tag
  std::uint8_t type = 0;
  std::uint8_t flags = 0;   // the cipher
  std::uint16_t epoch = 0;  // low bits of the number of key changes
  std::uint32_t lane = 0;
  std::uint32_t reserved = 0;  // 0
};
static_assert(sizeof(RecordHeader) == limits::kRecordHeaderBytes);

inline constexpr std::size_t kRecordOverheadBytes =
    limits::kRecordHeaderBytes + limits::kRecordTagBytes;
inline constexpr std::size_t kSealedBytesMax = limits::kRecordBytesMax + kRecordOverheadBytes;
constexpr std::size_t sealed_bytes(std::size_t plain_bytes) {
  return plain_bytes + kRecordOverheadBytes;
}

// Whole length of the record whose first limits::kRecordHeaderBytes are given.
// Errors: kMalformed when no record may be that long or that short.
Result<std::size_t> whole_record_bytes(std::span<const std::byte> header);

// A record's place in its lane, which is its nonce: taken in order, used once, on any thread.
class RecordPlace {
 public:
  RecordPlace() = default;  // of no record
  RecordPlace(RecordPlace&& other) noexcept { *this = std::move(other); }
  RecordPlace& operator=(RecordPlace&& other) noexcept {
    associated_ = other.associated_;
    nonce_ = other.nonce_;
    taken_ = std::exchange(other.taken_, false);
    return *this;
  }
  RecordType type() const { return static_cast<RecordType>(associated_.header.type); }

 private:
  friend class RecordCipher;
  friend class RecordSealer;
  friend class RecordOpener;
  // Authenticated beside the ciphertext: the header, and the sequence that is not sent.
  struct Associated {
    RecordHeader header;
    std::uint64_t sequence = 0;
  };
  static_assert(sizeof(Associated) == 24);
  std::span<const std::byte> associated() const {
    return std::as_bytes(std::span(&associated_, 1));
  }

  Associated associated_;
  std::array<std::byte, 12> nonce_{};
  bool taken_ = false;
};

// A key of its own for a thread that helps.
struct HelperKey {
  std::unique_ptr<Aead> aead;
  std::uint32_t epoch = 0;
};

// What sealing and opening share: key, sequence, epoch.
class RecordCipher {
 public:
  RecordCipher(RecordCipher&& other) noexcept = default;
  RecordCipher& operator=(RecordCipher&&) = delete;
  ~RecordCipher();
  void forget();  // wipes the keys; nothing seals or opens afterwards
  Engine engine() const { return engine_; }
  const LaneFloor& floor() const { return floor_; }
  // Makes `key` the one of the place that was taken last.
  Status lend(HelperKey* key);

 protected:
  struct Secret {
    TrafficKey traffic;
  };
  RecordCipher(SecureBuffer secret, std::uint8_t lane, const RekeyLimits& limits, Engine engine,
               Aead::Use use);
  static Result<SecureBuffer> keep(const TrafficKey& key);
  Status load_key();
  bool is_due() const { return key_bytes_ >= rekey_bytes_ || key_records_ >= rekey_records_; }
  Status prepare(std::size_t plain_bytes);        // counts this record
  RecordPlace place(const RecordHeader& header);  // the next; it is nobody else's from here on
  Status next_key(Cipher cipher);

  SecureBuffer secret_;
  std::unique_ptr<Aead> aead_;  // of the present key; none once forgotten
  std::uint8_t lane_;
  Engine engine_;
  Aead::Use use_;
  LaneFloor floor_;
  Cipher cipher_ = Cipher::kAes256Gcm;  // of the present key
  std::uint64_t rekey_bytes_;
  std::uint64_t rekey_records_;
  std::uint64_t sequence_ = 0;
  std::uint64_t key_bytes_ = 0;    // under the present key
  std::uint64_t key_records_ = 0;  // under the present key
  std::uint32_t epoch_ = 0;
};

class RecordSealer : public RecordCipher {
 public:
  static Result<RecordSealer> make(const TrafficKey& key, std::uint8_t lane,
                                   const RekeyLimits& limits, Engine engine = chosen_engine());
  // From the next record on, by a new key where the cipher is another. Never below the lane's
  // floor, nor longer with one key than it allows.
  void use(Cipher cipher, std::uint64_t rekey_bytes);

  // out: exactly sealed_bytes(plain.size()); must not overlap plain.  Errors: kSystem.
  Status seal(RecordType type, std::span<const std::byte> plain, std::span<std::byte> out);

  // The same in two steps, for helpers: places in order on the thread of the lane, the sealing on
  // any thread. A place that was taken must be sealed and sent in its order, or the lane is over.
  Result<RecordPlace> take_place(RecordType type, std::size_t plain_bytes);
  // False when the engine fails, or the place was used before.
  static bool seal_at(RecordPlace place, Aead& with, std::span<const std::byte> plain,
                      std::span<std::byte> out);

 private:
  using RecordCipher::RecordCipher;
  Cipher wanted_ = Cipher::kAes256Gcm;
  std::uint64_t wanted_bytes_ = UINT64_MAX;
};

class RecordOpener : public RecordCipher {
 public:
  static Result<RecordOpener> make(const TrafficKey& key, std::uint8_t lane,
                                   const RekeyLimits& limits, Engine engine = chosen_engine());
  // record: as whole_record_bytes() measured it.  out: room for its text.
  // Returns the type. The text is written before the tag is known to be good, and wiped when it is
  // not.  Errors: kMalformed.
  Result<RecordType> open(std::span<const std::byte> record, std::span<std::byte> out);

  // The same in two steps, as for the sealer. The header is believed as take_place() saw it.
  // Errors: kMalformed.
  Result<RecordPlace> take_place(std::span<const std::byte> record);
  // out: exactly as large as the text. False when the record does not open: `out` is wiped then.
  static bool open_at(RecordPlace place, Aead& with, std::span<const std::byte> record,
                      std::span<std::byte> out);
  static Status does_not_open();

 private:
  using RecordCipher::RecordCipher;
  Status check_header(const RecordHeader& header, std::size_t record_bytes) const;
  // A new key, where the header says that this record has one, or must have.
  Status follow(const RecordHeader& header);
};

}  // namespace farcall::link
