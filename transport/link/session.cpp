#include "transport/link/session.h"

#include <sys/socket.h>

#include <atomic>
#include <cstring>
#include <string_view>
#include <utility>

#include "security/tls_channel.h"
#include "transport/base/guarded.h"
#include "transport/base/log.h"
#include "transport/link/bulk_lane.h"
#include "transport/link/call_lane.h"
#include "transport/link/carrier.h"
#include "transport/link/crypto_pool.h"
#include "transport/link/farewell.h"
#include "transport/link/lane.h"
#include "transport/link/session_parts.h"

namespace farcall::link {
namespace {

// Text of the first record each way on each connection. That it opens is what proves the keys.
constexpr std::string_view kConfirmText = "farcall lane up";

RecordCost sum(const RecordCost& one, const RecordCost& other) {
  return {one.records + other.records, one.bytes + other.bytes, one.ns + other.ns};
}

}  // namespace

// Lock order: BulkSender::turn, then CallSender's state, then `why`. None is held while another
// thread is woken.
class Session::State {
 public:
  static Result<std::unique_ptr<State>> make(SessionParts parts);
  ~State() {
    if (control) control->close();
  }

  void close(const Status& reason);
  // Closes because of `reason` and returns the first reason there was.
  Status fail(const Status& reason) {
    // That the other end is gone is no reason yet: the server may have said one.
    const bool gone = reason.code() == Code::kClosed || reason.code() == Code::kSystem;
    if (gone && control && open() && !asked_.exchange(true)) {
      if (Status told = hear_farewell(*control); !told.ok()) {
        close(told);
        // Another thread may have found the other end gone meanwhile.
        auto first = why_.lock();
        if (first->code() == Code::kClosed || first->code() == Code::kSystem) *first = told;
      }
    }
    close(reason);
    return why();
  }
  Status why() { return *why_.lock(); }
  bool open() const { return !closed_.load(std::memory_order_acquire); }
  Status confirm_lane(Lane& lane, Deadline deadline);

  Compress compress = Compress::kOff;
  std::unique_ptr<security::TlsChannel> control;
  std::unique_ptr<Lane> calls;
  std::unique_ptr<Lane> bulk;
  std::unique_ptr<CallSender> call_sender;
  std::unique_ptr<CallReceiver> call_receiver;
  std::unique_ptr<BulkSender> bulk_sender;
  std::unique_ptr<BulkReceiver> bulk_receiver;

