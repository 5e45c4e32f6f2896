#include "client_shim/client.h"

#include <pthread.h>

#include <atomic>

#include "client_shim/graph_copies.h"
#include "client_shim/graph_kept.h"
#include "client_shim/kept_reply.h"
#include "client_shim/process.h"
#include "client_shim/staged.h"
#include "transport/api/device_numbers.h"
#include "transport/api/hand.h"
#include "transport/api/rows.h"
#include "transport/base/log.h"
#include "transport/base/switches.h"

namespace farcall::shim {
namespace {

// Sessions of this process and its ancestors: a thread's state belongs to one of them.
std::atomic<std::uint64_t> g_generations{0};

constexpr auto kStatusOf = [](Reply& reply) { return reply.status; };

// A thread that is cancelled while it leads, or while it holds the send lock, would leave every
// other thread waiting; so cancellation waits until the call is over.
class NoCancel {
 public:
  NoCancel() { ::pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &before_); }
  ~NoCancel() { ::pthread_setcancelstate(before_, nullptr); }
  NoCancel(const NoCancel&) = delete;
  NoCancel& operator=(const NoCancel&) = delete;

 private:
  int before_ = PTHREAD_CANCEL_ENABLE;
};

// Queued rows that wait on the server when they are asked: for the work that is under way.
bool waits_there(const api::RowInfo& row) {
  return row.id == api::row::cuMemFree_v2::info().id ||
         row.id == api::row::cuMemcpyHtoD_v2::info().id;
}

// Calls whose faults are those of the context a stream, an event or a handle belongs to, which
// need not be the current one.
bool names_its_context(const api::RowInfo& row) {
  if (row.id == api::row::cuDevicePrimaryCtxRelease_v2::info().id ||
      row.id == api::row::cuDevicePrimaryCtxReset_v2::info().id ||
      row.id == api::row::cuCtxDestroy_v2::info().id ||
      row.id == api::row::cuCtxSynchronize_v2::info().id) {
    return true;
  }
  int family = wire::family(row.id);
  return family == wire::family(api::row::cuStreamSynchronize::info().id) ||
         family == wire::family(api::row::cuEventSynchronize::info().id);
}

int to_server(int device) noexcept {
  const Client* client = current_client();
  if (device < 0 || client == nullptr) return device;
  const auto place = client->visible().place(device);
  const bool is_its = place && place->server == static_cast<int>(client->number());
  return is_its ? place->device : api::kNoDevice;
}

int to_program(int device) noexcept {
  const Client* client = current_client();
  if (device < 0 || client == nullptr) return device;
  return client->visible()
      .ordinal({.server = static_cast<int>(client->number()), .device = device})
      .value_or(CU_DEVICE_INVALID);
}

// Only one of them knows it.
void thread_ended(ThreadState& thread) {
  for_each_client([&](Client& client) { client.release_thread(thread); });
}

}  // namespace

Client::Client(std::unique_ptr<link::Session> session, Settings settings, const Clock& clock,
               Seat seat)
    : session_(std::move(session)),
      settings_(std::move(settings)),
      clock_(clock),
      seat_(std::move(seat)),
      generation_(++g_generations),
      opened_ns_(clock.now_ns()),
      receiver_(*session_, landings_, completions_),
      landing_watch_(landings_, receiver_),
      flusher_(*session_),
      stats_(!settings_.stats_file.empty() || !settings_.trace_file.empty()),
      trace_(settings_.trace_file, stats_, clock),
      graph_copies_(std::make_unique<GraphCopies>(*this)),
      graph_kept_(std::make_unique<GraphKept>()) {}

Client::~Client() = default;

Result<std::unique_ptr<Client>> Client::open(std::unique_ptr<link::Session> session,
                                             Settings settings, const Clock& clock, Seat seat) {
  std::unique_ptr<Client> client(
      new Client(std::move(session), std::move(settings), clock, std::move(seat)));
  CUresult opened = client->fetch_snapshot();
  if (opened != CUDA_SUCCESS) {
    if (Status closed = client->session_->closed(); !closed.ok()) return closed;
    return Status::driver("the server's driver did not start", opened);
  }
  api::set_device_numbers(to_server, to_program);
  return client;
}

