// Row: how this server carries out one row of the API table.
//
//   const Row* row = row_of(head.id);             // null: no such call
//   Verdict verdict = row->run(*row, call);
//
// Most rows are generated from the table (transport/api); the hand-written families of this folder
// add theirs. Threads: any; constant after the first call.
#pragma once
#include <cstdint>

#include "gpu_server/call.h"
#include "transport/api/caller.h"
#include "transport/api/dispatch.h"

namespace farcall::server {

struct Row {
  api::RowInfo info;
  Verdict (*run)(const Row&, Call&);
  const api::ServedRow* served = nullptr;  // generated rows
  Verdict (*hand)(Call&) = nullptr;        // hand-written rows
  bool takes_payload = false;              // may come with kBulkFollows
  // Destroys or ends something, of which the client has let go, or does nothing but wait: carried
  // out even when an earlier failure is what gets reported.
  bool ends_state = false;
};

const Row* row_of(std::uint16_t id);

// What a hand_<family>.cpp contributes.
struct HandRow {
  api::RowInfo info;
  Verdict (*run)(Call&);
  bool takes_payload = false;
};
// The same row as one that may wait, should the client wait for it too.
inline api::RowInfo waiting(api::RowInfo info) {
  info.when = api::When::Waits;
  return info;
}
std::span<const HandRow> hand_session_rows();
std::span<const HandRow> hand_probe_rows();
std::span<const HandRow> hand_stream_rows();
std::span<const HandRow> hand_callback_rows();
std::span<const HandRow> hand_context_rows();
std::span<const HandRow> hand_event_rows();
std::span<const HandRow> hand_memory_rows();
std::span<const HandRow> hand_shape_rows();
std::span<const HandRow> hand_direct_rows();
std::span<const HandRow> hand_module_rows();
std::span<const HandRow> hand_function_rows();
std::span<const HandRow> hand_link_rows();
std::span<const HandRow> hand_launch_rows();
std::span<const HandRow> hand_graph_rows();
std::span<const HandRow> hand_graph_list_rows();

}  // namespace farcall::server
