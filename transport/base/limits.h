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
// A payload from here on is sealed and opened with helper threads, where the machine has cores for
// them: waking one costs about as much as sealing 64 KiB.
inline constexpr std::size_t kHelpedBytesMin = 1 << 20;
// Two helpers and the caller outrun what one connection carries.
inline constexpr unsigned kCryptoThreadsMax = 4;
// A call-lane record: frames gather here until they are flushed.
inline constexpr std::size_t kCallRecordBytesMax = 64 * 1024;
// Connections that the payloads of a session are spread over. Eight windows of kLaneWindowBytes
// fill 10 Gbit/s over 13 ms; each more costs both ends a socket and the server a descriptor.
inline constexpr std::size_t kStripesMax = 8;
// Their records are short, so that even a small payload is on all of them at once, and a connection
// whose socket buffer is full keeps the others waiting for one record at most.
inline constexpr std::size_t kStripedRecordBytes = 64 * 1024;
// What one connection carries in a round trip: the socket buffers we ask for (link/socket.cpp).
inline constexpr std::size_t kLaneWindowBytes = 2 << 20;

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
// All elements of one array answer; leaves room in the reply for what else the row answers.
inline constexpr std::size_t kAnswerBytesMax = 48 * 1024;
// What the server holds for the arguments and answers of one call, wiped after it: a full request
// whose ids have become pointers, and as many answers as fit a reply, twice over.
inline constexpr std::size_t kScratchBytes = 256 * 1024;
// Replies a client keeps for Cached rows, and the longest request and reply that is kept.
inline constexpr std::size_t kCachedRepliesMax = 8192;
inline constexpr std::size_t kCachedBytesMax = 1024;
// Streams and events a client remembers as done; what is forgotten is asked for again.
inline constexpr std::size_t kKnownIdleMax = 64;
inline constexpr std::size_t kKnownEventsMax = 65536;
inline constexpr std::size_t kKnownStreamsMax = 4096;  // whose context a client remembers
// Calls after which a client still knows what they launched, to name it when a kernel has faulted;
// 4 KiB. A power of two.
inline constexpr std::size_t kRecentCalls = 256;
// Events that a server looks at by itself because their client asks for them again and again: so
// many in all, and so many of them before each reply, since each look is a call of the driver.
inline constexpr std::size_t kWatchedEventsMax = 64;
inline constexpr std::size_t kToldEventsMax = 8;
// Launch attributes of one launch: CUDA 13 defines fewer than 20 kinds.
inline constexpr std::size_t kLaunchAttributesMax = 64;
// Kernel parameters: CUDA allows 32,764 bytes from compute capability 7.0 on.
inline constexpr std::size_t kKernelParamBytesMax = 32 * 1024;
inline constexpr std::size_t kKernelParamsMax = 4096;  // of one kernel; one takes at least 1 byte

// --- session -------------------------------------------------------------------------------------
inline constexpr std::size_t kModuleBytesMax = std::size_t{2} << 30;  // a cuBLASLt image is 500 MB
inline constexpr std::size_t kHandlesMax = 1 << 20;                   // live handles of one session
inline constexpr std::size_t kClientThreadsMax = 4096;  // threads of one client process
inline constexpr std::size_t kDevicesMax = 64;          // devices of one client, of all its servers
// Servers of one client process: four bits of every handle name one (transport/api/handles.h).
inline constexpr unsigned kServersMax = 16;
// Where two servers hand out the same device address the second block is kept and another asked
// for, so often: two address spaces that lie over each other by chance part long before.
inline constexpr int kAddressTriesMax = 64;
inline constexpr std::size_t kStagingBytes = 4 << 20;  // pinned staging, two halves
// Copies to page-locked memory of the client that nobody waits for. Each is one message of at most
// kLateCopyBytesMax; what a client has on its way to it fits kLateBytesMax, counted in granules;
// beyond that it waits. The server holds twice as much: a copy counts there until it has left.
inline constexpr std::size_t kLateGranuleBytes = 32 * 1024;
inline constexpr std::size_t kLateCopyBytesMax = 8 << 20;
inline constexpr std::size_t kLateBytesMax = 64 << 20;
inline constexpr std::size_t kLateStagingBytesMax = 2 * kLateBytesMax;
inline constexpr std::size_t kLateCopiesMax = kLateStagingBytesMax / kLateGranuleBytes;
// A payload passes through the server in pieces of this size, between a
// device and the records of the bulk lane.
inline constexpr std::size_t kCopyChunkBytes = 1 << 20;

