#include "gpu_server/late_copies.h"

#include <algorithm>
#include <cstring>
#include <ctime>
#include <system_error>
#include <utility>

#include "transport/api/hand.h"
#include "transport/api/rows.h"
#include "transport/base/log.h"
#include "transport/link/session.h"
#include "transport/wire/reader.h"

namespace farcall::server {
namespace {

// How long the thread sleeps between two looks, while there is something to look for.
constexpr long kNapNsMin = 50'000;
constexpr long kNapNsMax = 1'000'000;
// It keeps looking for so many naps when there is nothing, so that a program that copies and waits
// in a loop does not wake it each time.
constexpr int kIdleNaps = 20;

// Makes contexts current on this thread, and in the end the one that was.
class CurrentContext {
 public:
  explicit CurrentContext(const Driver& driver) : driver_(driver) {
    if (driver_.cuCtxGetCurrent != nullptr) (void)driver_.cuCtxGetCurrent(&before_);
    now_ = before_;
  }
  ~CurrentContext() { set(before_); }
  CurrentContext(const CurrentContext&) = delete;
  CurrentContext& operator=(const CurrentContext&) = delete;
  void set(CUcontext context) {
    if (context == now_ || driver_.cuCtxGetCurrent == nullptr || !driver_.cuCtxSetCurrent) return;
    if (driver_.cuCtxSetCurrent(context) == CUDA_SUCCESS) now_ = context;
  }
  CUcontext before() const { return before_; }

