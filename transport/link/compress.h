// Compress: payload records as zstd frames, for links that are slower than a compressor.
//
//   std::span<const std::byte> text = compressor.pack(plain);      // empty: send `plain` as it is
//   FARCALL_TRY(decompressor.unpack(text, room));
//
// **Sizes leak.** How well a record packs says something about what is in it, and sealing does not
// hide its length. So it is off unless both ends were told otherwise, and not for confidential
// data.
//
// Text of a packed record: u32 bytes it unpacks to, then one zstd frame of exactly those. A peer's
// text is bounded before any of it is unpacked: no more than limits::kRecordBytesMax come out, they
// go where the caller said, and the frame must be of today's format and fill the text.
// All memory that zstd works in is a SecureBuffer, made when first used: nothing of a payload
// reaches the heap.
// Owner: one end of the payload lane.  Threads: one.
#pragma once
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "transport/base/secure_arena.h"
#include "transport/base/status.h"

struct ZSTD_CCtx_s;
struct ZSTD_DCtx_s;

namespace farcall::link {

// kAuto: where a packed record takes less time than a plain one, compressing included.
enum class Compress : std::uint8_t { kOff, kAuto, kOn };
// "off", "auto", "on"; nothing for another text.
std::optional<Compress> compress_named(std::string_view text);

// Bytes that no compressor makes fewer, the same each time: for measuring a link that may compress.
void fill_incompressible(std::span<std::byte> room);

// Decides by what was measured whether the next record is worth packing. Nanoseconds per byte.
class CompressChoice {
 public:
  explicit CompressChoice(Compress mode) : mode_(mode) {}

  bool is_on() const { return mode_ != Compress::kOff; }

  // Another payload begins: it may pack where the last one did not.
  void forget_failures() { skip_ = 0; }
  bool should_try();
  // A record of `plain` bytes was tried and came to `packed`; as many as `plain`: no gain.
  void packed(std::size_t plain, std::size_t packed, std::int64_t ns);
  // `bytes` were sealed and handed to the link, which took `ns`: more than sealing takes where it
  // is slow, once its buffers are full.
  //   told_ns  what a byte takes on the link by other knowledge, which comes sooner; 0: none
  void sent(std::size_t bytes, std::int64_t ns, double told_ns = 0);

 private:
  bool pays() const;
  double link_ns() const { return std::max(waited_ns_, told_ns_); }  // a byte on the wire
  const Compress mode_;
  std::int64_t packing_ns_ = 0;  // of the record that is about to be sent
  double waited_ns_ = 0;
  double told_ns_ = 0;
  double pack_ns_ = 0;  // a byte of payload
  double ratio_ = 0;    // packed to plain
  unsigned skip_ = 0;   // records that are not tried, because the last ones did not gain
  unsigned skip_next_ = 1;
};

class Compressor {
 public:
  explicit Compressor(Compress mode) : choice_(mode) {}

  // A payload of `bytes` begins.
  void start(std::uint64_t bytes);
  // The text of a packed record with what is in `plain`, valid until the next call; empty when it
  // had better go as it is, be it because memory for the compressor is not to be had.
  std::span<const std::byte> pack(std::span<const std::byte> plain);
  // As CompressChoice::sent.
  void sent(std::size_t bytes, std::int64_t ns, double told_ns) {
    choice_.sent(bytes, ns, told_ns);
  }
  bool is_on() const { return choice_.is_on(); }
  void wipe_in_child();

 private:
  bool make_once();
  CompressChoice choice_;
  SecureBuffer work_;            // zstd's own
  SecureBuffer text_;            // packed
  ZSTD_CCtx_s* zstd_ = nullptr;  // lies in work_
};

class Decompressor {
 public:
  // What a packed record's text claims to unpack to, 1 … limits::kRecordBytesMax.
  // Errors: kMalformed.
  static Result<std::size_t> unpacked_bytes(std::span<const std::byte> text);
  // Fills `out`, which is exactly that large. On error what was written is wiped.
  // Errors: kMalformed, kSystem (no memory).
  Status unpack(std::span<const std::byte> text, std::span<std::byte> out);
  void wipe_in_child() { wipe(work_.bytes()); }

 private:
  SecureBuffer work_;
  ZSTD_DCtx_s* zstd_ = nullptr;  // lies in work_
};

}  // namespace farcall::link
