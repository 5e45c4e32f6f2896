#include "gpu_server/launch_gate.h"

#include <unistd.h>

#include <algorithm>

#include "transport/base/check.h"
#include "transport/base/clock.h"
#include "transport/base/limits_share.h"

namespace farcall::server {
namespace {

std::atomic<LaunchGate*> g_one{nullptr};

// A doorbell that was lost, or a supervisor that was busy: ring again.
constexpr std::int64_t kRingAgainNs = 1'000'000'000;

// Looking at events must not spoil a capture of the client's, which our own work has no part in.
class Relaxed {
 public:
  explicit Relaxed(const api::Driver& driver) : driver_(driver) { exchange(); }
  ~Relaxed() { exchange(); }
  Relaxed(const Relaxed&) = delete;
  Relaxed& operator=(const Relaxed&) = delete;

 private:
  void exchange() {
    if (driver_.cuThreadExchangeStreamCaptureMode == nullptr) return;
    (void)driver_.cuThreadExchangeStreamCaptureMode(&mode_);
  }
  const api::Driver& driver_;
  CUstreamCaptureMode mode_ = CU_STREAM_CAPTURE_MODE_RELAXED;
};

// Never 0, which is a device without a name.
std::uint64_t name_of_device(const api::Driver& driver, int device) {
  CUuuid uuid{};
  if (driver.cuDeviceGetUuid_v2 == nullptr ||
      driver.cuDeviceGetUuid_v2(&uuid, device) != CUDA_SUCCESS) {
    return static_cast<std::uint64_t>(device) + 1;
  }
  std::uint64_t name = 0xcbf2'9ce4'8422'2325;  // FNV-1a
  for (char each : uuid.bytes) {
    name = (name ^ static_cast<unsigned char>(each)) * 0x100'0000'01b3;
  }
  return name == 0 ? 1 : name;
}

}  // namespace

// What a thread launched on last, where it found the device open.
struct LaunchGate::Last {
  const LaunchGate* gate = nullptr;
  std::uint64_t generation = 0;
  CUstream stream = nullptr;
  CUcontext context = nullptr;
  const std::atomic<std::uint32_t>* turn = nullptr;
};

LaunchGate::LaunchGate(const api::Driver& real, Ledger& ledger, Fd doorbell)
    : real_(real),
      gated_(gated(real)),
      words_(ledger.turns()),
      slot_(ledger.slot()),
      doorbell_(std::move(doorbell)) {
  ++generation_;
  LaunchGate* none = nullptr;
  FARCALL_CHECK(g_one.compare_exchange_strong(none, this));
}

LaunchGate::~LaunchGate() {
  stops_ = true;
  words_.wake();
  for (Lane& lane : lanes_) {
    if (lane.helper.joinable()) lane.helper.join();
  }
  g_one = nullptr;
}

LaunchGate& LaunchGate::get() { return *g_one.load(std::memory_order_relaxed); }

void LaunchGate::ring() const {
  const std::uint64_t one = 1;
  (void)!::write(doorbell_.get(), &one, sizeof one);
}

bool LaunchGate::is_capturing(CUstream stream) const {
  CUstreamCaptureStatus status = CU_STREAM_CAPTURE_STATUS_NONE;
  if (real_.cuStreamIsCapturing == nullptr) return false;
  const CUresult asked = real_.cuStreamIsCapturing(stream, &status);
  return asked != CUDA_SUCCESS || status != CU_STREAM_CAPTURE_STATUS_NONE;
}

bool LaunchGate::enter(CUstream stream) {
  thread_local Last last;
  CUcontext context = nullptr;
  if (real_.cuCtxGetCurrent != nullptr) (void)real_.cuCtxGetCurrent(&context);
  const bool is_same = last.gate == this && last.stream == stream && last.context == context &&
                       last.generation == generation_.load(std::memory_order_relaxed);
  if (is_same && turn_of(last.turn->load(std::memory_order_relaxed)) == Turn::kOpen) return false;
  last.gate = nullptr;
  return context != nullptr && enter_slowly({stream, context, -1}, &last);
}

bool LaunchGate::enter_slowly(const Used& launch, Last* last) {
  CUdevice device = -1;
  if (real_.cuCtxGetDevice == nullptr || real_.cuCtxGetDevice(&device) != CUDA_SUCCESS)
    return false;
  if (device < 0 || device >= static_cast<int>(lanes_.size())) return false;
  if (is_capturing(launch.stream)) return false;
  start(device);
  Lane& lane = lanes_[static_cast<std::size_t>(device)];
  const std::uint64_t generation = generation_;
  {
    auto streams = streams_.lock();
    auto known = std::find_if(streams->used.begin(), streams->used.end(), [&](const Used& each) {
      return each.stream == launch.stream && each.context == launch.context;
    });
    if (known == streams->used.end() && streams->used.size() < limits::kShareStreamsMax) {
      streams->used.push_back({launch.stream, launch.context, device});
    }
  }
  ++lane.waiting;
  await_turn(device);
  const std::atomic<std::uint32_t>& turn = words_.turns[device];
  const bool is_open = turn_of(turn) == Turn::kOpen;
  if (!is_open) ++lane.launches;
  --lane.waiting;
  if (is_open) *last = {this, generation, launch.stream, launch.context, &turn};
  return !is_open;
}

void LaunchGate::await_turn(int device) {
  Lane& lane = lanes_[static_cast<std::size_t>(device)];
  // The device's helper may have gone to sleep over a turn that nobody wanted.
  if (cell(device).is_in.exchange(1) == 0) words_.wake();
  for (;;) {
    const std::uint32_t seen = words_.changes;
    const Turn turn = turn_of(words_.turns[device]);
    if (turn == Turn::kOpen) return;
    if (turn == Turn::kTurn && has_room(lane)) return;
    if (turn == Turn::kTurn) continue;
    ring();
    words_.await_change(seen, kRingAgainNs);
  }
}

// A device is named, and has its helper, from the first launch on.
void LaunchGate::start(int device) {
  Lane& lane = lanes_[static_cast<std::size_t>(device)];
  if (lane.is_known.load(std::memory_order_acquire)) return;
  auto alone = streams_.lock();
  if (lane.is_known) return;
  words_.devices[device] = name_of_device(real_, device);
  lane.helper = std::thread([this, device] { help(device); });
  lane.is_known.store(true, std::memory_order_release);
}

bool LaunchGate::has_room(Lane& lane) {
  const Relaxed relaxed(real_);
  const Lock waits(waits_);
  Behind oldest;
  {
    auto window = lane.window.lock();
    if (window->under_way.size() < window->most) return true;
    window->was_full = true;
    oldest = window->under_way.front();
    window->under_way.pop_front();
  }
  (void)real_.cuEventSynchronize(oldest.event);
  give_back(oldest);
  return false;
}

void LaunchGate::launched(CUstream stream) {
  Used where{stream, nullptr, -1};
  if (real_.cuCtxGetCurrent(&where.context) != CUDA_SUCCESS ||
      real_.cuCtxGetDevice(&where.device) != CUDA_SUCCESS || is_capturing(stream)) {
    return;
  }
  std::optional<Behind> behind;
  {
    auto streams = streams_.lock();
    behind = record(*streams, where);
  }
  if (behind)
    lanes_[static_cast<std::size_t>(where.device)].window.lock()->under_way.push_back(*behind);
  // The turn may have been given back between its being seen and the launch.
  if (cell(where.device).is_in.exchange(1) != 0) return;
  words_.wake();
  ring();
}

// With the stream's context current. Under the lock, so that the stream is there.
std::optional<LaunchGate::Behind> LaunchGate::record(Streams& streams, const Used& where) {
  std::vector<CUevent>& spare = streams.spare[where.context];
  Behind behind{nullptr, where.context};
  if (!spare.empty()) {
    behind.event = spare.back();
    spare.pop_back();
  } else if (real_.cuEventCreate(&behind.event, CU_EVENT_DISABLE_TIMING | CU_EVENT_BLOCKING_SYNC) !=
             CUDA_SUCCESS) {
    return std::nullopt;
  }
  if (real_.cuEventRecord(behind.event, where.stream) == CUDA_SUCCESS) return behind;
  spare.push_back(behind.event);
  return std::nullopt;
}

// Events of a context that has ended went with it.
void LaunchGate::give_back(const Behind& behind) {
  auto streams = streams_.lock();
  auto found = streams->spare.find(behind.context);
  if (found != streams->spare.end()) found->second.push_back(behind.event);
}

template <class Which>
void LaunchGate::forget(Which which) {
  auto streams = streams_.lock();
  std::erase_if(streams->used, which);
  ++generation_;
}

void LaunchGate::forget_stream(CUstream stream) {
  forget([&](const Used& each) { return each.stream == stream; });
}

void LaunchGate::forget_context(CUcontext context) {
  const Lock waits(waits_);
  forget([&](const Used& each) { return each.context == context; });
  for (Lane& lane : lanes_) {
    auto window = lane.window.lock();
    std::erase_if(window->under_way, [&](const Behind& each) { return each.context == context; });
  }
  streams_.lock()->spare.erase(context);
}

void LaunchGate::forget_device(int device) {
  std::vector<CUcontext> contexts;
  {
    auto streams = streams_.lock();
    for (const Used& each : streams->used) {
      if (each.device == device) contexts.push_back(each.context);
    }
  }
  for (CUcontext context : contexts) forget_context(context);
}

void LaunchGate::forget_all() {
  for (int device = 0; device < static_cast<int>(lanes_.size()); ++device) forget_device(device);
}

// --- a device's helper
// ----------------------------------------------------------------------------

void LaunchGate::help(int device) {
  const Relaxed relaxed(real_);
  Lane& lane = lanes_[static_cast<std::size_t>(device)];
  std::uint64_t launches = 0;
  while (!stops_) {
    const std::uint32_t seen = words_.changes;
    const std::uint32_t turn = words_.turns[device];
    const bool is_in = cell(device).is_in != 0;
    if (turn_of(turn) == Turn::kShut && is_in && cell(device).done != turn) finish(device, turn);
    const bool has_turn = turn_of(turn) == Turn::kTurn && is_in;
    if (has_turn && is_idle(lane, launches)) rest(device), ring();
    launches = lane.launches;
    words_.await_change(seen, has_turn ? limits::kShareIdleNs : -1);
  }
}

void LaunchGate::finish(int device, std::uint32_t turn) {
  const std::int64_t start_ns = system_clock().now_ns();
  drain(device);
  fit_window(lanes_[static_cast<std::size_t>(device)], system_clock().now_ns() - start_ns);
  rest(device);
  cell(device).done = turn;
  ring();
}

void LaunchGate::drain(int device) {
  const Lock waits(waits_);
  std::vector<Behind> left;
  {
    auto streams = streams_.lock();
    for (const Used& each : streams->used) {
      if (each.device != device || real_.cuCtxSetCurrent(each.context) != CUDA_SUCCESS) continue;
      if (is_capturing(each.stream)) continue;
      if (auto behind = record(*streams, each)) left.push_back(*behind);
    }
  }
  for (const Behind& each : left) {
    (void)real_.cuEventSynchronize(each.event);
    give_back(each);
  }
  if (real_.cuCtxSetCurrent != nullptr) (void)real_.cuCtxSetCurrent(nullptr);
}

void LaunchGate::fit_window(Lane& lane, std::int64_t tail_ns) {
  auto window = lane.window.lock();
  if (tail_ns > limits::kShareTailNs) {
    window->most = std::max(window->most / 2, 1U);
  } else if (tail_ns < limits::kShareTailNs / 4 && window->was_full) {
    window->most = std::min(window->most * 2, limits::kShareWindowMax);
  }
  window->was_full = false;
}

bool LaunchGate::is_idle(Lane& lane, std::uint64_t launches) {
  if (lane.launches != launches || lane.waiting != 0) return false;
  const Lock waits(waits_);
  for (;;) {
    Behind oldest;
    {
      auto window = lane.window.lock();
      if (window->under_way.empty()) return lane.launches == launches;
      oldest = window->under_way.front();
      if (real_.cuEventQuery(oldest.event) == CUDA_ERROR_NOT_READY) return false;
      window->under_way.pop_front();
    }
    give_back(oldest);
  }
}

void LaunchGate::rest(int device) {
  Lane& lane = lanes_[static_cast<std::size_t>(device)];
  if (lane.waiting != 0) return;
  cell(device).is_in = 0;
  ++generation_;
  if (lane.waiting != 0) cell(device).is_in = 1;
}

}  // namespace farcall::server