 private:
  const Driver& driver_;
  CUcontext before_ = nullptr;
  CUcontext now_ = nullptr;
};

bool has_events(const Driver& driver) {
  return driver.cuEventCreate && driver.cuEventRecord && driver.cuEventQuery &&
         driver.cuEventSynchronize;
}

}  // namespace

LateCopies::LateCopies(const Driver& driver, link::Session& link)
    : driver_(driver), link_(link), staging_(driver) {}

LateCopies::~LateCopies() { stop(); }

CUevent LateCopies::take_event(CUcontext context) {
  {
    auto state = state_.lock();
    auto& events = state->events;
    auto found = std::find_if(events.begin(), events.end(),
                              [&](const IdleEvent& idle) { return idle.context == context; });
    if (found != events.end()) {
      CUevent event = found->event;
      events.erase(found);
      return event;
    }
  }
  CUevent event = nullptr;
  if (!has_events(driver_)) return nullptr;
  return driver_.cuEventCreate(&event, CU_EVENT_DISABLE_TIMING) == CUDA_SUCCESS ? event : nullptr;
}

// Finds out when all that is in the stream now has been done: by an event, or else by waiting.
void LateCopies::mark_end(CUstream stream, Copy& copy) {
  copy.event = take_event(copy.context);
  if (copy.event != nullptr) {
    if (driver_.cuEventRecord(copy.event, stream) == CUDA_SUCCESS) return;
    // The stream may be of another context than the current one.
    state_.lock()->events.push_back({copy.context, std::exchange(copy.event, nullptr)});
  }
  CUresult waited = driver_.cuStreamSynchronize != nullptr ? driver_.cuStreamSynchronize(stream)
                                                           : CUDA_ERROR_NOT_SUPPORTED;
  if (copy.status == CUDA_SUCCESS) copy.status = waited;
  copy.complete = true;
}

CUresult LateCopies::enqueue(const Request& request, Copy& copy) {
  if (driver_.cuMemcpyDtoHAsync_v2 == nullptr) return CUDA_ERROR_NOT_SUPPORTED;
  if (driver_.cuCtxGetCurrent != nullptr) (void)driver_.cuCtxGetCurrent(&copy.context);
  CUresult done = staging_.take(LateStaging::Use::kCopy, request.bytes, copy.context, &copy.pieces);
  CUdeviceptr from = request.from;
  for (const LateStaging::Piece& piece : copy.pieces) {
    done =
        driver_.cuMemcpyDtoHAsync_v2(piece.bytes.data(), from, piece.bytes.size(), request.stream);
    if (done != CUDA_SUCCESS) break;
    from += piece.bytes.size();
  }
  copy.status = done;
  // Also after a failure: an earlier piece may be on its way into staging.
  if (copy.pieces.empty() || (done != CUDA_SUCCESS && from == request.from)) {
    copy.complete = true;
  } else {
    mark_end(request.stream, copy);
  }
  return copy.status;
}

CUresult LateCopies::start(const Request& request) {
  Copy copy;
  copy.landing = request.landing;
  copy.bytes = request.bytes;
  CUresult done = enqueue(request, copy);
  append(std::move(copy));
  return done;
}

void LateCopies::call_off(std::uint64_t landing, CUresult why) {
  if (is_full()) return;
  Copy copy;
  copy.landing = landing;
  copy.status = why;
  copy.complete = true;
  append(std::move(copy));
}

void LateCopies::refuse(const wire::FrameHeader& head, std::span<const std::byte> body,
                        CUresult why) {
  if (head.id != api::row::cuMemcpyDtoHAsync_v2::info().id) return;
  wire::Reader in(body);
  auto copy = in.get<api::hand::CopyFromDevice>();
  if (!in.failed() && copy.landing != 0) call_off(copy.landing, why);
}

void LateCopies::append(Copy copy) {
  outstanding_.fetch_add(1, std::memory_order_release);
  if (copy.landing != 0) landings_.fetch_add(1, std::memory_order_relaxed);
  auto state = state_.lock();
  state->copies.push_back(std::move(copy));
  if (state->parked) changed_.notify_one();
  if (state->started || state->stop) return;
  state->started = true;
  try {
    watcher_ = std::thread([this] { watch(); });
  } catch (const std::system_error&) {
    // Then only replies bring the bytes, which is all that a program may count on.
    FARCALL_LOG_WARN("no thread to look after copies to page-locked memory");
  }
}

void LateCopies::watch() {
  long nap_ns = kNapNsMin;
  for (int idle = 0;;) {
    {
      auto state = state_.lock();
      idle = state->copies.empty() ? idle + 1 : 0;
      if (idle > kIdleNaps) {
        state->parked = true;
        state.wait(changed_, [](State& now) { return now.stop || !now.copies.empty(); });
        state->parked = false;
        nap_ns = kNapNsMin;
        idle = 0;
      }
      if (state->stop) return;
    }
    timespec nap{0, nap_ns};
    ::clock_nanosleep(CLOCK_MONOTONIC, 0, &nap, nullptr);
    bool sent = outstanding_.load(std::memory_order_acquire) > 0 && send_all_complete();
    nap_ns = sent ? kNapNsMin : std::min(2 * nap_ns, kNapNsMax);
  }
}

// From the youngest to the oldest: once a copy is found complete, everything it depended on will be
// found complete too.
void LateCopies::mark_complete() {
  std::vector<Copy*> asked;
  {
    auto state = state_.lock();
    for (Copy& copy : state->copies) {
      if (!copy.complete) asked.push_back(&copy);
    }
  }
  // Nobody but us, who hold sending_, changes or removes what is in the list.
  CurrentContext current(driver_);
  for (auto each = asked.rbegin(); each != asked.rend(); ++each) {
    Copy& copy = **each;
    current.set(copy.context);
    CUresult now = driver_.cuEventQuery(copy.event);
    if (now == CUDA_ERROR_NOT_READY) continue;
    if (copy.status == CUDA_SUCCESS) copy.status = now;
    copy.complete = true;
  }
}

bool LateCopies::send_all_complete() {
  Lock turn(sending_);
  mark_complete();
  std::list<Copy> leaving;
  {
    auto state = state_.lock();
    for (auto at = state->copies.begin(); at != state->copies.end();) {
      auto next = std::next(at);
      if (at->complete) leaving.splice(leaving.end(), state->copies, at);
      at = next;
    }
  }
  for (const Copy& copy : leaving) {
    if (copy.landing != 0) send(copy);
    retire(copy);
  }
  return !leaving.empty();
}

// A link that is closed wants no bytes; whoever receives from it learns of that.
void LateCopies::send(const Copy& copy) {
  bool fine = copy.status == CUDA_SUCCESS;
  std::uint64_t bytes = fine ? copy.bytes : 0;
  if (facts_ != nullptr) facts_->count(Tally::kBytesOut, bytes);
  bool is_inline = bytes <= limits::kInlineCopyBytesMax;
  wire::FrameHeader head{.id = api::row::copy_landed::info().id, .flags = wire::kReply};
  auto encode = [&](wire::Writer& out) {
    out.put(static_cast<std::uint32_t>(copy.status));
    out.put(bytes);
    out.put(api::hand::CopyLanded{copy.landing});
    if (!fine || !is_inline) return;
    for (const auto& piece : copy.pieces) out.bytes(piece.bytes.data(), piece.bytes.size());
  };
  if (is_inline) {
    (void)link_.post(head, link::Flush::kNow, encode);
    return;
  }
  if (copy.pieces.size() == 1) {
    (void)link_.post_bulk(head, encode, copy.pieces[0].bytes);
    return;
  }
  std::size_t piece = 0;
  std::size_t at = 0;
  auto fill = [&](std::span<std::byte> room) -> Status {
    while (!room.empty()) {
      auto from = copy.pieces[piece].bytes.subspan(at);
      std::size_t count = std::min(from.size(), room.size());
      std::memcpy(room.data(), from.data(), count);
      room = room.subspan(count);
      at += count;
      if (at == copy.pieces[piece].bytes.size()) {
        ++piece;
        at = 0;
      }
    }
    return ok();
  };
  (void)link_.post_bulk_from(head, encode, bytes, fill);
}

bool LateCopies::lend(std::size_t bytes, Loan* loan) {
  if (!has_events(driver_)) return false;
  if (driver_.cuCtxGetCurrent != nullptr) (void)driver_.cuCtxGetCurrent(&loan->context);
  if (staging_.take(LateStaging::Use::kLoan, bytes, loan->context, &loan->pieces) != CUDA_SUCCESS) {
    return false;
  }
  if (loan->pieces.size() == 1) loan->event = take_event(loan->context);
  if (loan->event != nullptr) return true;
  staging_.give_back(loan->pieces);
  return false;
}

CUresult LateCopies::mark(const Loan& loan, CUstream stream) {
  return driver_.cuEventRecord(loan.event, stream);
}

CUresult LateCopies::wait(const Loan& loan) { return driver_.cuEventSynchronize(loan.event); }

void LateCopies::take_back(const Loan& loan) {
  staging_.give_back(loan.pieces);
  state_.lock()->events.push_back({loan.context, loan.event});
}

void LateCopies::take_back_later(Loan loan) {
  Copy copy;
  copy.context = loan.context;
  copy.event = loan.event;
  copy.pieces = std::move(loan.pieces);
  append(std::move(copy));
}

void LateCopies::retire(const Copy& copy) {
  staging_.give_back(copy.pieces);
  if (copy.event != nullptr) state_.lock()->events.push_back({copy.context, copy.event});
  if (copy.landing != 0) landings_.fetch_sub(1, std::memory_order_relaxed);
  outstanding_.fetch_sub(1, std::memory_order_release);
}

// null: all contexts
void LateCopies::wait_for(CUcontext context) {
  std::vector<IdleEvent> waits;
  {
    auto state = state_.lock();
    for (const Copy& copy : state->copies) {
      if (copy.event == nullptr || (context != nullptr && copy.context != context)) continue;
      waits.push_back({copy.context, copy.event});
    }
  }
  CurrentContext current(driver_);
  for (const IdleEvent& wait : waits) {
    current.set(wait.context);
    (void)driver_.cuEventSynchronize(wait.event);
  }
}

void LateCopies::settle(CUcontext context) {
  if (context == nullptr) return;
  wait_for(context);
  send_complete();
  CurrentContext current(driver_);
  current.set(context);
  std::vector<IdleEvent> gone;
  {
    auto state = state_.lock();
    auto& events = state->events;
    auto mine = std::stable_partition(events.begin(), events.end(), [&](const IdleEvent& idle) {
      return idle.context != context;
    });
    gone.assign(mine, events.end());
    events.erase(mine, events.end());
  }
  for (const IdleEvent& idle : gone) {
    if (driver_.cuEventDestroy_v2 != nullptr) (void)driver_.cuEventDestroy_v2(idle.event);
  }
  staging_.leave(context);
}

void LateCopies::stop() {
  {
    auto state = state_.lock();
    state->stop = true;
    changed_.notify_one();
  }
  if (watcher_.joinable()) watcher_.join();
  wait_for(nullptr);
  std::vector<CUcontext> contexts;
  {
    auto state = state_.lock();
    for (const Copy& copy : state->copies) {
      if (copy.event != nullptr) state->events.push_back({copy.context, copy.event});
    }
    state->copies.clear();
    for (const IdleEvent& idle : state->events) contexts.push_back(idle.context);
  }
  landings_.store(0, std::memory_order_relaxed);
  outstanding_.store(0, std::memory_order_release);
  for (CUcontext context : contexts) settle(context);
}

}  // namespace farcall::server
