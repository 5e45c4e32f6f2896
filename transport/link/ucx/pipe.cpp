#include "transport/link/ucx/pipe.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>

#include <cstring>

#include "transport/base/clock.h"
#include "transport/link/record.h"
#include "transport/link/ucx/context.h"

namespace farcall::ucx {
namespace {

constexpr std::size_t kPageBytes = 4096;
constexpr std::size_t kSlotBytes =
    (link::kSealedBytesMax + kPageBytes - 1) / kPageBytes * kPageBytes;
// A message may come in many fragments; after so many the lock is given up for a moment.
constexpr int kStepsMax = 64;
// The peer hears of releases at the latest when half the window is used up.
constexpr std::uint64_t kTellEvery = limits::kRdmaWindowRecords / 2;

constexpr int kLingerStepMs = 10;

constexpr const char* kPeerClosed = "the peer closed the link";

void ring(int bell) { ::eventfd_write(bell, 1); }

}  // namespace

Pipe* Pipe::make(ucp_context_h context, ucp_ep_params_t to, FarcallUcxError* error) {
  Pipe* pipe = new Pipe;
  if (pipe->open(context, to, error)) return pipe;
  delete pipe;
  return nullptr;
}

bool Pipe::open(ucp_context_h context, ucp_ep_params_t to, FarcallUcxError* error) {
  SignalsBlocked quiet;
  for (Fd& bell : bells_) bell.reset(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  void* memory = ::mmap(nullptr, kSlotBytes, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED || !bells_[0] || !bells_[1]) {
    set_error(error, Code::kSystem, "no memory or descriptors for an RDMA link");
    if (memory != MAP_FAILED) ::munmap(memory, kSlotBytes);
    return false;
  }
  ::madvise(memory, kSlotBytes, MADV_DONTFORK);
  slot_ = static_cast<std::byte*>(memory);

  auto state = state_.lock();
  state->worker = make_worker(context, error);
  if (state->worker == nullptr) return false;
  fd_ = worker_fd(state->worker);
  if (!set_handlers(*state, error)) return false;
  to.field_mask |= UCP_EP_PARAM_FIELD_ERR_HANDLING_MODE | UCP_EP_PARAM_FIELD_ERR_HANDLER;
  to.err_mode = UCP_ERR_HANDLING_MODE_PEER;
  to.err_handler = {.cb = on_broken, .arg = &*state};
  const ucs_status_t status = ucp_ep_create(state->worker, &to, &state->endpoint);
  if (status == UCS_OK) return true;
  state->endpoint = nullptr;
  set_error(error, "connect by RDMA", status);
  return false;
}

bool Pipe::set_handlers(State& state, FarcallUcxError* error) {
  const struct {
    MessageKind kind;
    ucp_am_recv_callback_t handler;
  } rows[] = {
      {kHello, on_hello}, {kRecord, on_record}, {kReleased, on_note}, {kClosing, on_closing}};
  for (const auto& row : rows) {
    ucp_am_handler_param_t param{};
    param.field_mask = UCP_AM_HANDLER_PARAM_FIELD_ID | UCP_AM_HANDLER_PARAM_FIELD_FLAGS |
                       UCP_AM_HANDLER_PARAM_FIELD_CB | UCP_AM_HANDLER_PARAM_FIELD_ARG;
    param.id = row.kind;
    // Persistent: a record stays in UCX's buffer until it is opened, and is not copied once more.
    param.flags = UCP_AM_FLAG_WHOLE_MSG | UCP_AM_FLAG_PERSISTENT_DATA;
    param.cb = row.handler;
    param.arg = &state;
    const ucs_status_t status = ucp_worker_set_am_recv_handler(state.worker, &param);
    if (status != UCS_OK) {
      set_error(error, "listen for messages", status);
      return false;
    }
  }
  return true;
}

Pipe::~Pipe() {
  if (abandoned()) return;
  close();
  SignalsBlocked quiet;
  auto state = state_.lock();
  if (state->endpoint != nullptr) {
    linger(*state);
    ucp_request_param_t how{};
    how.op_attr_mask = UCP_OP_ATTR_FIELD_FLAGS;
    how.flags = UCP_EP_CLOSE_FLAG_FORCE;
    void* closing = ucp_ep_close_nbx(state->endpoint, &how);
    if (UCS_PTR_IS_PTR(closing)) {
      const Deadline deadline = Deadline::after(system_clock(), limits::kRdmaLingerMs);
      while (ucp_request_check_status(closing) == UCS_INPROGRESS && !deadline.passed()) {
        progress(*state);
      }
      ucp_request_free(closing);
    }
  }
  for (const Arrived& record : state->window.held()) {
    if (record.data != nullptr) ucp_am_data_release(state->worker, record.data);
  }
  if (state->worker != nullptr) ucp_worker_destroy(state->worker);
  if (slot_ != nullptr) ::munmap(slot_, kSlotBytes);
}

// --- what UCX calls ------------------------------------------------------------------------------

void Pipe::on_broken(void* self, ucp_ep_h, ucs_status_t status) {
  auto& state = *static_cast<State*>(self);
  if (state.broken == UCS_OK) state.broken = status;
}

void Pipe::on_sent(void* request, ucs_status_t, void* outgoing) {
  static_cast<Outgoing*>(outgoing)->busy = false;  // a failure shows by on_broken
  ucp_request_free(request);
}

bool Pipe::hear(State& state, const void* header, std::size_t bytes, MessageHeader* out) {
  if (state.malformed == nullptr) state.malformed = state.window.hear(header, bytes, out);
  return state.malformed == nullptr;
}

ucs_status_t Pipe::on_hello(void* self, const void*, std::size_t, void* data, std::size_t bytes,
                            const ucp_am_recv_param_t* how) {
  auto& state = *static_cast<State*>(self);
  const bool here = (how->recv_attr & UCP_AM_RECV_ATTR_FLAG_RNDV) == 0;
  if (state.hello_here || state.hello_taken || !here || bytes != state.hello.size()) {
    state.malformed = "an RDMA connection that does not open with a hello";
    return UCS_OK;
  }
  std::memcpy(state.hello.data(), data, bytes);
  state.hello_here = true;
  return UCS_OK;
}

ucs_status_t Pipe::on_record(void* self, const void* header, std::size_t header_bytes, void* data,
                             std::size_t bytes, const ucp_am_recv_param_t* how) {
  auto& state = *static_cast<State*>(self);
  MessageHeader message;
  if (!hear(state, header, header_bytes, &message) || state.closed) return UCS_OK;
  // Without the flag it is an offer to fetch, which nobody here makes.
  const bool here = (how->recv_attr & UCP_AM_RECV_ATTR_FLAG_DATA) != 0;
  state.malformed = state.window.keep(message.number, data, here ? bytes : 0);
  return state.malformed == nullptr ? UCS_INPROGRESS : UCS_OK;  // kept until release, or dropped
}

ucs_status_t Pipe::on_note(void* self, const void* header, std::size_t header_bytes, void*,
                           std::size_t, const ucp_am_recv_param_t*) {
  MessageHeader message;
  hear(*static_cast<State*>(self), header, header_bytes, &message);
  return UCS_OK;
}

ucs_status_t Pipe::on_closing(void* self, const void* header, std::size_t header_bytes, void*,
                              std::size_t, const ucp_am_recv_param_t*) {
  auto& state = *static_cast<State*>(self);
  MessageHeader message;
  if (hear(state, header, header_bytes, &message)) {
    state.malformed = state.window.end_at(message.number);
  }
  return UCS_OK;
}

// --- sending -------------------------------------------------------------------------------------

bool Pipe::send(State& state, MessageKind kind, Outgoing& outgoing, const void* data,
                std::size_t bytes) {
  ucp_request_param_t how{};
  how.op_attr_mask =
      UCP_OP_ATTR_FIELD_CALLBACK | UCP_OP_ATTR_FIELD_USER_DATA | UCP_OP_ATTR_FIELD_FLAGS;
  how.cb.send = on_sent;
  how.user_data = &outgoing;
  how.flags = UCP_AM_SEND_FLAG_EAGER;
  outgoing.header.released = state.told = state.window.released();
  outgoing.busy = true;
  // UCX keeps the header's address, not its bytes, until the message has left.
  ucs_status_ptr_t request = ucp_am_send_nbx(state.endpoint, kind, &outgoing.header,
                                             sizeof outgoing.header, data, bytes, &how);
  if (UCS_PTR_IS_PTR(request)) return true;
  outgoing.busy = false;
  if (request == nullptr) return true;
  on_broken(&state, state.endpoint, UCS_PTR_STATUS(request));
  return false;
}

void Pipe::tell_released(State& state) {
  if (state.window.released() - state.told < kTellEvery || state.closed || state.broken != UCS_OK)
    return;
  // While the last one has not left yet: at the next progress.
  if (!state.released.busy) send(state, kReleased, state.released, nullptr, 0);
}

void Pipe::progress(State& state) {
  for (int step = 0; step < kStepsMax && ucp_worker_progress(state.worker) != 0; ++step) {
  }
  tell_released(state);
  wake(state);
}

void Pipe::wake(State& state) {
  for (FarcallUcxSide side : {kFarcallUcxSend, kFarcallUcxReceive}) {
    if (state.asleep[side] && ready(state, side)) ring(bells_[side].get());
  }
}

bool Pipe::has_room(const State& state) {
  return !state.record.busy && !state.our_hello.busy && state.window.has_room();
}

bool Pipe::ready(const State& state, FarcallUcxSide side) {
  if (state.closed || state.broken != UCS_OK || state.malformed != nullptr) return true;
  if (side == kFarcallUcxSend && state.window.ending()) return true;
  if (side == kFarcallUcxSend) return state.leaving ? !state.record.busy : has_room(state);
  return state.window.first().data != nullptr || state.window.ended() ||
         (state.hello_here && !state.hello_taken);
}

bool Pipe::failed(const State& state, FarcallUcxError* error) {
  if (state.malformed != nullptr) {
    set_error(error, Code::kMalformed, state.malformed);
  } else if (state.closed) {
    set_error(error, Code::kClosed, "the link was closed");
  } else if (state.broken != UCS_OK) {
    set_error(error, "the RDMA link broke", state.broken);
  } else {
    error->code = 0;
    return false;
  }
  return true;
}

bool Pipe::cannot_send(const State& state, FarcallUcxError* error) {
  if (failed(state, error)) return true;
  if (!state.window.ending()) return false;
  set_error(error, Code::kClosed, kPeerClosed);
  return true;
}

// --- what the plugin calls -----------------------------------------------------------------------

void Pipe::say_hello(const void* hello) {
  auto state = state_.lock();
  std::memcpy(state->hello.data(), hello, state->hello.size());
  state->hello_taken = true;
  send(*state, kHello, state->our_hello, state->hello.data(), state->hello.size());
}

bool Pipe::connected(FarcallUcxError* error) {
  auto state = state_.lock();
  progress(*state);
  return !failed(*state, error) && !state->our_hello.busy;
}

const void* Pipe::hello(FarcallUcxError* error) {
  auto state = state_.lock();
  if (!state->hello_here) progress(*state);
  if (failed(*state, error) || !state->hello_here) return nullptr;
  state->hello_taken = true;
  return state->hello.data();
}

void* Pipe::reserve(std::size_t bytes, FarcallUcxError* error) {
  if (abandoned()) return set_error(error, Code::kClosed, "a forked process"), nullptr;
  auto state = state_.lock();
  if (!has_room(*state)) progress(*state);
  if (cannot_send(*state, error) || !has_room(*state)) return nullptr;
  if (bytes <= link::kSealedBytesMax) return slot_;
  return set_error(error, Code::kSystem, "a record of impossible length"), nullptr;
}

bool Pipe::commit(std::size_t bytes, FarcallUcxError* error) {
  if (abandoned()) return set_error(error, Code::kClosed, "a forked process"), false;
  auto state = state_.lock();
  if (cannot_send(*state, error)) return false;
  state->record.header.number = state->window.next_number();
  state->leaving = true;
  send(*state, kRecord, state->record, slot_, bytes);
  return !cannot_send(*state, error);
}

bool Pipe::left(FarcallUcxError* error) {
  if (abandoned()) return set_error(error, Code::kClosed, "a forked process"), false;
  auto state = state_.lock();
  if (state->record.busy) progress(*state);
  state->leaving = state->record.busy && !cannot_send(*state, error);
  return !state->record.busy && !cannot_send(*state, error);
}

bool Pipe::can_send() {
  if (abandoned()) return false;
  auto state = state_.lock();
  if (!has_room(*state)) progress(*state);
  FarcallUcxError error;
  return !cannot_send(*state, &error) && has_room(*state);
}

bool Pipe::peek(FarcallUcxRecord* record, FarcallUcxError* error) {
  if (abandoned()) return set_error(error, Code::kClosed, "a forked process"), false;
  auto state = state_.lock();
  if (state->window.first().data == nullptr) progress(*state);
  const Arrived& first = state->window.first();
  if (first.data != nullptr) {
    *record = {first.data, first.bytes};
    return true;
  }
  if (!failed(*state, error) && state->window.ended()) {
    set_error(error, Code::kClosed, kPeerClosed);
  }
  return false;
}

void Pipe::release() {
  if (abandoned()) return;
  auto state = state_.lock();
  const Arrived& first = state->window.first();
  if (first.data == nullptr) return;
  ucp_am_data_release(state->worker, first.data);
  state->window.release();
  tell_released(*state);
}

bool Pipe::arrived() {
  if (abandoned()) return true;
  auto state = state_.lock();
  if (!ready(*state, kFarcallUcxReceive)) progress(*state);
  return ready(*state, kFarcallUcxReceive);
}

bool Pipe::may_sleep(FarcallUcxSide side) {
  if (abandoned()) return false;
  auto state = state_.lock();
  progress(*state);
  if (ready(*state, side)) return false;
  const bool armed = arm(state->worker);
  // Arming takes events that were meant for a sleeper of the other side, and looks once more.
  state->asleep[side] = armed && !ready(*state, side);
  wake(*state);
  return state->asleep[side];
}

void Pipe::awake(FarcallUcxSide side) {
  if (abandoned()) return;
  auto state = state_.lock();
  state->asleep[side] = false;
  eventfd_t rung = 0;
  ::eventfd_read(bells_[side].get(), &rung);
}

void Pipe::close() {
  if (abandoned()) return;
  auto state = state_.lock();
  if (state->closed) return;
  if (state->endpoint != nullptr && state->broken == UCS_OK && state->malformed == nullptr) {
    state->farewell.header.number = state->window.sent();
    send(*state, kClosing, state->farewell, nullptr, 0);
    progress(*state);
  }
  state->closed = true;
  for (Fd& bell : bells_) ring(bell.get());
}

void Pipe::linger(State& state) {
  const Deadline deadline = Deadline::after(system_clock(), limits::kRdmaLingerMs);
  // Without the peer's own farewell it may still be reading what was sent.
  while (state.window.sent() > 0 && state.broken == UCS_OK && state.malformed == nullptr &&
         !state.window.ending() && !deadline.passed()) {
    progress(state);
    if (!arm(state.worker)) continue;
    pollfd entry{fd_, POLLIN, 0};
    ::poll(&entry, 1, kLingerStepMs);
  }
}

}  // namespace farcall::ucx
