#include "transport/link/call_lane.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <string>
#include <utility>

#include "transport/base/switches.h"

namespace farcall::link {
namespace {

// A gathered frame does not grow older than this while others are posted behind it.
constexpr std::int64_t kGatherNs = 20'000;
// So long without a send, the next frame of a kind that gathers leaves at once.
constexpr std::int64_t kPauseNs = 50'000;
constexpr std::size_t kGoodbyeTextMax = 256;

// Of a counter that only the holder of a lock changes.
void add_one(std::atomic<std::uint64_t>& counter) {
  counter.store(counter.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
}

// What the peer said when it ended the session; its text may reach a terminal.
Status goodbye(std::span<const std::byte> text) {
  if (text.empty() || text.size() > 1 + kGoodbyeTextMax ||
      text[0] > static_cast<std::byte>(Code::kDriver)) {
    return {Code::kMalformed, "a goodbye that cannot be read"};
  }
  std::string why(reinterpret_cast<const char*>(text.data()) + 1, text.size() - 1);
  std::replace_if(
      why.begin(), why.end(), [](char c) { return c < 0x20 || c > 0x7e; }, '?');
  const Status said(static_cast<Code>(text[0]), why);
  return {Code::kClosed, "the peer ended the session: " + said.to_string()};
}

}  // namespace

CallSender::CallSender(Lane& lane, SecureBuffer first, SecureBuffer second)
    : lane_(lane), buffers_{std::move(first), std::move(second)} {}

Result<std::unique_ptr<CallSender>> CallSender::make(Lane& lane) {
  Result<SecureBuffer> first = SecureBuffer::make(limits::kCallRecordBytesMax);
  if (!first.ok()) return first.status();
  Result<SecureBuffer> second = SecureBuffer::make(limits::kCallRecordBytesMax);
  if (!second.ok()) return second.status();
  return std::unique_ptr<CallSender>(
      new CallSender(lane, std::move(first).value(), std::move(second).value()));
}

bool CallSender::append(State& state, wire::FrameHeader& head, Session::Encode encode) {
  std::span<std::byte> room = buffers_[state.fill].bytes().subspan(state.used);
  if (room.size() < sizeof(head)) return false;
  wire::Writer body(room.subspan(sizeof(head)));
  encode(body);
  if (!body.ok() || body.size() > limits::kFrameBodyBytesMax) return false;
  // A reply repeats the number it answers, and a notice answers none: neither is a call.
  if (head.call == 0 && (head.flags & wire::kReply) == 0) {
    head.call = ++state.last_call;
    if (head.call == 0) head.call = ++state.last_call;  // 0 is no call number
  }
  head.body_bytes = static_cast<std::uint32_t>(body.size());
  std::memcpy(room.data(), &head, sizeof(head));
  if (state.used == 0) gathered_.store(true, std::memory_order_relaxed);
  state.used += sizeof(head) + body.size();
  add_one(frames_);
  if (head.flags & wire::kWantsReply) add_one(round_trips_);
  return true;
}

bool CallSender::is_due(State& state, Flush flush, bool was_empty) {
  if (flush == Flush::kNow || !is_on(Switch::kGather) ||
      limits::kCallRecordBytesMax - state.used < limits::kFrameHeaderBytes) {
    return true;
  }
  const std::int64_t now_ns = system_clock().now_ns();
  if (was_empty) state.oldest_ns = now_ns;
  return now_ns - state.oldest_ns > kGatherNs ||
         (flush == Flush::kSoon && now_ns - state.sent_ns > kPauseNs);
}

std::size_t CallSender::take_wire(State& state) {
  const std::size_t bytes = std::exchange(state.used, 0);
  gathered_.store(false, std::memory_order_relaxed);
  state.sent_ns = system_clock().now_ns();
  out_ = std::exchange(state.fill, 1 - state.fill);
  state.sending = true;
  state.flush_wanted = false;
  return bytes;
}

Result<std::uint32_t> CallSender::post(wire::FrameHeader head, Flush flush,
                                       Session::Encode encode) {
  bool appended = false;
  std::size_t to_send = 0;
  {
    Held state = state_.lock();
    if (!state->stopped.ok()) return state->stopped;
    bool was_empty = state->used == 0;
    appended = append(*state, head, encode);
    if (!appended && state->used > 0) {
      // No room behind what has gathered: send that, and start an empty record.
      state.wait(idle_, [](const State& s) { return !s.sending || !s.stopped.ok(); });
      if (!state->stopped.ok()) return state->stopped;
      if (state->used > 0) to_send = take_wire(*state);
      was_empty = state->used == 0;
      appended = append(*state, head, encode);
    }
    if (appended) {
      const bool due = is_due(*state, flush, was_empty);
      if (due && state->sending) state->flush_wanted = true;  // whoever holds the wire sees to it
      if (due && !state->sending) to_send = take_wire(*state);
    }
  }
  if (to_send > 0) {
    if (Status sent = pump(to_send); !sent.ok()) return sent;
  }
  if (!appended) {
    return Status(Code::kOverQuota, "a frame's body must fit into " +
                                        std::to_string(limits::kFrameBodyBytesMax) + " bytes");
  }
  return head.call;
}

Status CallSender::pump(std::size_t bytes) {
  for (;;) {
    Status sent = lane_.send(RecordType::kData, buffers_[out_].bytes().first(bytes));
    Held state = state_.lock();
    if (sent.ok() && state->stopped.ok() && state->flush_wanted && state->used > 0) {
      bytes = take_wire(*state);
      continue;
    }
    state->sending = false;
    idle_.notify_all();
    return sent;
  }
}

Status CallSender::flush() {
  std::size_t to_send = 0;
  {
    Held state = state_.lock();
    if (!state->stopped.ok()) return state->stopped;
    if (state->used == 0) return ok();
    if (state->sending) {
      state->flush_wanted = true;
      return ok();
    }
    to_send = take_wire(*state);
  }
  return pump(to_send);
}

void CallSender::stop(const Status& why) {
  {
    Held state = state_.lock();
    if (!state->stopped.ok()) return;
    state->stopped = why;
    idle_.notify_all();
    if (state->sending) return;  // the wire is someone else's: the peer sees the end without a word
    state->sending = true;       // for good: nothing follows a goodbye
  }
  // What the operating system said is ours to know, and a plain end needs no words.
  if (why.code() == Code::kClosed || why.code() == Code::kSystem || !lane_.can_send()) return;
  std::array<std::byte, 1 + kGoodbyeTextMax> text{};
  text[0] = static_cast<std::byte>(why.code());
  const std::size_t bytes = std::min(why.text().size(), kGoodbyeTextMax);
  std::memcpy(text.data() + 1, why.text().data(), bytes);
  static_cast<void>(lane_.send(RecordType::kGoodbye, std::span(text).first(1 + bytes)));
}

void CallSender::wipe_in_child() {
  wipe(buffers_[0].bytes());
  wipe(buffers_[1].bytes());
}

Result<std::unique_ptr<CallReceiver>> CallReceiver::make(Lane& lane) {
  Result<SecureBuffer> buffer = SecureBuffer::make(limits::kCallRecordBytesMax);
  if (!buffer.ok()) return buffer.status();
  return std::unique_ptr<CallReceiver>(new CallReceiver(lane, std::move(buffer).value()));
}

Status CallReceiver::next_record(Deadline deadline) {
  Result<std::size_t> bytes = lane_.wait_next(deadline);
  if (!bytes.ok()) return bytes.status();
  Result<RecordType> type = lane_.open(buffer_.bytes());
  if (!type.ok()) return type.status();
  if (type.value() == RecordType::kGoodbye) return goodbye(buffer_.bytes().first(bytes.value()));
  if (type.value() != RecordType::kData || bytes.value() == 0) {
    return {Code::kMalformed, "the call lane carries records of frames only"};
  }
  position_ = 0;
  filled_ = bytes.value();
  return ok();
}

Result<Frame> CallReceiver::receive(Deadline deadline) {
  if (position_ == filled_) {
    if (Status got = next_record(deadline); !got.ok()) return got;
  }
  std::span<const std::byte> left = buffer_.bytes().subspan(position_, filled_ - position_);
  Frame frame;
  if (left.size() < sizeof(frame.head)) {
    return Status(Code::kMalformed, "a record ends inside a frame header");
  }
  std::memcpy(&frame.head, left.data(), sizeof(frame.head));
  if (!wire::is_valid(frame.head)) {
    return Status(Code::kMalformed, "impossible frame: " + wire::describe(frame.head));
  }
  left = left.subspan(sizeof(frame.head));
  if (frame.head.body_bytes > left.size()) {
    return Status(Code::kMalformed, "a frame reaches past its record");
  }
  frame.body = left.first(frame.head.body_bytes);
  position_ += sizeof(frame.head) + frame.body.size();
  frames_.fetch_add(1, std::memory_order_relaxed);
  return frame;
}

}  // namespace farcall::link
