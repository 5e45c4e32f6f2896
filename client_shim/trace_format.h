// What a trace file (FARCALL_TRACE) holds: trace.h writes it, `farcall explain` reads it.
//
//   TraceHeader | chunk | chunk | …          chunk: TraceChunk, then `bytes` bytes, then up to 7
//                                            bytes of padding to a multiple of 8
//
//   kNames    TraceName, text: the function that events call `index`
//   kModules  TraceModule, text: the path of a library or program
//   kSites    TraceSite: from where in the program calls came
//   kEvents   TraceEvents, then TraceEvent for each call, in the order of one thread
//   kReport   text: the figures of the session (stats.h), JSON; last, missing when the program was
//             killed
//
// Chunks come in any order: an event may precede the name it refers to. Numbers are the host's own
// (little-endian). No data, no kernel names, no addresses of the device: only what was called,
// when, from where, and how many bytes went along. Owner: plain values.  Threads: any.
#pragma once
#include <cstddef>
#include <cstdint>

namespace farcall::shim {

inline constexpr char kTraceMagic[8] = {'F', 'C', 'T', 'R', 'A', 'C', 'E', '1'};

struct TraceHeader {
  char magic[8];
  std::uint32_t process;
  std::uint32_t event_bytes;  // sizeof(TraceEvent)
};
static_assert(sizeof(TraceHeader) == 16);

enum class TraceChunkKind : std::uint32_t { kNames = 1, kModules, kSites, kEvents, kReport };

struct TraceChunk {
  TraceChunkKind kind;
  std::uint32_t bytes;  // without padding
};

struct TraceName {
  std::uint32_t index;
};

struct TraceModule {
  std::uint32_t index;
  std::uint32_t reserved;
};

// Return addresses outside the shim, innermost first, as offsets into their modules.
inline constexpr std::size_t kTraceFrames = 8;
inline constexpr std::uint32_t kTraceNoModule = 0xffff'ffff;
struct TraceSite {
  std::uint32_t index;  // 0 is never written: the caller is not known
  std::uint32_t frames;
  struct Frame {
    std::uint64_t offset;
    std::uint32_t module;  // kTraceNoModule: generated code, of no file
    std::uint32_t reserved;
  } frame[kTraceFrames];
};

struct TraceEvents {
  std::uint32_t thread;   // the system's thread id
  std::uint32_t dropped;  // calls of this thread that found no room since its last chunk
};

// Numbers that are nearly always small: beyond 2^31 in units of 2^20, rounded down.
class TraceNumber {
 public:
  TraceNumber() = default;
  explicit TraceNumber(std::uint64_t value)
      : coded_(value < kScaled ? static_cast<std::uint32_t>(value)
                               : kScaled | static_cast<std::uint32_t>((value >> 20) & ~kScaled)) {}
  std::uint64_t value() const {
    return (coded_ & kScaled) == 0 ? coded_ : std::uint64_t{coded_ & ~kScaled} << 20;
  }

 private:
  static constexpr std::uint32_t kScaled = 0x8000'0000;
  std::uint32_t coded_ = 0;
};

struct TraceEvent {
  std::int64_t start_ns;  // CLOCK_MONOTONIC
  TraceNumber duration_ns;
  TraceNumber wait_ns;  // of it, waiting for replies
  TraceNumber bytes_out;
  TraceNumber bytes_in;  // the program's data, not what the link adds
  std::uint16_t function;
  std::uint16_t site;
  std::uint8_t kind;  // CallKind
  std::uint8_t round_trips;
  std::uint16_t reserved;
};
static_assert(sizeof(TraceEvent) == 32);

}  // namespace farcall::shim
