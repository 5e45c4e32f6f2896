#include "transport/link/compress.h"

#define ZSTD_STATIC_LINKING_ONLY  // contexts in memory of ours; the archive is linked in
#include <zstd.h>

#include <algorithm>
#include <cstring>

#include "transport/base/clock.h"
#include "transport/base/limits.h"

namespace farcall::link {
namespace {

constexpr int kLevel = 1;  // the fastest that is worth it
constexpr std::size_t kHeadBytes = sizeof(std::uint32_t);
// A record that shrinks by less than an eighth is not worth unpacking at the other end.
constexpr std::size_t useful(std::size_t plain) { return plain - plain / 8; }
constexpr std::size_t kPlainBytesMin = 512;  // a record that short gains nothing anybody waits for
// What is measured counts half after so many bytes: as much as socket buffers swallow at once.
constexpr double kMemoryBytes = 4 << 20;
constexpr double kGain = 0.95;     // less than this is not worth the processor's time
constexpr unsigned kSkipMax = 64;  // records between two trials
// A link that takes a byte in less is not slower than a compressor (zstd packs 1 GB/s at best).
constexpr double kFastLinkNs = 1.0;

void learn(double* average, double seen, std::size_t bytes) {
  const double weight = std::min(1.0, static_cast<double>(bytes) / kMemoryBytes);
  *average = *average == 0 ? seen : *average + weight * (seen - *average);
}

}  // namespace

std::optional<Compress> compress_named(std::string_view text) {
  if (text == "off") return Compress::kOff;
  if (text == "auto") return Compress::kAuto;
  if (text == "on") return Compress::kOn;
  return std::nullopt;
}

void fill_incompressible(std::span<std::byte> room) {
  std::uint64_t state = 0x9e3779b97f4a7c15;
  while (!room.empty()) {
    // xorshift64*: Vigna, "An experimental exploration of Marsaglia's xorshift generators".
    state ^= state >> 12;
    state ^= state << 25;
    state ^= state >> 27;
    const std::uint64_t word = state * 0x2545f4914f6cdd1d;
    const std::size_t bytes = std::min(room.size(), sizeof(word));
    std::memcpy(room.data(), &word, bytes);
    room = room.subspan(bytes);
  }
}

bool CompressChoice::pays() const {
  // The next record is packed while the wire still has the last ones: the slower of the two counts.
  return std::max(pack_ns_, ratio_ * link_ns()) < kGain * link_ns();
}

bool CompressChoice::should_try() {
  if (mode_ == Compress::kOff) return false;
  if (mode_ == Compress::kAuto && link_ns() < kFastLinkNs) return false;
  if (skip_ > 0) {
    --skip_;
    return false;
  }
  return true;
}

void CompressChoice::packed(std::size_t plain, std::size_t packed, std::int64_t ns) {
  const auto bytes = static_cast<double>(plain);
  packing_ns_ = ns;
  learn(&pack_ns_, static_cast<double>(ns) / bytes, plain);
  learn(&ratio_, static_cast<double>(packed) / bytes, plain);
  const bool good = packed < plain && (mode_ == Compress::kOn || pays());
  // Payloads change, so what did not gain is tried again, but ever more rarely.
  skip_next_ = good ? 1 : std::min(2 * skip_next_, kSkipMax);
  skip_ = good ? 0 : skip_next_ - 1;
}

void CompressChoice::sent(std::size_t bytes, std::int64_t ns, double told_ns) {
  if (told_ns > 0) learn(&told_ns_, told_ns, bytes);
  // A send that waited would have waited longer, had packing not taken its time.
  if (static_cast<double>(ns) > kFastLinkNs * static_cast<double>(bytes)) ns += packing_ns_;
  packing_ns_ = 0;
  learn(&waited_ns_, static_cast<double>(ns) / static_cast<double>(bytes), bytes);
}

bool Compressor::make_once() {
  if (zstd_ != nullptr) return true;
  Result<SecureBuffer> work = SecureBuffer::make(::ZSTD_estimateCCtxSize(kLevel));
  Result<SecureBuffer> text = SecureBuffer::make(limits::kRecordBytesMax);
  if (!work.ok() || !text.ok()) return false;
  work_ = std::move(work).value();
  text_ = std::move(text).value();
  zstd_ = ::ZSTD_initStaticCCtx(work_.data(), work_.size());
  return zstd_ != nullptr;
}

void Compressor::start(std::uint64_t bytes) {
  // One trial more is not noticed among several records, but would be on every small payload.
  if (bytes > limits::kRecordBytesMax) choice_.forget_failures();
}

std::span<const std::byte> Compressor::pack(std::span<const std::byte> plain) {
  if (plain.size() < kPlainBytesMin || !choice_.should_try() || !make_once()) return {};
  const std::int64_t begun_ns = system_clock().now_ns();
  const std::span<std::byte> room = text_.bytes().first(useful(plain.size()));
  const std::size_t frame =
      ::ZSTD_compressCCtx(zstd_, room.data() + kHeadBytes, room.size() - kHeadBytes, plain.data(),
                          plain.size(), kLevel);
  const bool packed = ::ZSTD_isError(frame) == 0;
  const std::size_t bytes = packed ? kHeadBytes + frame : plain.size();
  choice_.packed(plain.size(), bytes, system_clock().now_ns() - begun_ns);
  if (!packed) return {};
  const auto claimed = static_cast<std::uint32_t>(plain.size());
  std::memcpy(room.data(), &claimed, sizeof(claimed));
  return room.first(bytes);
}

void Compressor::wipe_in_child() {
  wipe(work_.bytes());
  wipe(text_.bytes());
}

Result<std::size_t> Decompressor::unpacked_bytes(std::span<const std::byte> text) {
  std::uint32_t claimed = 0;
  if (text.size() <= kHeadBytes) return Status(Code::kMalformed, "a packed record is cut short");
  std::memcpy(&claimed, text.data(), sizeof(claimed));
  if (claimed == 0 || claimed > limits::kRecordBytesMax) {
    return Status(Code::kMalformed,
                  "a packed record claims to unpack to " + std::to_string(claimed) + " bytes");
  }
  return std::size_t{claimed};
}

Status Decompressor::unpack(std::span<const std::byte> text, std::span<std::byte> out) {
  const Status wrong(Code::kMalformed, "a packed record does not unpack to what it claims");
  const std::span<const std::byte> frame = text.subspan(kHeadBytes);
  std::uint32_t magic = 0;
  if (frame.size() < sizeof(magic)) return wrong;
  std::memcpy(&magic, frame.data(), sizeof(magic));
  // zstd would also take frames of its first years, whose decoders use the heap, and several in a
  // row.
  if (magic != ZSTD_MAGICNUMBER ||
      ::ZSTD_findFrameCompressedSize(frame.data(), frame.size()) != frame.size()) {
    return wrong;
  }
  if (zstd_ == nullptr) {
    Result<SecureBuffer> work = SecureBuffer::make(::ZSTD_estimateDCtxSize());
    if (!work.ok()) return work.status();
    work_ = std::move(work).value();
    zstd_ = ::ZSTD_initStaticDCtx(work_.data(), work_.size());
    if (zstd_ == nullptr) return {Code::kSystem, "no room for a decompressor"};
  }
  const std::size_t bytes =
      ::ZSTD_decompressDCtx(zstd_, out.data(), out.size(), frame.data(), frame.size());
  if (bytes == out.size()) return ok();  // an error is larger than any size
  wipe(out);
  return wrong;
}

}  // namespace farcall::link