void Client::show(const VisibleDevices& visible, const Snapshot& seen) {
  visible_ = visible;
  snapshot_ = seen;
  for (int ordinal = 0; auto place = visible_.place(ordinal); ++ordinal) {
    if (place->server != static_cast<int>(number())) continue;
    const std::uint64_t primary = snapshot_.device(ordinal)->primary_context;
    contexts_.add(reinterpret_cast<CUcontext>(primary), {ordinal, 0, true});
  }
}

CUresult Client::fetch_snapshot() {
  auto encode = [&](wire::Writer& out) {
    out.put(api::hand::OpenRequest{api::hand::kOpenVersion, number()});
  };
  auto take = [&](Reply& reply) {
    if (reply.status != CUDA_SUCCESS) return reply.status;
    Result<Snapshot> parsed = parse_snapshot(reply.in);
    if (!parsed.ok()) {
      reply.in.fail();
      return kLinkLost;
    }
    all_devices_ = std::move(parsed).value();
    return CUDA_SUCCESS;
  };
  return ask(api::row::cuInit::info(), encode, take);
}

ThreadState& Client::this_thread() {
  return thread_state(generation_, numbers_, thread_ended, number());
}

bool Client::begin_own_thread() {
  ThreadState& thread = this_thread();
  if (thread.number == 0) return false;
  thread.is_ours = true;
  numbers_.leave_out();
  return true;
}

void Client::release_thread(const ThreadState& thread) {
  if (thread.generation != generation_ || thread.number == 0) return;
  trace_.end_thread();
  wire::FrameHeader end{api::row::end_thread::info().id, 0, 0, 0, thread.number};
  // A closed link has nothing left to tidy up.
  if (session_->post(end, link::Flush::kLater, [](wire::Writer&) {}).ok()) flusher_.posted();
  numbers_.give_back(thread.number, !thread.is_ours);
}

CUresult Client::current_device(int* ordinal) {
  CUcontext current = this_thread().current();
  auto found = current == nullptr ? std::nullopt : contexts_.ordinal(current);
  if (!found) return CUDA_ERROR_INVALID_CONTEXT;
  *ordinal = *found;
  return CUDA_SUCCESS;
}

CUresult Client::require_context() {
  ThreadState& thread = this_thread();
  if (thread.in_host_function) return CUDA_ERROR_NOT_PERMITTED;
  if (thread.current() == nullptr) return CUDA_ERROR_INVALID_CONTEXT;
  return contexts_.fault(thread.current());
}

Result<wire::FrameHeader> Client::begin(const api::RowInfo& row, ThreadState& thread,
                                        std::uint16_t flags) {
  if (thread.number == 0) return Status(Code::kOverQuota, "too many threads");
  CUcontext current = thread.current();
  if (thread.bound != current) {
    wire::FrameHeader bind{api::row::bind_context::info().id, 0, 0, 0, thread.number};
    auto id = reinterpret_cast<std::uint64_t>(current);
    auto posted = session_->post(bind, link::Flush::kLater,
                                 [&](wire::Writer& out) { out.put(api::hand::BindContext{id}); });
    if (!posted.ok()) return posted.status();
    thread.bound = current;
    thread.posts_elsewhere = thread.has_posts;
  }
  FARCALL_LOG_TRACE("%s", row.name);
  return wire::FrameHeader{row.id, flags, 0, 0, thread.number};
}

CUresult Client::exchange(const api::RowInfo& row, ThreadState& thread, Send send, Waiter& waiter) {
  NoCancel whole;
  const std::uint64_t work = completions_.work();
  auto head = begin(row, thread, wire::kWantsReply);
  if (!head.ok()) return failed(head.status());
  receiver_.expect(waiter, thread.number);
  auto sent = send(head.value());
  if (!sent.ok()) {
    receiver_.cancel(waiter, thread.number);
    return failed(sent.status());
  }
  completions_.sent(row, true);
  thread.last_call = sent.value();
  CUresult result = receiver_.wait(waiter);
  completions_.answered(row);
  thread.answered_work = work;
  thread.has_posts = false;
  return result;
}

