// Lane 1: payloads, cut into records, in the order of the frames that announced them.
//
//   Lock turn(sender.turn());  …post the frame…  FARCALL_TRY(sender.send(payload));
//   FARCALL_TRY(receiver.read(destination));
//
// The first record of a payload is short (limits::kBulkFirstRecordBytes), so that the far end
// starts early; the rest are as long as suits the lane. Records are opened straight into the
// destination where they fit whole, else through a buffer of one record. Where both ends agreed to
// it, a record may be compressed (compress.h); then the sender does without helpers.
// Owner: a Session.  Threads: BulkSender under turn(); BulkReceiver one at a time.
#pragma once
#include <atomic>
#include <cstdint>

#include "transport/base/guarded.h"
#include "transport/base/secure_arena.h"
#include "transport/link/compress.h"
#include "transport/link/lane.h"

namespace farcall::link {

class BulkSender {
 public:
  BulkSender(Lane& lane, Compress compress)
      : lane_(lane), compressor_(compress), strength_(lane.floor()) {}

  // Held from before a payload's frame is posted until its last byte is sealed: this is what keeps
  // payloads in the order of their frames. The one lock that is held over sending.
  Mutex& turn() FARCALL_TSA(lock_returned(turn_)) { return turn_; }

  Status send(std::span<const std::byte> payload) FARCALL_REQUIRES(turn_);
  // fill_failed: set when `fill` said no and the peer has been told; the lane is intact then.
  Status send_from(std::uint64_t bytes, Session::Fill fill, bool* fill_failed)
      FARCALL_REQUIRES(turn_);
  std::uint64_t bytes() const { return bytes_.load(std::memory_order_relaxed); }
  void wipe_in_child() {
    wipe(staging_.bytes());
    compressor_.wipe_in_child();
  }

 private:
  bool helps(std::uint64_t bytes) const { return !compressor_.is_on() && Lane::helps(bytes); }
  // Sends one piece, packed where that pays.
  Status send_packed(std::span<const std::byte> piece) FARCALL_REQUIRES(turn_);
  // Sends one piece, or hands it to a helper. Its bytes are borrowed as by Lane::send_ahead.
  Status send_piece(std::span<const std::byte> piece, bool helped) FARCALL_REQUIRES(turn_);
  Status call_off(const Status& why, bool helped) FARCALL_REQUIRES(turn_);
  // Around a payload: what sealing it took decides how the next is sealed.
  struct Begun {
    std::int64_t at_ns;
    std::uint64_t sealing_ns;
  };
  Begun begin_payload() const;
  void end_payload(const Begun& begun, std::uint64_t bytes) FARCALL_REQUIRES(turn_);
  Mutex turn_;
  Lane& lane_;
  Compressor compressor_;
  StrengthControl strength_;
  SecureBuffer staging_;  // of records; made when send_from is first used
  std::atomic<std::uint64_t> bytes_{0};
};

class BulkReceiver {
 public:
  // takes_packed: whether the peer may compress records
  BulkReceiver(Lane& lane, bool takes_packed) : lane_(lane), takes_packed_(takes_packed) {}

  // As Session::bulk_read. Sets `*fatal` when the session must close.
  Status read(std::span<std::byte> destination, bool* fatal);
  std::uint64_t bytes() const { return bytes_.load(std::memory_order_relaxed); }
  void wipe_in_child() {
    wipe(spare_.bytes());
    wipe(packed_.bytes());
    decompressor_.wipe_in_child();
  }

 private:
  // Opens the next record: into `destination` when it fits, else into spare_. Returns the bytes now
  // in `destination`.
  Result<std::size_t> next_record(std::span<std::byte> destination, bool* fatal);
  // Opens the next record, which claims to be packed, and unpacks it to the same place.
  Result<std::size_t> next_packed(std::size_t text_bytes, std::span<std::byte> destination);
  // So many bytes of spare_ are payload now.
  std::size_t start_spare(std::size_t bytes, std::span<std::byte> destination);
  // Fills `destination` from its start with whole records, by helpers; stops before a record that
  // needs the slow way. Returns the bytes filled.  On error, all of `destination` is wiped.
  Result<std::size_t> read_helped(std::span<std::byte> destination);
  std::size_t take_spare(std::span<std::byte> destination);

  Lane& lane_;
  const bool takes_packed_;
  Decompressor decompressor_;
  SecureBuffer packed_;  // text of a packed record
  SecureBuffer spare_;   // text of a record that was larger than what was asked for
  std::size_t spare_at_ = 0;
  std::size_t spare_end_ = 0;
  std::atomic<std::uint64_t> bytes_{0};
};

}  // namespace farcall::link