// Host functions (cuLaunchHostFunc, callbacks, host nodes of graphs) that have not run for the last
// time. A program that enqueues more waits; drivers make it wait earlier. A gate takes 100 bytes.
inline constexpr std::size_t kHostFunctionsMax = 65536;

// Bodies of one conditional node: a switch with more cases is better made of several, and each
// body costs a handle.
inline constexpr std::size_t kGraphBodiesMax = 1024;

// While a host function is outstanding, the driver may hold up a call until it has run, and news of
// that stands behind other calls in the link. So much of them a server reads ahead; a client leaves
// no more than half of it unanswered.
inline constexpr std::size_t kReadAheadBytesMax = 8 << 20;

// What farcall netperf may ask of a server: enough to measure the fastest links, no more.
inline constexpr std::size_t kProbeEchoBytesMax = 4096;
inline constexpr std::uint64_t kProbePayloadBytesMax = std::uint64_t{1} << 30;

// --- trace (FARCALL_TRACE; its file is the user's own) -----------------------------------------
// Of one file: at 32 bytes a call some 30 million calls, ten minutes of a busy program.
inline constexpr std::size_t kTraceFileBytesMax = std::size_t{1} << 30;
inline constexpr std::size_t kTraceEventsEach = 1024;  // in one thread's buffer: 32 KiB
// Buffers in memory, 64 MiB: two for each of 1000 threads. Without a free one calls are dropped.
inline constexpr std::size_t kTraceBuffersMax = 2048;
inline constexpr int kTraceFlushMs = 500;  // what a killed program may lose
inline constexpr std::size_t kTraceSitesMax = 16384;
inline constexpr std::size_t kTraceModulesMax = 4096;  // libraries of one program

// --- module cache ------------------------------------------------------------------------------
// Asking for an image by name costs a round trip when it is not there; below this the image itself
// costs no more.
inline constexpr std::size_t kCachedImageBytesMin = 64 * 1024;
inline constexpr std::uint64_t kModuleCacheBytes = std::uint64_t{4} << 30;  // unless told otherwise
// Files of the whole cache: as many of the smallest images as its default size holds.
inline constexpr std::size_t kCachedImagesMax = kModuleCacheBytes / kCachedImageBytesMin;

// --- handshake -----------------------------------------------------------------------------------
inline constexpr int kHandshakeMs = 10'000;  // TLS, hello and lanes, all of it
inline constexpr std::size_t kHelloBytesMax = 4096;
// Connections that have not said who they are, a thread each. Eight ranks of a job that start at
// once open nine apiece, and strangers must not be able to keep them out easily.
inline constexpr std::size_t kUnauthenticatedConnectionsMax = 256;
// Client processes one server serves at a time; each has a worker process.
inline constexpr std::size_t kSessionsMax = 256;
// Calls of one client that wait for the GPU at the same time; more are carried out in order.
inline constexpr std::size_t kWaitersMax = 256;
// What kernels printed and nobody has fetched yet. The oldest goes first, as in CUDA's own buffer.
inline constexpr std::size_t kPrintedBytesMax = 1 << 20;
// A worker whose client is gone may clean up for this long; then it is killed.
inline constexpr int kWorkerGraceMs = 500;

