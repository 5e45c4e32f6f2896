#include "gpu_server/call_notes.h"

#include <algorithm>
#include <map>
#include <utility>

#include "gpu_server/rows.h"
#include "transport/cuda/error_text.h"

namespace farcall::server {
namespace {

constexpr auto kRelaxed = std::memory_order_relaxed;

std::string function_name(std::uint16_t id) {
  const Row* row = row_of(id);
  return row != nullptr ? row->info.name : "row " + std::to_string(id) + ", which there is not";
}

std::string result_name(std::uint32_t result) {
  if (result == kCallUnderWay) return "under way";
  if (result == kCallBroken) return "it broke the protocol";
  // A claim may be any number, and beyond the last error there is no CUresult.
  const bool is_one = result <= CUDA_ERROR_UNKNOWN;
  const char* name = is_one ? cuda::error_name(static_cast<CUresult>(result)) : nullptr;
  return name != nullptr ? name : "result " + std::to_string(result);
}

std::string kind_text(std::uint16_t id, std::uint32_t result) {
  std::string text = function_name(id);
  if (result != CUDA_SUCCESS) text += ": " + result_name(result);
  return text;
}

}  // namespace

void CallNotes::begin(const CallNote& note) {
  Cell& cell = cells_[note.call % limits::kCallNotes];
  cell.became.store(note.bytes | std::uint64_t{note.result} << 32, kRelaxed);
  cell.what.store(note.call | std::uint64_t{note.id} << 32 | std::uint64_t{note.thread} << 48,
                  std::memory_order_release);
  latest_.store(note.call, kRelaxed);
}

void CallNotes::end(std::uint32_t call, std::uint32_t result) {
  Cell& cell = cells_[call % limits::kCallNotes];
  // A call that took long may find its cell taken by a later one.
  if (static_cast<std::uint32_t>(cell.what.load(kRelaxed)) != call) return;
  const std::uint64_t before = cell.became.load(kRelaxed);
  // What broke the protocol may have come behind the last call.
  if (result == kCallBroken && before >> 32 != kCallUnderWay) return;
  cell.became.store((before & 0xffff'ffff) | std::uint64_t{result} << 32, kRelaxed);
}

std::vector<CallNote> CallNotes::read() const {
  std::vector<CallNote> notes;
  const std::uint32_t latest = latest_.load(kRelaxed);
  for (std::uint32_t i = 0; i < limits::kCallNotes; ++i) {
    const std::uint64_t what = cells_[i].what.load(std::memory_order_acquire);
    const std::uint64_t became = cells_[i].became.load(kRelaxed);
    const auto call = static_cast<std::uint32_t>(what);
    if (call == 0 || call % limits::kCallNotes != i) continue;
    notes.push_back({.call = call,
                     .id = static_cast<std::uint16_t>(what >> 32),
                     .thread = static_cast<std::uint16_t>(what >> 48),
                     .bytes = static_cast<std::uint32_t>(became),
                     .result = static_cast<std::uint32_t>(became >> 32)});
  }
  // Numbers wrap: how far behind the latest they are is what counts.
  std::sort(notes.begin(), notes.end(), [latest](const CallNote& one, const CallNote& other) {
    return latest - one.call > latest - other.call;
  });
  return notes;
}

std::string to_text(const CallNote& note) {
  return "call " + std::to_string(note.call) + " of thread " + std::to_string(note.thread) + ": " +
         function_name(note.id) + ", " + std::to_string(note.bytes) +
         " bytes: " + result_name(note.result);
}

std::string summary_of(std::span<const CallNote> notes) {
  std::map<std::pair<std::uint16_t, std::uint32_t>, std::size_t> kinds;
  for (const CallNote& note : notes) ++kinds[{note.id, note.result}];
  using Kind = std::pair<std::pair<std::uint16_t, std::uint32_t>, std::size_t>;
  std::vector<Kind> sorted(kinds.begin(), kinds.end());
  std::stable_sort(sorted.begin(), sorted.end(),
                   [](const Kind& one, const Kind& other) { return one.second > other.second; });
  constexpr std::size_t kMoreBytes = 20;  // "; 1024 more"
  std::string text;
  std::size_t told = 0;
  for (const auto& [kind, count] : sorted) {
    const std::string next = (text.empty() ? "" : "; ") + std::to_string(count) + " " +
                             kind_text(kind.first, kind.second);
    if (told == limits::kCallKindsTold ||
        text.size() + next.size() + kMoreBytes > limits::kCallSummaryBytesMax) {
      break;
    }
    text += next;
    ++told;
  }
  std::size_t more = 0;
  for (std::size_t i = told; i < sorted.size(); ++i) more += sorted[i].second;
  if (more > 0) text += "; " + std::to_string(more) + " more";
  return text.empty() ? "none" : text;
}

}  // namespace farcall::server
