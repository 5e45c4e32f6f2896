#include "client_shim/receiver.h"

#include <cstdio>
#include <string>

#include "transport/api/rows.h"
#include "transport/base/limits.h"
#include "transport/base/log.h"
#include "transport/base/switches.h"

namespace farcall::shim {

void Receiver::expect(Waiter& waiter, std::uint32_t thread) {
  auto state = state_.lock();
  if (state->waiting.size() <= thread) state->waiting.resize(thread + 1);
  state->waiting[thread] = &waiter;
}

void Receiver::cancel(Waiter& waiter, std::uint32_t thread) {
  auto state = state_.lock();
  state.wait(waiter.changed_, [&](State&) { return !waiter.taking_ || waiter.done_; });
  if (thread < state->waiting.size()) state->waiting[thread] = nullptr;
}

CUresult Receiver::wait(Waiter& waiter) {
  {
    auto state = state_.lock();
    waiter.parked_ = true;
    state.wait(waiter.changed_, [&](State& now) { return waiter.done_ || !now.receiving; });
    if (waiter.done_) return waiter.result_;
    state->receiving = true;
  }
  receive_until_done(waiter);
  auto state = state_.lock();
  state->receiving = false;
  hand_over(*state);
  return waiter.result_;
}

void Receiver::hand_over(State& state) {
  // Only to one that is parked: a thread still posting finds the lead free when it gets here.
  for (Waiter* waiter : state.waiting) {
    if (waiter == nullptr || !waiter->parked_) continue;
    waiter->changed_.notify_one();
    return;
  }
}

bool Receiver::is_done(const Waiter& waiter) {
  auto state = state_.lock();
  return waiter.done_;
}

void Receiver::receive_until_done(const Waiter& mine) {
  while (!is_done(mine)) {
    if (!receive_one()) return;
  }
}

bool Receiver::receive_one() {
  Result<link::Frame> frame = session_.receive(Deadline::never());
  if (!frame.ok()) {
    if (frame.status().code() == Code::kTimeout) return true;
    fail_all(frame.status());
    return false;
  }
  if (Status taken = complete(frame.value()); !taken.ok()) {
    session_.close(taken);
    fail_all(taken);
    return false;
  }
  return true;
}

bool Receiver::drain() {
  {
    auto state = state_.lock();
    if (state->receiving) return false;
    state->receiving = true;
  }
  bool any = false;
  while (session_.has_more()) {
    any = true;
    if (!receive_one()) break;
  }
  auto state = state_.lock();
  state->receiving = false;
  hand_over(*state);
  return any;
}

// What kernels printed, sent ahead of the reply that lets the program go on. Through C stdio, so
// that it stands in order with what the program prints.
Status Receiver::print(const link::Frame& frame) {
  wire::Reader in(frame.body);
  auto output = in.get<api::hand::DeviceOutput>();
  auto text = in.bytes(output.bytes);
  if (!in.done() || output.stream < 1 || output.stream > 2) {
    return Status(Code::kMalformed, "device output of wrong length or stream");
  }
  // A program that has closed its output loses it, as with any driver.
  std::fwrite(text.data(), 1, text.size(), output.stream == 1 ? stdout : stderr);
  return ok();
}

// Events that the server found to be done while it made a reply.
Status Receiver::note_done(const link::Frame& frame) {
  wire::Reader in(frame.body);
  const std::size_t count = frame.body.size() / sizeof(api::hand::EventDone);
  if (count == 0 || count > limits::kToldEventsMax ||
      frame.body.size() % sizeof(api::hand::EventDone) != 0) {
    return {Code::kMalformed, "a word of events of wrong length: " + wire::describe(frame.head)};
  }
  for (std::size_t i = 0; i < count; ++i) {
    auto [event, record, zero] = in.get<api::hand::EventDone>();
    if (!is_on(Switch::kTellDone)) continue;
    completions_.prove(reinterpret_cast<CUevent>(event), record, Proof::kSeen);
  }
  return ok();
}

// The failure of an earlier call, ahead of the reply that carries it.
Status Receiver::note_earlier(const link::Frame& frame) {
  wire::Reader in(frame.body);
  auto earlier = in.get<api::hand::FailedEarlier>();
  auto state = state_.lock();
  const std::uint32_t thread = frame.head.thread;
  Waiter* waiter = thread < state->waiting.size() ? state->waiting[thread] : nullptr;
  if (!in.done() || earlier.status == CUDA_SUCCESS || waiter == nullptr || waiter->earlier_) {
    return {Code::kMalformed, "an earlier failure that no reply reports"};
  }
  waiter->earlier_ = earlier;
  return ok();
}

Status Receiver::complete(const link::Frame& frame) {
  if (frame.head.id == api::row::device_output::info().id) return print(frame);
  if (frame.head.id == api::row::copy_landed::info().id) return landings_.land(frame, session_);
  if (frame.head.id == api::row::failed_earlier::info().id) return note_earlier(frame);
  if (frame.head.id == api::row::events_done::info().id) return note_done(frame);
  Waiter* waiter = nullptr;
  if ((frame.head.flags & wire::kReply) != 0) {
    auto state = state_.lock();
    if (frame.head.thread < state->waiting.size()) waiter = state->waiting[frame.head.thread];
    if (waiter != nullptr) waiter->taking_ = true;
  }
  if (waiter == nullptr) {
    return Status(Code::kMalformed, "a reply nobody waits for: " + wire::describe(frame.head));
  }
  wire::Reader in(frame.body);
  auto status = static_cast<CUresult>(in.get<std::uint32_t>());
  Reply reply{status, in, frame.body, (frame.head.flags & wire::kBulkFollows) != 0, session_};
  CUresult result = in.failed() ? kLinkLost : waiter->take_(reply);
  // A failed reply has no answers for `take` to consume, so trailing bytes matter on success only.
  bool malformed = in.failed() || (status == CUDA_SUCCESS && !in.done());
  auto state = state_.lock();
  state->waiting[frame.head.thread] = nullptr;
  waiter->result_ = malformed ? kLinkLost : result;
  waiter->done_ = true;
  waiter->changed_.notify_one();
  if (malformed) {
    return Status(Code::kMalformed, "a reply of wrong length: " + wire::describe(frame.head));
  }
  return ok();
}

void Receiver::fail_all(const Status& why) {
  FARCALL_LOG_ERROR("the link is gone: %s", why.to_string().c_str());
  landings_.fail_all();
  auto state = state_.lock();
  for (Waiter*& waiter : state->waiting) {
    if (waiter == nullptr) continue;
    waiter->result_ = kLinkLost;
    waiter->done_ = true;
    waiter->changed_.notify_one();
    waiter = nullptr;
  }
}

}  // namespace farcall::shim
