// Caller: the seam between the table's client half and whatever carries the calls.
//
//   caller_ask(row::cuMemAlloc_v2::info(), [&](Writer& w) {…}, [&](Reader& r) {…});
//
// The client library defines these functions; a test defines its own.
// Threads: any.  Nothing here throws.
#pragma once
#include <cstdint>
#include <span>

#include "transport/api/words.h"
#include "transport/base/function_ref.h"
#include "transport/wire/reader.h"
#include "transport/wire/writer.h"

namespace farcall::api {

// What is known of a row without its types.
struct RowInfo {
  std::uint16_t id;
  When when;
  const char* name;  // the CUDA function, or a lower-case name for the link's own messages
};

// Writes the request. May run twice (the second time into an empty record): no side effects.
using Encode = FunctionRef<void(wire::Writer&)>;
// Reads the answers that follow the status; called on success only, perhaps on another thread while
// the asking one waits. False: the reply is not what the row says, which ends the session.
using Take = FunctionRef<bool(wire::Reader&)>;

// Queued: sends and returns CUDA_SUCCESS, or why nothing could be sent. When calls are to be
// checked one by one (FARCALL_STRICT=1) it waits for the reply and returns its status.
CUresult caller_post(const RowInfo& row, Encode encode) noexcept;
// Sync and Waits: one round trip. The status of an earlier Queued call may come back instead.
// A request that does not fit into a frame: CUDA_ERROR_NOT_SUPPORTED.
CUresult caller_ask(const RowInfo& row, Encode encode, Take take) noexcept;
// Cached: as caller_ask, but an equal request is answered from the first reply (ReplyCache).
CUresult caller_cached(const RowInfo& row, Encode encode, Take take) noexcept;

// A new client id (handles.h): never 0, never the same twice.
std::uint64_t mint_id() noexcept;
// A copy of `text` that lives as long as the session; equal texts share one. Null: out of memory.
const char* keep_name(std::span<const std::byte> text) noexcept;

}  // namespace farcall::api
