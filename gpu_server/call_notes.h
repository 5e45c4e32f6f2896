// CallNotes: the last calls of a session, without what was in them: its flight recorder.
//
//   notes.begin({.call = head.call, .id = head.id, .thread = 1, .bytes = 24});   // the worker
//   notes.end(head.call, CUDA_ERROR_INVALID_VALUE);
//
//   for (const CallNote& note : notes.read()) log(to_text(note));                // the supervisor
//
// They lie in the page that worker and supervisor share (facts.h): noting a call is three stores,
// nothing is sent, and they are still there when the worker hangs, is frozen or was killed. Numbers
// only: which function, how long its request was, what came of it. They are looked at when a
// session is suspicious (detail_watch.h), and else forgotten.
// The worker may have been taken over: what it wrote is a claim, and read() takes any bytes.
// Owner: the page.  Threads: begin() one at a time, all else any.
#pragma once
#include <array>
#include <atomic>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "transport/base/limits_detail.h"

namespace farcall::server {

// Instead of a CUresult.
inline constexpr std::uint32_t kCallUnderWay = 0xffff'ffff;
inline constexpr std::uint32_t kCallBroken = 0xffff'fffe;  // it broke the protocol

struct CallNote {
  std::uint32_t call = 0;    // its number, from 1
  std::uint16_t id = 0;      // row of the API table
  std::uint16_t thread = 0;  // the client's
  std::uint32_t bytes = 0;   // of request and payload; what is more than 32 bits hold: the most
  std::uint32_t result = kCallUnderWay;
  bool operator==(const CallNote&) const = default;
};

class CallNotes {
 public:
  void begin(const CallNote& note);
  // kCallBroken changes nothing where the call has ended already.
  void end(std::uint32_t call, std::uint32_t result);
  // Oldest first. Calls that are being written at the moment may be missing.
  std::vector<CallNote> read() const;

 private:
  struct Cell {
    std::atomic<std::uint64_t> what;    // call, id, thread
    std::atomic<std::uint64_t> became;  // bytes, result
  };
  std::atomic<std::uint32_t> latest_;
  std::array<Cell, limits::kCallNotes> cells_;
};

// "call 1234 of thread 1: cuEventQuery, 8 bytes: CUDA_ERROR_INVALID_HANDLE"
std::string to_text(const CallNote& note);
// "300 cuEventQuery: CUDA_ERROR_INVALID_HANDLE; 2 cuMemAlloc_v2; 7 more": by kind, the most
// frequent first, at most limits::kCallSummaryBytesMax bytes; "none".
std::string summary_of(std::span<const CallNote> notes);

}  // namespace farcall::server