 private:
  Guarded<Status> why_;
  std::atomic<bool> closed_{false};
  std::atomic<bool> asked_{false};  // for the server's reason; by one thread, others do not wait
};

Result<std::unique_ptr<Session::State>> Session::State::make(SessionParts parts) {
  auto state = std::make_unique<State>();
  Result<std::unique_ptr<Lane>> calls =
      Lane::make(std::move(parts.calls), parts.keys, kLaneCalls, parts.role, parts.rekey);
  if (!calls.ok()) return calls.status();
  Result<std::unique_ptr<Lane>> bulk =
      Lane::make(std::move(parts.bulk), parts.keys, kLaneBulk, parts.role, parts.rekey);
  if (!bulk.ok()) return bulk.status();
  state->calls = std::move(calls).value();
  state->bulk = std::move(bulk).value();
  Result<std::unique_ptr<CallSender>> sender = CallSender::make(*state->calls);
  if (!sender.ok()) return sender.status();
  Result<std::unique_ptr<CallReceiver>> receiver = CallReceiver::make(*state->calls);
  if (!receiver.ok()) return receiver.status();
  state->call_sender = std::move(sender).value();
  state->call_receiver = std::move(receiver).value();
  state->bulk_sender = std::make_unique<BulkSender>(*state->bulk, parts.compress);
  state->bulk_receiver =
      std::make_unique<BulkReceiver>(*state->bulk, parts.compress != Compress::kOff);
  state->compress = parts.compress;
  state->control = std::move(parts.control);
  return state;
}

void Session::State::close(const Status& reason) {
  {
    auto first = why_.lock();
    if (first->ok()) {
      *first = reason.ok() ? Status(Code::kClosed, "the session was closed") : reason;
      closed_.store(true, std::memory_order_release);
      FARCALL_LOG_DEBUG("session over: %s", first->to_string().c_str());
    }
  }
  call_sender->stop(why());
  calls->close();
  bulk->close();
  // The supervisor then ends the worker even when the lanes are stuck somewhere.
  if (control) ::shutdown(control->fd(), SHUT_RDWR);
}

Status Session::State::confirm_lane(Lane& lane, Deadline deadline) {
  Result<std::size_t> bytes = lane.wait_next(deadline);
  if (!bytes.ok()) return bytes.status();
  char text[64] = {};
  Result<RecordType> type = lane.open(std::as_writable_bytes(std::span(text)));
  if (!type.ok() || type.value() != RecordType::kConfirm ||
      std::string_view(text, bytes.value()) != kConfirmText) {
    return {Code::kDenied,
            "the other end of a lane does not hold this session's keys; someone else may have "
            "taken the connection"};
  }
  return ok();
}

RekeyLimits RekeyLimits::standard() { return {limits::kRekeyBytes, limits::kRekeyRecords}; }

SessionParts::SessionParts() = default;
SessionParts::SessionParts(SessionParts&&) noexcept = default;
SessionParts::~SessionParts() = default;

Result<std::unique_ptr<Session>> SessionParts::start(SessionParts parts) {
  Result<std::unique_ptr<Session::State>> state = Session::State::make(std::move(parts));
  if (!state.ok()) return state.status();
  std::unique_ptr<Session> session(new Session(std::move(state).value()));
  const auto text = std::as_bytes(std::span(kConfirmText.data(), kConfirmText.size()));
  for (Lane* lane : {session->state_->calls.get(), session->state_->bulk.get()}) {
    // Records take a lane's connections in turn: each gets one.
    for (std::size_t i = 0; i < lane->connections(); ++i) {
      if (Status sent = lane->send(RecordType::kConfirm, text); !sent.ok()) return sent;
    }
  }
  return session;
}

Status SessionParts::confirm(Session& session, Deadline deadline) {
  for (Lane* lane : {session.state_->calls.get(), session.state_->bulk.get()}) {
    for (std::size_t i = 0; i < lane->connections(); ++i) {
      Status up = session.state_->confirm_lane(*lane, deadline);
      if (!up.ok()) return session.state_->fail(up);
    }
  }
  return ok();
}

SecurityCost SessionParts::cost(const Session& session) {
  const Session::State& state = *session.state_;
  return {sum(state.calls->seal_cost(), state.bulk->seal_cost()),
          sum(state.calls->open_cost(), state.bulk->open_cost())};
}

SecurityCost security_cost(const Session& session) { return SessionParts::cost(session); }

Session::Session(std::unique_ptr<State> state) : state_(std::move(state)) {}

Session::~Session() { close({Code::kClosed, "the session was closed"}); }

Result<std::uint32_t> Session::post(wire::FrameHeader head, Flush flush, Encode encode) {
  Result<std::uint32_t> call = state_->call_sender->post(head, flush, encode);
  if (!call.ok() && call.status().code() != Code::kOverQuota) return state_->fail(call.status());
  return call;
}

Result<std::uint32_t> Session::post_bulk(wire::FrameHeader head, Encode encode,
                                         std::span<const std::byte> payload) {
  BulkSender& sender = *state_->bulk_sender;
  head.flags = static_cast<std::uint16_t>(head.flags | wire::kBulkFollows);
  Lock turn(sender.turn());
  Result<std::uint32_t> call = post(head, Flush::kNow, encode);
  if (!call.ok()) return call;
  if (Status sent = sender.send(payload); !sent.ok()) return state_->fail(sent);
  return call;
}

Result<std::uint32_t> Session::post_bulk_from(wire::FrameHeader head, Encode encode,
                                              std::uint64_t bytes, Fill fill) {
  BulkSender& sender = *state_->bulk_sender;
  head.flags = static_cast<std::uint16_t>(head.flags | wire::kBulkFollows);
  Lock turn(sender.turn());
  Result<std::uint32_t> call = post(head, Flush::kNow, encode);
  if (!call.ok()) return call;
  bool fill_failed = false;
  if (Status sent = sender.send_from(bytes, fill, &fill_failed); !sent.ok()) {
    return fill_failed ? sent : state_->fail(sent);
  }
  return call;
}

Status Session::flush() {
  Status sent = state_->call_sender->flush();
  return sent.ok() ? sent : state_->fail(sent);
}

bool Session::has_gathered() const { return state_->call_sender->has_gathered(); }

Result<Frame> Session::receive(Deadline deadline) {
  if (!state_->open()) return state_->why();
  Result<Frame> frame = state_->call_receiver->receive(deadline);
  if (frame.ok() || frame.status().code() == Code::kTimeout) return frame;
  return state_->fail(frame.status());
}

bool Session::has_more() { return !state_->open() || state_->call_receiver->has_more(); }

bool Session::has_frame() { return state_->call_receiver->has_frame(); }

bool Session::has_arrived() { return !state_->open() || state_->calls->has_arrived(); }

Status Session::bulk_read(std::span<std::byte> destination) {
  if (!state_->open()) return state_->why();
  bool fatal = false;
  Status read = state_->bulk_receiver->read(destination, &fatal);
  return fatal ? state_->fail(read) : read;
}

void Session::close(const Status& why) { state_->close(why); }

Status Session::closed() const { return state_->why(); }

void Session::abandon_in_child() {
  state_->calls->abandon();
  state_->bulk->abandon();
  state_->call_sender->wipe_in_child();
  state_->bulk_sender->wipe_in_child();
  state_->bulk_receiver->wipe_in_child();
  if (state_->control) state_->control->abandon();
}

LinkStats Session::stats() const {
  const Lane::Counts calls = state_->calls->counts();
  const Lane::Counts bulk = state_->bulk->counts();
  LinkStats stats;
  stats.frames_out = state_->call_sender->frames();
  stats.frames_in = state_->call_receiver->frames();
  stats.records_out = calls.records_out + bulk.records_out;
  stats.records_in = calls.records_in + bulk.records_in;
  stats.bytes_out = calls.bytes_out + bulk.bytes_out;
  stats.bytes_in = calls.bytes_in + bulk.bytes_in;
  stats.bulk_bytes_out = state_->bulk_sender->bytes();
  stats.bulk_bytes_in = state_->bulk_receiver->bytes();
  stats.bulk_wire_bytes_out = bulk.bytes_out;
  stats.bulk_wire_bytes_in = bulk.bytes_in;
  stats.bulk_connections = state_->bulk->connections();
  stats.round_trips = state_->call_sender->round_trips();
  const CryptoPool::Counts crypto = CryptoPool::counts_here();
  stats.crypto_threads = crypto.threads;
  stats.records_by_helpers = crypto.by_helpers;
  stats.records_by_callers = crypto.by_callers;
  return stats;
}

std::string Session::describe() const {
  const std::size_t connections = state_->bulk->connections();
  std::string text = state_->calls->describe();
  if (connections > 1) text += ", payloads over " + std::to_string(connections) + " connections";
  if (state_->compress != Compress::kOff) text += ", compressed";
  return text;
}

Result<SessionPair> make_loopback_session_pair() {
  return make_loopback_session_pair(RekeyLimits::standard());
}

}  // namespace farcall::link