// --- RDMA ----------------------------------------------------------------------------------------
// Records of a lane on the way or unread, each way: 4 MiB of full ones keep 100 Gbit/s busy over
// 300 µs.
inline constexpr std::size_t kRdmaWindowRecords = 16;
// Connections that have not said their hello; each holds queues of 4 MiB.
inline constexpr std::size_t kRdmaStrangersMax = 8;
// A pipe that ends waits so long for its peer to have read what was sent.
inline constexpr int kRdmaLingerMs = 300;
// Nobody sleeps on an RDMA link for longer without a look: UCX loses a wake-up now and then, seen
// while a connection is set up (3.5 s, until rdmacm sent its message again). 20 looks a second cost
// an idle lane 0.02 % of a core.
inline constexpr int kRdmaLookMs = 50;

// --- rekeying (RFC 8446 section 5.5 allows about 390 GB per AES-GCM key)
// --------------------------
inline constexpr std::uint64_t kRekeyBytes = std::uint64_t{64} << 30;
inline constexpr std::uint64_t kRekeyRecords = std::uint64_t{1} << 32;

// --- images and PTX (both may come from a hostile client) ----------------------------------------
inline constexpr std::size_t kImagePartsMax = 4096;     // containers of one version-2 wrapper
inline constexpr std::size_t kImageEntriesMax = 65536;  // entries of one container; cuBLASLt: 2782
// One decompressed entry. cuDNN's largest text is 77 MB; more is a decompression bomb.
inline constexpr std::size_t kImageEntryBytesMax = std::size_t{1} << 30;
inline constexpr std::size_t kContextValuesMax = 65536;  // runtime values hung on contexts
inline constexpr std::size_t kPtxBytesMax = std::size_t{1} << 30;  // one text
// A register takes 128 bytes per warp; "%r<4000000000>" is nine characters.
inline constexpr std::size_t kPtxRegistersMax = 1 << 20;
inline constexpr std::size_t kPtxInstructionsMax = 1 << 22;  // of one function
inline constexpr std::size_t kPtxScopesMax = 1 << 18;        // every inline asm opens one
inline constexpr unsigned kPtxNestingMax = 64;               // scopes, initialiser braces
inline constexpr unsigned kPtxOperandNestingMax = 4;         // [tex, {a, b}] needs two
inline constexpr std::uint64_t kPtxVariableBytesMax = std::uint64_t{1} << 40;
inline constexpr std::uint32_t kPtxParamBytesMax = 1 << 20;  // of one function

static_assert(kInlineCopyBytesMax + 4096 <= kFrameBodyBytesMax, "a small copy fits its frame");
static_assert(kKernelParamBytesMax + 4096 <= kFrameBodyBytesMax, "a launch fits its frame");
static_assert(kStringBytesMax <= kFrameBodyBytesMax, "a name fits its frame");
static_assert(kAnswerBytesMax + 8192 <= kFrameBodyBytesMax, "an array answer fits its reply");
static_assert(kFrameBodyBytesMax + 3 * kAnswerBytesMax <= kScratchBytes, "a call fits its scratch");
static_assert(kArrayItemsMax * 8 <= kFrameBodyBytesMax, "an array fits its frame");
static_assert(kCallRecordBytesMax <= kRecordBytesMax, "one record limit holds for both lanes");
static_assert(8 * (kStripesMax + 1) < kUnauthenticatedConnectionsMax,
              "the ranks of a job may connect at once");
static_assert(kTraceSitesMax < 65536, "a site fits its field");
static_assert((kRecentCalls & (kRecentCalls - 1)) == 0, "calls find their place by a mask");
static_assert(kToldEventsMax <= kWatchedEventsMax, "what is told of was watched");
static_assert(kLateCopyBytesMax % kLateGranuleBytes == 0, "a chunk of staging is whole granules");
static_assert(kLateBytesMax + kLateCopyBytesMax <= kLateStagingBytesMax,
              "what a client may have under way fits, and the copy that is just leaving");
static_assert(kBulkFirstRecordBytes <= kRecordBytesMax, "the first record is no larger");
static_assert(kStripedRecordBytes <= kRecordBytesMax && kStripesMax > 0, "stripes carry records");

}  // namespace farcall::limits
