// Every limit of Farcall in one place: unit in the name, reason beside it, relations checked.
// A peer can make us hold at most what these allow.
#pragma once
#include <cstddef>
#include <cstdint>

namespace farcall::limits {

// --- link: records -------------------------------------------------------------------------------
inline constexpr std::size_t kRecordHeaderBytes = 16;
inline constexpr std::size_t kRecordTagBytes = 16;
// Plaintext of one record. 256 KiB is where sealing, wire and opening overlap best on measured
// machines; a larger record makes the two ends take turns.
inline constexpr std::size_t kRecordBytesMax = 256 * 1024;
// The first record of a bulk payload is small, so that the far end starts early.
inline constexpr std::size_t kBulkFirstRecordBytes = 64 * 1024;
// A call-lane record: frames gather here until they are flushed.
inline constexpr std::size_t kCallRecordBytesMax = 64 * 1024;

// --- frames --------------------------------------------------------------------------------------
inline constexpr std::size_t kFrameHeaderBytes = 16;
// A frame never spans records, so a whole frame fits into one call-lane record. Longer payloads go
// over the bulk lane, which has no limit.
inline constexpr std::size_t kFrameBodyBytesMax = kCallRecordBytesMax - kFrameHeaderBytes;
// Copies up to here ride in the call frame: one record, no second lane to wait for.
inline constexpr std::size_t kInlineCopyBytesMax = 32 * 1024;
// Longest string argument: mangled C++ kernel names reach a few KiB.
inline constexpr std::size_t kStringBytesMax = 16 * 1024;
// Elements in one array argument.
inline constexpr std::size_t kArrayItemsMax = 4096;
// Kernel parameters: CUDA allows 32,764 bytes from compute capability 7.0 on.
inline constexpr std::size_t kKernelParamBytesMax = 32 * 1024;

// --- session -------------------------------------------------------------------------------------
inline constexpr std::size_t kModuleBytesMax = std::size_t{2} << 30;  // a cuBLASLt image is 500 MB
inline constexpr std::size_t kHandlesMax = 1 << 20;                   // live handles of one session
inline constexpr std::size_t kClientThreadsMax = 4096;  // threads of one client process
inline constexpr std::size_t kDevicesMax = 64;          // devices of one server
inline constexpr std::size_t kStagingBytes = 4 << 20;   // pinned staging, two halves

// --- handshake -----------------------------------------------------------------------------------
inline constexpr int kHandshakeMs = 10'000;  // TLS, hello and lanes, all of it
inline constexpr std::size_t kHelloBytesMax = 4096;
inline constexpr std::size_t kUnauthenticatedConnectionsMax = 64;

// --- rekeying (RFC 8446 section 5.5 allows about 390 GB per AES-GCM key)
// --------------------------
inline constexpr std::uint64_t kRekeyBytes = std::uint64_t{64} << 30;
inline constexpr std::uint64_t kRekeyRecords = std::uint64_t{1} << 32;

static_assert(kInlineCopyBytesMax + 4096 <= kFrameBodyBytesMax, "a small copy fits its frame");
static_assert(kKernelParamBytesMax + 4096 <= kFrameBodyBytesMax, "a launch fits its frame");
static_assert(kStringBytesMax <= kFrameBodyBytesMax, "a name fits its frame");
static_assert(kArrayItemsMax * 8 <= kFrameBodyBytesMax, "an array fits its frame");
static_assert(kCallRecordBytesMax <= kRecordBytesMax, "one record limit holds for both lanes");
static_assert(kBulkFirstRecordBytes <= kRecordBytesMax, "the first record is no larger");

}  // namespace farcall::limits
