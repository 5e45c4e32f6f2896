#include "gpu_server/rows.h"

#include <algorithm>
#include <array>
#include <unordered_map>

#include "transport/api/hand_direct.h"
#include "transport/api/rows.h"

namespace farcall::server {
namespace {

Verdict run_served(const Row& row, Call& call) {
  return row.served->run(call) == api::Verdict::kAnswered ? Verdict::kAnswered
                                                          : Verdict::kMalformed;
}

Verdict run_hand(const Row& row, Call& call) { return row.hand(call); }

namespace row = api::row;

const std::uint16_t kEndsState[] = {
    api::hand::kDirectSettle.id,
    // Waits: what work behind the failure wrote is read next, and must be there.
    row::cuCtxSynchronize::info().id,
    row::cuCtxSynchronize_v2::info().id,
    row::cuEventSynchronize::info().id,
    row::cuStreamSynchronize::info().id,
    row::cuArrayDestroy::info().id,
    row::cuMipmappedArrayDestroy::info().id,
    row::cuTexObjectDestroy::info().id,
    row::cuSurfObjectDestroy::info().id,
    row::cuCtxDestroy_v2::info().id,
    row::cuDevicePrimaryCtxRelease_v2::info().id,
    row::cuDevicePrimaryCtxReset_v2::info().id,
    row::cuEventDestroy_v2::info().id,
    row::cuGraphDestroy::info().id,
    row::cuGraphExecDestroy::info().id,
    row::cuGraphDestroyNode::info().id,
    row::cuGraphReleaseUserObject::info().id,
    row::cuGreenCtxDestroy::info().id,
    row::cuLibraryUnload::info().id,
    row::cuLinkDestroy::info().id,
    row::cuTexRefDestroy::info().id,
    row::cuModuleUnload::info().id,
    row::cuMemFree_v2::info().id,
    row::cuMemFreeAsync::info().id,
    row::cuMemPoolDestroy::info().id,
    row::cuMemAddressFree::info().id,
    row::cuMemRelease::info().id,
    row::cuMemUnmap::info().id,
    row::cuStreamDestroy_v2::info().id,
    row::cuStreamEndCapture::info().id,
    row::cuUserObjectRelease::info().id,
};

// Calls that wait for the GPU in a real driver although the table does not say so, because a client
// with one thread need not wait for them. One that does wait must not hold up other threads.
const std::uint16_t kMayWait[] = {
    row::cuMemFree_v2::info().id,
    row::cuModuleUnload::info().id,
    row::cuLibraryUnload::info().id,
    row::cuArrayDestroy::info().id,
    row::cuMipmappedArrayDestroy::info().id,
    row::cuDevicePrimaryCtxRelease_v2::info().id,
    row::cuMemUnmap::info().id,
    row::cuMemPoolDestroy::info().id,
};

template <std::size_t N>
bool is_in(const std::uint16_t (&ids)[N], std::uint16_t id) {
  return std::find(std::begin(ids), std::end(ids), id) != std::end(ids);
}

using Table = std::unordered_map<std::uint16_t, Row>;

Table build_table() {
  Table table;
  for (unsigned family = 0; family < 256; ++family) {
    for (const api::ServedRow& served : api::family_rows(static_cast<std::uint8_t>(family))) {
      if (served.run == nullptr) continue;
      table.emplace(served.info.id, Row{.info = served.info, .run = run_served, .served = &served});
    }
  }
  // After the generated ones: a hand-written family may wrap a generated row.
  for (auto rows : {hand_session_rows(), hand_context_rows(), hand_stream_rows(), hand_event_rows(),
                    hand_memory_rows(), hand_shape_rows(), hand_direct_rows(), hand_module_rows(),
                    hand_function_rows(), hand_launch_rows(), hand_link_rows(), hand_graph_rows(),
                    hand_graph_list_rows(), hand_callback_rows(), hand_probe_rows()}) {
    for (const HandRow& hand : rows) {
      table.insert_or_assign(hand.info.id, Row{.info = hand.info,
                                               .run = run_hand,
                                               .served = api::find_row(hand.info.id),
                                               .hand = hand.run,
                                               .takes_payload = hand.takes_payload});
    }
  }
  for (auto& [id, row] : table) {
    row.ends_state = is_in(kEndsState, id);
    if (is_in(kMayWait, id)) row.info = waiting(row.info);
  }
  return table;
}

}  // namespace

const Row* row_of(std::uint16_t id) {
  // By number: every call comes through here. Pages of it that no row is on stay untouched.
  static std::array<const Row*, 65536> rows;
  // Leaked on purpose: calls are still being carried out when the static objects of a process go.
  static const Table& table = *new Table(build_table());
  static const bool filled = [] {
    for (const auto& [number, row] : table) rows[number] = &row;
    return true;
  }();
  return filled ? rows[id] : nullptr;
}

}  // namespace farcall::server
