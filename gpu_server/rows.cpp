#include "gpu_server/rows.h"

#include <unordered_map>

namespace farcall::server {
namespace {

Verdict run_served(const Row& row, Call& call) {
  return row.served->run(call) == api::Verdict::kAnswered ? Verdict::kAnswered
                                                          : Verdict::kMalformed;
}

Verdict run_hand(const Row& row, Call& call) { return row.hand(call); }

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
  for (auto rows : {hand_session_rows(), hand_context_rows(), hand_memory_rows(), hand_shape_rows(),
                    hand_module_rows(), hand_launch_rows()}) {
    for (const HandRow& hand : rows) {
      table.insert_or_assign(hand.info.id, Row{.info = hand.info,
                                               .run = run_hand,
                                               .served = api::find_row(hand.info.id),
                                               .hand = hand.run,
                                               .takes_payload = hand.takes_payload});
    }
  }
  return table;
}

}  // namespace

const Row* row_of(std::uint16_t id) {
  static const Table table = build_table();
  auto found = table.find(id);
  return found == table.end() ? nullptr : &found->second;
}

}  // namespace farcall::server
