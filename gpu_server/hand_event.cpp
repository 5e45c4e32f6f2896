// Events: what the server learns of them to tell clients which are done (watched_events.h). The
// calls themselves are the generated rows'.
#include "gpu_server/capture.h"
#include "gpu_server/load_id.h"
#include "gpu_server/rows.h"
#include "gpu_server/watched_events.h"
#include "transport/api/rows.h"

namespace farcall::server {
namespace {

namespace row = api::row;

Verdict run_generated(Call& call, CUresult* result) {
  if (api::find_row(call.head.id)->run(call) == api::Verdict::kMalformed) {
    return Verdict::kMalformed;
  }
  wire::Reader written(call.out.view());
  *result = static_cast<CUresult>(written.get<std::uint32_t>());
  return Verdict::kAnswered;
}

Verdict query(Call& call) {
  wire::Reader peek = call.in;
  const auto event = peek.get<std::uint64_t>();
  CUresult result = CUDA_ERROR_UNKNOWN;
  Verdict verdict = run_generated(call, &result);
  call.watched_events.asked(event, result);
  return verdict;
}

Verdict record(Call& call) {
  wire::Reader peek = call.in;
  const auto event = peek.get<std::uint64_t>();
  const auto stream_id = peek.get<std::uint64_t>();
  const bool is_asked_for = call.watched_events.forget_record(event);
  CUresult result = CUDA_ERROR_UNKNOWN;
  Verdict verdict = run_generated(call, &result);
  if (!is_asked_for || result != CUDA_SUCCESS) return verdict;
  api::Load load{call.in, call.handles, call.scratch};
  auto stream = load_id<CUstream>(load, stream_id);
  if (load.refused == CUDA_SUCCESS && refuse_in_capture(call, stream) == CUDA_SUCCESS) {
    call.watched_events.recorded(event, call.head.call);
  }
  return verdict;
}

// Of a whole context: of no one stream, so nobody is told of it.
Verdict record_context(Call& call) {
  wire::Reader peek = call.in;
  (void)peek.get<std::uint64_t>();
  (void)call.watched_events.forget_record(peek.get<std::uint64_t>());
  CUresult result = CUDA_ERROR_UNKNOWN;
  return run_generated(call, &result);
}

Verdict destroy(Call& call) {
  wire::Reader peek = call.in;
  (void)call.watched_events.forget_record(peek.get<std::uint64_t>());
  CUresult result = CUDA_ERROR_UNKNOWN;
  return run_generated(call, &result);
}

}  // namespace

std::span<const HandRow> hand_event_rows() {
  static const HandRow rows[] = {
      {row::cuEventQuery::info(), query},
      {row::cuEventRecord::info(), record},
      {row::cuEventRecordWithFlags::info(), record},
      {row::cuCtxRecordEvent::info(), record_context},
      {row::cuGreenCtxRecordEvent::info(), record_context},
      {row::cuEventDestroy_v2::info(), destroy},
  };
  return rows;
}

}  // namespace farcall::server
