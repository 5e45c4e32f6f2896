// A ring of records in memory that two processes share, and neither trusts.
//
//   writer:  Result<std::span<std::byte>> slot = writer.reserve(bytes);   // empty: it is full
//            …seal into it…  if (writer.publish(bytes)) wake the reader
//   reader:  Result<std::span<const std::byte>> record = reader.peek();   // empty: nothing yet
//            …open it…       if (reader.release()) wake the writer
//
// The peer can write anywhere in the memory at any time. So each side keeps its own position to
// itself, reads the peer's once per look, and ends the lane when it jumps; a record's length comes
// from a copy of its header, is bounded, and stays what it was until the record is released.
// The ring's bytes are mapped twice in a row, so that every record is contiguous.
// Sleeping: who finds nothing announces it with will_sleep(), looks once more, then sleeps; the
// other side's publish() or release() says that it must be woken.
// Owner: a carrier.  Threads: writer one, reader one, has_more_than_peeked() any.
#pragma once
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <span>

#include "transport/base/status.h"

namespace farcall::link {

// In shared memory, one per direction; all zero at the start. Positions count bytes from the
// beginning of the lane and never wrap.
struct RingControl {
  alignas(64) std::atomic<std::uint64_t> written;  // by the writer: records before this are whole
  alignas(64) std::atomic<std::uint64_t> taken;    // by the reader: room before this is free again
  alignas(64) std::atomic<std::uint32_t> reader_sleeps;
  alignas(64) std::atomic<std::uint32_t> writer_sleeps;
  std::atomic<std::uint32_t> room_bell;  // futex of the sleeping writer; grows at every wake
};
static_assert(std::atomic<std::uint64_t>::is_always_lock_free);
static_assert(sizeof(RingControl) == 256);

// Records start at multiples of this, so that the two sides never share a cache line of text.
inline constexpr std::size_t kRingAlignBytes = 64;

class RingWriter {
 public:
  // bytes: twice `capacity`, the same memory two times.
  RingWriter(RingControl& control, std::byte* bytes, std::size_t capacity);

  // Room for one record; empty while the ring is too full for it.
  // bytes: 1 … capacity.  Errors: kMalformed when the peer's position is impossible.
  Result<std::span<std::byte>> reserve(std::size_t bytes);
  // Makes what was reserved and filled visible. True: the reader sleeps and must be woken.
  bool publish(std::size_t bytes);
  void will_sleep();
  void slept();
  RingControl& control() { return control_; }

 private:
  RingControl& control_;
  std::byte* const bytes_;
  const std::size_t capacity_;
  std::uint64_t written_ = 0;
  std::uint64_t taken_ = 0;  // as last read from the peer
};

class RingReader {
 public:
  RingReader(RingControl& control, const std::byte* bytes, std::size_t capacity);

  // The next record, or an empty span. The same one until release().
  // Errors: kMalformed when the peer's position or the record's length is impossible.
  Result<std::span<const std::byte>> peek();
  // Gives back what peek() returned. True: the writer sleeps and must be woken.
  bool release();
  void will_sleep();
  void slept();
  // Whether there is anything behind the peeked record.  Threads: any.
  bool has_more_than_peeked() const;
  RingControl& control() { return control_; }

 private:
  RingControl& control_;
  const std::byte* const bytes_;
  const std::size_t capacity_;
  std::uint64_t taken_ = 0;
  std::uint64_t written_ = 0;  // as last read from the peer
  std::size_t record_ = 0;     // bytes of the peeked record; 0: none
  std::atomic<std::uint64_t> peeked_to_{0};
};

}  // namespace farcall::link