CUresult Client::round_trip(const api::RowInfo& row, CallKind kind, Send send, Take take) {
  ThreadState& thread = this_thread();
  if (thread.in_host_function) return CUDA_ERROR_NOT_PERMITTED;
  stats_.count(kind, row.name);
  std::int64_t started = stats_.is_enabled() ? clock_.now_ns() : 0;
  Waiter waiter(take);
  CUresult result = exchange(row, thread, send, waiter);
  if (result == kLinkLost) result = failed(Status(Code::kClosed, "lost while it waited"));
  if (stats_.is_enabled()) stats_.waited(clock_.now_ns() - started);
  if (result != CUDA_SUCCESS) {
    FARCALL_LOG_DEBUG("%s: error %d", row.name, result);
    explain(row, thread, waiter, result);
  }
  thread.posts_elsewhere = false;
  host_functions_.answered();
  return result;
}

void Client::explain(const api::RowInfo& row, ThreadState& thread, const Waiter& waiter,
                     CUresult result) {
  const Reporter reporter{row.name, thread.last_call};
  const bool is_new_fault = note_result(row, thread, result);
  // What was to be waited for may never have been there.
  if (waiter.earlier() || Contexts::is_fault(result)) completions_.forget_all();
  if (waiter.earlier()) {
    origins_.report(*waiter.earlier(), reporter);
  } else if (is_new_fault) {
    origins_.report_fault(result, reporter);
  }
}

bool Client::note_result(const api::RowInfo& row, ThreadState& thread, CUresult result) {
  CUcontext current = thread.current();
  // With several contexts in use, the fault may be another's: of the stream the call named, or of
  // what this thread posted before it changed its context. Then the server, which knows, will say
  // so at the calls it concerns.
  bool is_doubtful = thread.posts_elsewhere || names_its_context(row);
  return Contexts::is_fault(result) && (!is_doubtful || contexts_.is_alone(current)) &&
         contexts_.note_result(current, result);
}

bool Client::must_ask(const api::RowInfo& row, const ThreadState& thread) const {
  return settings_.strict || thread.asks_always || thread.current() == nullptr ||
         host_functions_.wants_answer() ||
         (waits_there(row) && (numbers_.are_several() || host_functions_.any()));
}

bool Client::may_answer_waits(std::uint64_t work) {
  ThreadState& thread = this_thread();
  const bool is_answered = !thread.has_posts || thread.answered_work >= work;
  return is_answered && is_on(Switch::kSkipSync) && !settings_.strict && !thread.asks_always &&
         !thread.in_host_function && thread.current() != nullptr && !completions_.is_capturing() &&
         contexts_.fault(thread.current()) == CUDA_SUCCESS && session_->closed().ok();
}

CUresult Client::ask(const api::RowInfo& row, Encode encode, Take take) {
  if (!mirrors_.any()) return ask_now(row, encode, take);
  Staged staged(encode);
  if (CUresult lent = mirrors_.lend_for(row); lent != CUDA_SUCCESS) return lent;
  KeptReply kept(take);
  return kept.taken(ask_now(row, staged, [&](Reply& reply) { return kept.keep(reply); }));
}

CUresult Client::ask_now(const api::RowInfo& row, Encode encode, Take take) {
  auto send = [&](wire::FrameHeader head) {
    return session_->post(head, link::Flush::kNow, encode);
  };
  return round_trip(row, row.when == api::When::Cached ? CallKind::kCached : CallKind::kAsked, send,
                    take);
}

CUresult Client::ask_payload(const api::RowInfo& row, Encode encode,
                             std::span<const std::byte> payload, Take take) {
  stats_.moved(payload.size(), 0);
  auto send = [&](wire::FrameHeader head) { return session_->post_bulk(head, encode, payload); };
  return round_trip(row, CallKind::kAsked, send, take);
}

