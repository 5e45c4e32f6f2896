// Dispatch: from the id in a frame to the code that runs the row.
//
//   const ServedRow* row = find_row(head.id);
//   if (row == nullptr) end_session("no such row");
//   if (row->run == nullptr) …hand-written…
//   ServerCall call{driver, handles, scratch, in, out};
//   if (row->run(call) == Verdict::kMalformed) end_session(row->info.name);
//   scratch.clear();
//
// Threads: any; a row's run() touches only what is in the ServerCall.
#pragma once
#include "transport/api/caller.h"
#include "transport/api/driver.h"
#include "transport/api/load.h"

namespace farcall::api {

struct ServerCall {
  const Driver& driver;
  Handles& handles;
  Scratch& scratch;   // limits::kScratchBytes; the caller clears it after the reply is sent
  wire::Reader& in;   // the frame's body
  wire::Writer& out;  // empty; room for limits::kFrameBodyBytesMax
};

enum class Verdict : std::uint8_t {
  kAnswered,   // `out` holds a u32 CUresult, then the row's answers if that is CUDA_SUCCESS. For a
               // Queued row nobody reads it, but a failure in it is the deferred error.
  kMalformed,  // the request is not what the row says: end the session; the driver was not called
};

using RunRow = Verdict (*)(ServerCall&);
struct ServedRow {
  RowInfo info;
  RunRow run;  // null for HAND rows and pseudo rows
};

// The row with this id, or null.
const ServedRow* find_row(std::uint16_t id);
// All rows with an id, for tests and statistics.
std::span<const ServedRow> family_rows(std::uint8_t family);

// A number that differs when the two ends' tables do: ids, names, words, sizes of all that crosses
// the wire as bytes. The hello compares it.
std::uint64_t table_fingerprint();

}  // namespace farcall::api
