#include "gpu_server/executor.h"

#include <cstdio>
#include <cstring>

#include "gpu_server/call_notes.h"
#include "gpu_server/direct_links.h"
#include "gpu_server/rows.h"
#include "transport/api/family_names.h"
#include "transport/api/hand.h"
#include "transport/api/rows.h"
#include "transport/base/limits_cost.h"
#include "transport/base/log.h"
#include "transport/base/switches.h"

namespace farcall::server {
namespace {

constexpr std::size_t kSpareBodiesMax = 16;
// So many waits after the client's threads last took turns, the next one is taken for alone.
constexpr int kWaitsWithOthers = 64;

Status broken(const char* what, const wire::FrameHeader& head) {
  return Status(Code::kMalformed, std::string(what) + ": " + wire::describe(head));
}

CUresult first_word(std::span<const std::byte> reply) {
  std::uint32_t word = CUDA_ERROR_UNKNOWN;
  if (reply.size() >= sizeof word) std::memcpy(&word, reply.data(), sizeof word);
  return static_cast<CUresult>(word);
}

}  // namespace

Executor::Executor(const Driver& driver, link::Session& link)
    : driver_(driver),
      link_(link),
      contexts_(driver, handles_),
      late_copies_(driver, link),
      host_gates_(link, late_copies_),
      frames_(link, host_gates_),
      watched_events_(driver, handles_, link),
      relief_(
          waiters_, [this] { return frames_.has_arrived(); }, [this] { lead(); }) {}

Executor::~Executor() = default;

void Executor::use_direct_links(DirectLinks* direct) {
  direct_ = direct;
  if (direct == nullptr) return;
  direct->bind_by([this](std::uint64_t context_id) {
    ThreadState as_client;
    as_client.context_id = context_id;
    return contexts_.bind(as_client);
  });
}

void Executor::use_ledger(Ledger* ledger) {
  ledger_ = ledger;
  late_copies_.use_ledger(ledger);
  const LeaseLimits& limits = ledger->limits();
  if (limits.handles_max != kNoLimit) handles_.hold_at_most(limits.handles_max);
  if (limits.threads_max != kNoLimit) threads_.hold_at_most(limits.threads_max);
}

void Executor::use_facts(Facts* facts) {
  facts_ = facts;
  late_copies_.use_facts(facts);
  if (direct_ != nullptr) direct_->use_facts(facts);
}

Status Executor::run() {
  lead();
  Status why;
  {
    auto end = end_.lock();
    end.wait(ended_, [](const std::optional<Status>& now) { return now.has_value(); });
    why = **end;
  }
  if (why.code() == Code::kMalformed) {
    facts_->count(Tally::kMalformed);
    facts_->notes().end(last_call_, kCallBroken);
    FARCALL_LOG_WARN("session ended: %s", why.text().c_str());
  }
  if (direct_ != nullptr) direct_->stop();  // calls may be waiting for other servers
  relief_.stop();
  waiters_.wait_idle();
  frames_.stop();
  late_copies_.stop();
  clean_up();
  tell_cost();
  return why;
}

void Executor::lead() {
  for (bool leading = true; leading;) {
    Result<link::Frame> frame = frames_.next();
    Status why = frame.ok() ? take(frame.value(), &leading) : frame.status();
    if (why.ok()) continue;
    link_.close(why);
    host_gates_.close();  // calls may be waiting for what is behind them
    *end_.lock() = why;
    ended_.notify_all();
    return;
  }
}

// Checks a frame and carries it out. Clears *leading when another thread has taken over.
Status Executor::take(const link::Frame& frame, bool* leading) {
  const wire::FrameHeader& head = frame.head;
  if ((head.flags & wire::kReply) != 0) return broken("a client cannot reply", head);
  if (head.call != call_after(last_call_)) return broken("calls do not count up by one", head);
  last_call_ = head.call;
  facts_->count(Tally::kCalls);
  facts_->count(Tally::kBytesIn, frame.body.size());
  const bool has_payload = (head.flags & wire::kBulkFollows) != 0;
  if (has_payload || head.call % limits::kCostEveryCalls == 0) tell_cost();
  facts_->notes().begin({.call = head.call,
                         .id = head.id,
                         .thread = static_cast<std::uint16_t>(head.thread),
                         .bytes = head.body_bytes});
  Errand errand;
  errand.row = row_of(head.id);
  if (errand.row == nullptr) return broken("no such call", head);
  errand.thread = threads_.get(head.thread);
  const bool may_exist = head.thread != 0 && head.thread <= limits::kClientThreadsMax;
  if (!may_exist) return broken("no such client thread", head);
  errand.head = head;
  errand.body = frame.body;
  if (has_payload) {
    // Whatever happens to the call, its payload must leave the lane; so its size comes first.
    wire::Reader in(frame.body);
    auto bytes = in.get<std::uint64_t>();
    if (in.failed() || !errand.row->takes_payload) return broken("no payload belongs here", head);
    facts_->count(Tally::kBytesIn, bytes);
    errand.bulk = std::make_unique<BulkIn>(link_, bulk_lane_, bulk_lane_.take_ticket(), bytes);
  }
  if (errand.thread == nullptr) return refuse_thread(errand);
  if (last_thread_ != 0 && head.thread != last_thread_) waits_with_others_ = kWaitsWithOthers;
  last_thread_ = head.thread;
  if (errand.thread->busy.load(std::memory_order_acquire)) errand.thread->busy.wait(true);
  bool may_wait = errand.row->info.when == api::When::Waits;
  if (may_wait && (head.flags & wire::kWantsReply) != 0) return wait_with(errand, leading);
  return host_gates_.any() ? carry_out_covered(errand) : carry_out(errand);
}

Status Executor::refuse_thread(Errand& errand) {
  facts_->count(Tally::kRefusedThread);
  static LogLimit limit(1);
  if (limit.allow()) {
    FARCALL_LOG_WARN("client thread %u is one more than the lease allows: its calls fail",
                     errand.head.thread);
  }
  late_copies_.refuse(errand.head, errand.body, CUDA_ERROR_OUT_OF_MEMORY);
  host_gates_.refuse(errand.head, errand.body, CUDA_ERROR_OUT_OF_MEMORY);
  ThreadState nobody;  // its next call that waits fails as well
  nobody.number = errand.head.thread;
  errand.thread = &nobody;
  Status answered = answer(errand, CUDA_ERROR_OUT_OF_MEMORY);
  errand.thread = nullptr;
  return answered;
}

SecureBuffer Executor::spare_body() {
  auto spare = spare_bodies_.lock();
  if (spare->empty()) return {};
  SecureBuffer body = std::move(spare->back());
  spare->pop_back();
  return body;
}

bool Executor::expects_others() {
  if (!is_on(Switch::kStay) || frames_.has_frame()) return true;
  if (waits_with_others_ == 0) return false;
  --waits_with_others_;
  return true;
}

Status Executor::keep_body(Errand& errand, SecureBuffer* body) {
  *body = spare_body();
  if (body->size() == 0) {
    auto fresh = SecureBuffer::make(limits::kFrameBodyBytesMax);
    if (!fresh.ok()) return fresh.status();
    *body = std::move(fresh).value();
  }
  if (!errand.body.empty()) std::memcpy(body->data(), errand.body.data(), errand.body.size());
  errand.body = body->bytes().first(errand.body.size());
  return ok();
}

void Executor::give_back(SecureBuffer body) {
  auto spare = spare_bodies_.lock();
  if (spare->size() < kSpareBodiesMax) spare->push_back(std::move(body));
}

Status Executor::carry_out_covered(Errand& errand) {
  SecureBuffer body;
  FARCALL_TRY(keep_body(errand, &body));
  frames_.cover();
  Status done = carry_out(errand);
  errand.bulk.reset();
  frames_.uncover();
  give_back(std::move(body));
  return done;
}

// Another thread becomes the one that receives, or may become it; this one, which has the call at
// hand and need not be woken for it, does the waiting. The link's own memory is good until the next
// receive only, so the body is copied.
Status Executor::wait_with(Errand& errand, bool* leading) {
  SecureBuffer body;
  FARCALL_TRY(keep_body(errand, &body));
  ThreadState& thread = *errand.thread;
  thread.busy = true;
  const bool stays = !expects_others();
  if (stays) {
    relief_.offer();
  } else {
    // With no thread to be had, calls are carried out one after the other: slower, never wrong.
    *leading = !waiters_.run([this] { lead(); });
  }
  const bool is_alone = *leading && !stays;
  if (is_alone) frames_.cover();
  Status done = carry_out(errand);
  if (is_alone) frames_.uncover();
  if (!done.ok()) link_.close(done);  // whoever leads now learns of it there
  errand.bulk.reset();
  thread.busy = false;
  thread.busy.notify_all();
  if (stays) *leading = relief_.take_back();
  give_back(std::move(body));
  return ok();
}

Status Executor::carry_out(Errand& errand) {
  ThreadState& thread = *errand.thread;
  bool wants_reply = (errand.head.flags & wire::kWantsReply) != 0;
  Desk* desk = Desk::of_this_thread();
  if (desk == nullptr) return Status(Code::kSystem, "no memory for the buffers of a call");
  CUresult earlier = CUDA_SUCCESS;
  if (wants_reply && wire::family(errand.head.id) != 0 && thread.deferred.status != CUDA_SUCCESS) {
    earlier = thread.deferred.status;
    tell(errand, std::exchange(thread.deferred, {}));
  }
  if (earlier != CUDA_SUCCESS && !errand.row->ends_state) return answer(errand, earlier);
  if (!capabilities_.allow(errand.head.id)) return forbid(errand);
  CUresult bound = wire::family(errand.head.id) == 0 ? CUDA_SUCCESS : contexts_.bind(thread);
  if (bound != CUDA_SUCCESS) return turn_down(errand, bound);
  wire::Reader in(errand.body);
  wire::Writer out(desk->reply.bytes());
  api::Scratch scratch(desk->arguments.bytes());
  CallHandles handles(handles_, thread, driver_, *facts_);
  BulkIn no_payload;
  Call call{{driver_, handles, scratch, in, out},
            errand.head,
            thread,
            link_,
            errand.bulk ? *errand.bulk : no_payload,
            desk->staging.bytes(),
            contexts_,
            functions_,
            flush_,
            late_copies_,
            host_gates_,
            watched_events_,
            links_,
            module_cache_,
            direct_,
            ledger_,
            *facts_};
  Verdict verdict = errand.row->run(*errand.row, call);
  if (earlier != CUDA_SUCCESS && verdict == Verdict::kAnswered) {
    out.rewind(0);
    out.put(static_cast<std::uint32_t>(earlier));
  }
  if (flush_ && wants_reply && errand.row->info.when == api::When::Waits) flush_();
  if (verdict == Verdict::kMalformed) {
    Status bad = broken("body does not fit the call", errand.head);
    link_.close(bad);  // now, so that nobody waits for the rest of its payload
    return bad;
  }
  // What the call left of its payload must not be taken for the next one's.
  if (errand.bulk != nullptr) FARCALL_TRY(call.bulk.drop(desk->staging.bytes()));
  if (verdict != Verdict::kSent) return finish(errand, out);
  facts_->notes().end(errand.head.call, CUDA_SUCCESS);
  return ok();
}

Status Executor::turn_down(Errand& errand, CUresult status) {
  late_copies_.refuse(errand.head, errand.body, status);
  host_gates_.refuse(errand.head, errand.body, status);
  return answer(errand, status);
}

// In a worker standard error is the program's: who runs it is told by name, once for each family.
Status Executor::forbid(Errand& errand) {
  const std::uint16_t id = errand.head.id;
  facts_->count(Tally::kRefusedFamily);
  if (capabilities_.is_first_refusal(id)) {
    const std::string family(api::name_of_family(wire::family(id)));
    FARCALL_LOG_WARN("the lease does not grant family %s: %s and the like are refused",
                     family.c_str(), errand.row->info.name);
    std::fprintf(stderr,
                 "farcall: the lease does not grant calls of family '%s': %s and the like fail "
                 "with CUDA_ERROR_NOT_PERMITTED; ask for a lease with it\n",
                 family.c_str(), errand.row->info.name);
    if (flush_) flush_();
  }
  return turn_down(errand, CUDA_ERROR_NOT_PERMITTED);
}

// Sends what the call wrote, or remembers a failure that nobody waits for.
Status Executor::finish(const Errand& errand, wire::Writer& out) {
  static LogLimit long_answers(1);
  if (!out.ok()) {
    if (long_answers.allow())
      FARCALL_LOG_WARN("the answer to %s is too long for a frame", errand.row->info.name);
    out.rewind(0);
    out.put(static_cast<std::uint32_t>(CUDA_ERROR_NOT_SUPPORTED));
  }
  const CUresult result = out.size() > 0 ? first_word(out.view()) : CUDA_SUCCESS;
  facts_->notes().end(errand.head.call, static_cast<std::uint32_t>(result));
  if ((errand.head.flags & wire::kWantsReply) == 0) {
    defer(errand, result);
    return ok();
  }
  facts_->count(Tally::kBytesOut, out.size());
  send_notices(watched_events_, late_copies_);  // this reply may prove them complete
  wire::FrameHeader head{.id = errand.head.id,
                         .flags = wire::kReply,
                         .call = errand.head.call,
                         .thread = errand.head.thread};
  auto encode = [&](wire::Writer& to) { to.bytes(out.view().data(), out.size()); };
  return link_.post(head, link::Flush::kNow, encode).status();
}

Status Executor::answer(Errand& errand, CUresult status) {
  errand.bulk.reset();  // drops the payload
  std::array<std::byte, sizeof(std::uint32_t)> room;
  wire::Writer out(room);
  out.put(static_cast<std::uint32_t>(status));
  return finish(errand, out);
}

void Executor::defer(const Errand& errand, CUresult status) {
  if (status == CUDA_SUCCESS) return;
  static LogLimit limit(5);
  if (limit.allow()) {
    FARCALL_LOG_INFO(
        "%s (call %u of client thread %u) failed with CUDA error %d; the thread's "
        "next call reports it",
        errand.row->info.name, errand.head.call, errand.head.thread, static_cast<int>(status));
  }
  Deferred& deferred = errand.thread->deferred;
  if (deferred.status != CUDA_SUCCESS) {  // the first failure explains the later ones
    ++deferred.others;
    return;
  }
  deferred = {.status = status, .row = errand.head.id, .call = errand.head.call};
  if (errand.head.id == api::row::cuLaunchKernel::info().id) {
    deferred.function = wire::Reader(errand.body).get<api::hand::Launch>().function;
  }
}

void Executor::tell(const Errand& errand, const Deferred& earlier) {
  wire::FrameHeader head{.id = api::row::failed_earlier::info().id,
                         .flags = wire::kReply,
                         .thread = errand.head.thread};
  // With the reply that follows; a link that fails shows there.
  (void)link_.post(head, link::Flush::kLater, [&](wire::Writer& out) {
    out.put(api::hand::FailedEarlier{.function = earlier.function,
                                     .call = earlier.call,
                                     .status = static_cast<std::uint32_t>(earlier.status),
                                     .row = earlier.row,
                                     .zero = 0,
                                     .others = earlier.others});
  });
}

}  // namespace farcall::server