CUresult Client::ask_stream(const api::RowInfo& row, Encode encode, std::uint64_t bytes,
                            link::Session::Fill fill, Take take) {
  if (CUresult lent = mirrors_.lend_for(row); lent != CUDA_SUCCESS) return lent;
  stats_.moved(bytes, 0);
  auto send = [&](wire::FrameHeader head) {
    return session_->post_bulk_from(head, encode, bytes, fill);
  };
  return round_trip(row, CallKind::kAsked, send, take);
}

CUresult Client::ask_status(const api::RowInfo& row, Encode encode) {
  return ask(row, encode, kStatusOf);
}

CUresult Client::ask_quietly(const api::RowInfo& row, Take take) {
  auto send = [&](wire::FrameHeader head) {
    return session_->post(head, link::Flush::kNow, [](wire::Writer&) {});
  };
  Waiter waiter(take);
  return exchange(row, this_thread(), send, waiter);
}

void Client::tell_finished(std::uint64_t turn, bool at_once) {
  wire::FrameHeader head{api::row::finish_host_function::info().id, 0, 0, 0, this_thread().number};
  auto encode = [&](wire::Writer& out) { out.put(api::hand::FinishHostFunction{turn}); };
  // A closed link has opened all gates.
  (void)session_->post(head, at_once ? link::Flush::kNow : link::Flush::kLater, encode);
}

CUresult Client::post(ThreadState& thread, const api::RowInfo& row, Encode encode) {
  if (!mirrors_.any()) return post_now(thread, row, encode);
  Staged staged(encode);
  CUresult lent = mirrors_.lend_for(row);
  return lent == CUDA_SUCCESS ? post_now(thread, row, staged) : lent;
}

CUresult Client::post_now(ThreadState& thread, const api::RowInfo& row, Encode encode) {
  if (CUresult fault = contexts_.fault(thread.current()); fault != CUDA_SUCCESS) return fault;
  return must_ask(row, thread) ? ask_now(row, encode, kStatusOf) : send_post(thread, row, encode);
}

CUresult Client::post_early(const api::RowInfo& row, Encode encode) {
  ThreadState& thread = this_thread();
  bool asks = settings_.strict || thread.asks_always;
  return asks ? ask(row, encode, kStatusOf) : send_post(thread, row, encode);
}

CUresult Client::send_post(ThreadState& thread, const api::RowInfo& row, Encode encode) {
  if (thread.in_host_function) return CUDA_ERROR_NOT_PERMITTED;
  NoCancel whole;
  auto head = begin(row, thread, 0);
  if (!head.ok()) return failed(head.status());
  stats_.count(CallKind::kQueued, row.name);
  auto counted = [&](wire::Writer& out) {
    encode(out);
    host_functions_.posted(out.size());
  };
  auto posted = session_->post(head.value(), link::Flush::kSoon,
                               host_functions_.any() ? Encode(counted) : encode);
  if (!posted.ok()) return failed(posted.status());
  completions_.sent(row, false);
  thread.last_call = posted.value();
  thread.has_posts = true;
  flusher_.posted();
  return CUDA_SUCCESS;
}

CUresult Client::post_payload(const api::RowInfo& row, Encode encode,
                              std::span<const std::byte> payload) {
  ThreadState& thread = this_thread();
  if (CUresult fault = contexts_.fault(thread.current()); fault != CUDA_SUCCESS) return fault;
  if (must_ask(row, thread)) return ask_payload(row, encode, payload, kStatusOf);
  if (thread.in_host_function) return CUDA_ERROR_NOT_PERMITTED;
  NoCancel whole;
  auto head = begin(row, thread, 0);
  if (!head.ok()) return failed(head.status());
  stats_.count(CallKind::kQueued, row.name);
  stats_.moved(payload.size(), 0);
  auto posted = session_->post_bulk(head.value(), encode, payload);
  if (!posted.ok()) return failed(posted.status());
  completions_.sent(row, false);
  thread.last_call = posted.value();
  thread.has_posts = true;
  return CUDA_SUCCESS;
}

}  // namespace farcall::shim
