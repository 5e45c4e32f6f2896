// Contexts: rows whose driver call changes what is current on the thread that makes it, or ends
// what others have current. Bodies: transport/api/hand.h.
#include "gpu_server/contexts.h"
#include "gpu_server/host_gates.h"
#include "gpu_server/rows.h"
#include "transport/api/hand.h"
#include "transport/api/rows.h"

namespace farcall::server {
namespace {

namespace hand = api::hand;
namespace row = api::row;

Verdict run_generated(Call& call, bool* succeeded) {
  const api::ServedRow* served = api::find_row(call.head.id);
  if (served->run(call) == api::Verdict::kMalformed) return Verdict::kMalformed;
  wire::Reader written(call.out.view());
  *succeeded = written.get<std::uint32_t>() == CUDA_SUCCESS && call.out.ok();
  return Verdict::kAnswered;
}

// What belongs to a context that is about to go. Gates first: copies may be behind them.
void settle(Call& call, CUcontext context) {
  call.host_gates.end_context(context);
  call.watched_events.forget_all();
  call.late_copies.settle(context);
}

Verdict primary_retain(Call& call) {
  auto [device] = call.in.get<hand::RetainPrimary>();
  if (!call.in.done()) return Verdict::kMalformed;
  return call.status(call.contexts.retain(device));
}

Verdict primary_release(Call& call) {
  auto device = call.in.get<std::int32_t>();
  if (!call.in.done()) return Verdict::kMalformed;
  settle(call, call.contexts.primary(device));
  return call.status(call.contexts.release(device));
}

Verdict primary_reset(Call& call) {
  wire::Reader peek = call.in;
  auto device = peek.get<std::int32_t>();
  settle(call, call.contexts.primary(device));
  bool succeeded = false;
  Verdict verdict = run_generated(call, &succeeded);
  if (succeeded) call.contexts.was_reset(device);
  return verdict;
}

// The driver pushes the new context on the stack of our thread, where the client's stack is not.
Verdict create(Call& call) {
  bool succeeded = false;
  Verdict verdict = run_generated(call, &succeeded);
  CUcontext pushed = nullptr;
  if (succeeded && call.driver.cuCtxPopCurrent_v2 != nullptr) {
    (void)call.driver.cuCtxPopCurrent_v2(&pushed);
  }
  call.contexts.forget_current();
  return verdict;
}

Verdict destroy(Call& call) {
  wire::Reader peek = call.in;
  auto id = peek.get<std::uint64_t>();
  settle(call, static_cast<CUcontext>(call.handles.find(api::Kind::kContext, id)));
  bool succeeded = false;
  Verdict verdict = run_generated(call, &succeeded);
  call.contexts.forget_current();
  return verdict;
}

// The context of a green one is the driver's to end.
Verdict from_green(Call& call) {
  wire::Reader peek = call.in;
  auto id = peek.get<std::uint64_t>();
  bool succeeded = false;
  Verdict verdict = run_generated(call, &succeeded);
  if (!succeeded) return verdict;
  auto* green = static_cast<CUgreenCtx>(call.handles.find(api::Kind::kGreenContext, id));
  CUcontext view = nullptr;
  if (call.driver.cuCtxFromGreenCtx(&view, green) == CUDA_SUCCESS) call.contexts.note_view(view);
  return verdict;
}

Verdict destroy_green(Call& call) {
  wire::Reader peek = call.in;
  auto id = peek.get<std::uint64_t>();
  auto* green = static_cast<CUgreenCtx>(call.handles.find(api::Kind::kGreenContext, id));
  CUcontext view = nullptr;
  std::uint64_t view_id = 0;
  if (green != nullptr && call.driver.cuCtxFromGreenCtx != nullptr &&
      call.driver.cuCtxFromGreenCtx(&view, green) == CUDA_SUCCESS) {
    settle(call, view);
    // The one it has: a client that learned of the view from a stream has it under no parent.
    view_id = call.handles.add(api::Kind::kContext, view, id);
  }
  bool succeeded = false;
  Verdict verdict = run_generated(call, &succeeded);
  if (succeeded) {
    call.handles.drop(api::Kind::kContext, view_id);
    call.contexts.forget_view(view);
  }
  call.contexts.forget_current();
  return verdict;
}

}  // namespace

std::span<const HandRow> hand_context_rows() {
  static const HandRow rows[] = {
      {row::cuDevicePrimaryCtxRetain::info(), primary_retain},
      {row::cuDevicePrimaryCtxRelease_v2::info(), primary_release},
      {row::cuDevicePrimaryCtxReset_v2::info(), primary_reset},
      {row::cuCtxCreate_v2::info(), create},
      {row::cuCtxDestroy_v2::info(), destroy},
      {row::cuCtxFromGreenCtx::info(), from_green},
      {row::cuGreenCtxDestroy::info(), destroy_green},
  };
  return rows;
}

}  // namespace farcall::server
