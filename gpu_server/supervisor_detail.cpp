// The supervisor and a session that is suspicious: it is written down in detail while it is.
#include <algorithm>
#include <span>

#include "gpu_server/supervisor.h"
#include "transport/base/log.h"

namespace farcall::server {
namespace {

namespace audit = security::audit;

std::int64_t now_ms() { return system_clock().now_ns() / 1'000'000; }

// Of the calls noted, those after the one that was told last; all, when that is no longer there.
std::span<const CallNote> since(const std::vector<CallNote>& notes, std::uint32_t told) {
  const auto last = std::find_if(notes.begin(), notes.end(),
                                 [told](const CallNote& note) { return note.call == told; });
  if (last == notes.end()) return notes;
  return std::span(notes).subspan(static_cast<std::size_t>(last - notes.begin()) + 1);
}

security::AuditRecord record_of_turn(const AuditedSession& session, const DetailWatch& watch,
                                     const char* turn, std::span<const CallNote> calls) {
  security::AuditRecord record = record_of(session, audit::kSessionDetail);
  record.details = {{"session", session.id},
                    {"turn", turn},
                    {"feature", std::string(name_of(watch.feature()))},
                    {"value", std::to_string(watch.value())},
                    {"most", std::to_string(watch.most())},
                    {"last_calls", summary_of(calls)}};
  return record;
}

}  // namespace

std::vector<CallNote> Supervisor::tell_calls(Running& session) {
  const std::vector<CallNote> notes = session.facts.calls();
  const auto told = static_cast<std::ptrdiff_t>(std::min(notes.size(), limits::kCallsTold));
  std::vector<CallNote> last(notes.end() - told, notes.end());
  for (const CallNote& note : since(last, session.told)) {
    FARCALL_LOG_INFO("session %s: %s", session.audited.id.c_str(), to_text(note).c_str());
  }
  if (!notes.empty()) session.told = notes.back().call;
  return last;
}

void Supervisor::look_closer(Running& session) {
  if (!session.detail) return;
  DetailWatch& watch = *session.detail;
  const char* id = session.audited.id.c_str();
  const std::int64_t now = now_ms();
  const DetailTurn turn = watch.look(session.contained->in_window(), now);
  if (turn == DetailTurn::kStays && !watch.is_detailed()) return;
  const std::vector<CallNote> notes = session.facts.calls();
  if (turn == DetailTurn::kRises) {
    FARCALL_LOG_WARN(
        "session %s of tenant %s, user %s: %llu %s, half of what it may, or more: its calls are "
        "written down now; the last were %s",
        id, session.audited.who->tenant.c_str(), session.audited.who->user.c_str(),
        static_cast<unsigned long long>(watch.value()),
        std::string(name_of(watch.feature())).c_str(), summary_of(notes).c_str());
    tell_calls(session);
    post(record_of_turn(session.audited, watch, "rises", notes));
    return;
  }
  const std::span<const CallNote> fresh = since(notes, session.told);
  if (!fresh.empty()) {
    FARCALL_LOG_INFO("session %s: calls up to %u: %s", id, fresh.back().call,
                     summary_of(fresh).c_str());
    session.told = fresh.back().call;
  }
  if (turn != DetailTurn::kFalls) return;
  FARCALL_LOG_INFO("session %s: nothing more for %lld s: its calls are not written down any more",
                   id, static_cast<long long>(options_.containment->detail_s));
  post(record_of_turn(session.audited, watch, "falls", notes));
}

}  // namespace farcall::server
