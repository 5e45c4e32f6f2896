#include "client_shim/trace.h"

#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>

#include "client_shim/flusher.h"
#include "client_shim/trace_file.h"
#include "transport/base/log.h"

namespace farcall::shim {

struct Trace::Buffer {
  std::array<TraceEvent, limits::kTraceEventsEach> events;
  std::atomic<std::uint32_t> count{0};    // the owner's
  std::atomic<std::uint32_t> dropped{0};  // the owner's; taken by the writer
  std::uint32_t written = 0;              // the writer's
  std::uint32_t thread = 0;
};

struct Trace::ThreadTrace {
  std::unique_ptr<Buffer> buffer;
  SiteCache sites;
};

// Plain pointers, no destructor: calls come after a thread's objects are gone (thread_state.h).
struct Trace::Mine {
  Trace* owner = nullptr;
  ThreadTrace* thread = nullptr;
};

namespace {
constexpr int kFirstPauseMs = 8;
thread_local TracedCall* t_call = nullptr;
}  // namespace

Trace::Mine& Trace::mine() {
  static thread_local Mine mine;
  return mine;
}

Trace::Trace(const std::string& path, const Stats& stats, const Clock& clock)
    : stats_(stats),
      clock_(clock),
      sites_(path.empty() ? nullptr : reinterpret_cast<const void*>(&Trace::mine)) {
  if (path.empty()) return;
  auto opened = open_trace_file(path);
  if (!opened.ok()) {
    FARCALL_LOG_WARN("no trace: %s", opened.status().to_string().c_str());
    return;
  }
  auto file = file_.lock();
  file->fd = std::move(opened).value();
  fd_in_child_.store(file->fd.get());
  file->bytes = sizeof(TraceHeader);
  is_on_.store(true);
}

Trace::~Trace() {
  auto state = state_.lock();
  state->is_ending = true;
  changed_.notify_all();
  state.wait(changed_, [](State& now) { return !now.is_writer_running; });
}

Trace::ThreadTrace* Trace::attach() {
  Mine& here = mine();
  if (here.owner == this) return here.thread;
  auto thread = std::make_unique<ThreadTrace>();
  auto state = state_.lock();
  if (!renew(*state, *thread)) return nullptr;
  here = {this, thread.get()};
  state->threads.push_back(std::move(thread));
  if (!state->is_writer_running && !state->is_ending) {
    auto body = [](void* self) -> void* {
      static_cast<Trace*>(self)->run();
      return nullptr;
    };
    // Without a thread finish() writes what the buffers hold.
    state->is_writer_running = start_quiet_thread(body, this);
  }
  return here.thread;
}

// Puts an empty buffer in the place of a full one, if there is one left.
bool Trace::renew(State& state, ThreadTrace& thread) {
  std::unique_ptr<Buffer> fresh;
  if (!state.free.empty()) {
    fresh = std::move(state.free.back());
    state.free.pop_back();
  } else if (state.buffers < limits::kTraceBuffersMax) {
    fresh = std::make_unique<Buffer>();
    ++state.buffers;
  } else {
    return false;
  }
  fresh->thread = static_cast<std::uint32_t>(::syscall(SYS_gettid));
  if (thread.buffer != nullptr) state.full.push_back(std::move(thread.buffer));
  thread.buffer = std::move(fresh);
  return true;
}

void Trace::add(TraceEvent event, const void* frame) {
  ThreadTrace* thread = attach();
  if (thread == nullptr) {
    homeless_.fetch_add(1, std::memory_order_relaxed);
    return;
  }
  event.site = sites_.find(thread->sites, event.function, frame);
  Buffer* buffer = thread->buffer.get();
  std::uint32_t count = buffer->count.load(std::memory_order_relaxed);
  if (count == buffer->events.size()) {
    auto state = state_.lock();
    if (!renew(*state, *thread)) {
      buffer->dropped.fetch_add(1, std::memory_order_relaxed);
      return;
    }
    changed_.notify_one();
    buffer = thread->buffer.get();
    count = 0;
  }
  buffer->events[count] = event;
  buffer->count.store(count + 1, std::memory_order_release);
}

void Trace::note_opening(std::int64_t start_ns) {
  if (!is_on()) return;
  for (std::uint16_t slot = 0; slot < Stats::kSlots; ++slot) {
    const char* name = stats_.name_of(slot);
    if (name == nullptr || std::strcmp(name, "cuInit") != 0) continue;
    TraceEvent event{};
    event.start_ns = start_ns;
    event.duration_ns = TraceNumber(static_cast<std::uint64_t>(now_ns() - start_ns));
    event.wait_ns = event.duration_ns;
    event.function = slot;
    event.kind = static_cast<std::uint8_t>(CallKind::kAsked);
    event.round_trips = 1;
    return add(event, &event);
  }
}

void Trace::end_thread() {
  Mine& here = mine();
  if (here.owner != this) return;
  auto state = state_.lock();
  auto at = std::find_if(state->threads.begin(), state->threads.end(),
                         [&](const auto& one) { return one.get() == here.thread; });
  if (at != state->threads.end()) {
    state->full.push_back(std::move((*at)->buffer));
    state->threads.erase(at);
  }
  here = {};
}

void Trace::run() {
  // Often at first: a short-lived process that ends by _exit leaves a trace too.
  for (int pause_ms = kFirstPauseMs;; pause_ms = std::min(2 * pause_ms, limits::kTraceFlushMs)) {
    {
      auto state = state_.lock();
      state.wait_for(changed_, pause_ms,
                     [](State& now) { return now.is_ending || !now.full.empty(); });
      if (state->is_ending) {
        state->is_writer_running = false;
        // Under the lock: the trace may be gone as soon as its owner can have it.
        changed_.notify_all();
        return;
      }
    }
    auto file = file_.lock();
    write_out(*file);
  }
}

// Under the file's lock, so that of two nobody recycles what the other still writes.
void Trace::write_out(File& file) {
  std::vector<Piece> pieces;
  std::deque<std::unique_ptr<Buffer>> done;
  {
    auto state = state_.lock();
    auto take = [&](Buffer& buffer) {
      std::uint32_t count = buffer.count.load(std::memory_order_acquire);
      if (count > buffer.written || buffer.dropped.load(std::memory_order_relaxed) != 0) {
        pieces.push_back({&buffer, buffer.written, count});
      }
    };
    done.swap(state->full);
    for (const auto& buffer : done) take(*buffer);
    for (const auto& thread : state->threads) take(*thread->buffer);
  }
  if (pieces.empty()) return;
  // After the events were counted: whatever they refer to has its name by now.
  write_names(file);
  for (const Piece& piece : pieces) write_piece(file, piece);
  auto state = state_.lock();
  for (auto& buffer : done) {
    buffer->count.store(0, std::memory_order_relaxed);
    buffer->written = 0;
    state->free.push_back(std::move(buffer));
  }
}

void Trace::write_names(File& file) {
  for (std::uint32_t slot = 0; slot < Stats::kSlots; ++slot) {
    const char* name = stats_.name_of(slot);
    if (name == nullptr || file.named[slot]) continue;
    file.named[slot] = true;
    TraceName head{slot};
    write_chunk(file, TraceChunkKind::kNames, &head, sizeof head, name);
  }
  CallSites::News news = sites_.news();
  for (std::size_t i = 0; i < news.modules.size(); ++i) {
    TraceModule head{news.first_module + static_cast<std::uint32_t>(i), 0};
    write_chunk(file, TraceChunkKind::kModules, &head, sizeof head, news.modules[i]);
  }
  for (const TraceSite& site : news.sites) {
    write_chunk(file, TraceChunkKind::kSites, &site, sizeof site, {});
  }
}

void Trace::write_piece(File& file, const Piece& piece) {
  Buffer& buffer = *piece.buffer;
  TraceEvents head{buffer.thread, buffer.dropped.exchange(0, std::memory_order_relaxed)};
  const std::size_t bytes = (piece.end - piece.begin) * sizeof(TraceEvent);
  const auto* events = reinterpret_cast<const char*>(buffer.events.data() + piece.begin);
  write_chunk(file, TraceChunkKind::kEvents, &head, sizeof head, {events, bytes});
  buffer.written = piece.end;
}

void Trace::write_chunk(File& file, TraceChunkKind kind, const void* head, std::size_t head_bytes,
                        std::string_view body) {
  if (!file.fd) return;
  auto written =
      append_chunk(file.fd.get(), kind, {static_cast<const char*>(head), head_bytes}, body);
  if (written.ok()) file.bytes += written.value();
  if (written.ok() && file.bytes < limits::kTraceFileBytesMax) return;
  const bool was_on = is_on_.exchange(false);
  if (!written.ok()) {
    FARCALL_LOG_WARN("the trace ends here: %s", written.status().to_string().c_str());
    fd_in_child_.store(-1);
    file.fd.reset();
  } else if (was_on) {
    FARCALL_LOG_WARN("the trace ends here: its file has reached %zu bytes",
                     limits::kTraceFileBytesMax);
  }
}

void Trace::finish(const std::string& report) {
  is_on_.store(false);
  auto file = file_.lock();
  if (!file->fd) return;
  write_out(*file);
  if (TraceEvents lost{0, homeless_.load()}; lost.dropped != 0) {
    write_chunk(*file, TraceChunkKind::kEvents, &lost, sizeof lost, {});
  }
  write_chunk(*file, TraceChunkKind::kReport, nullptr, 0, report);
  fd_in_child_.store(-1);
  file->fd.reset();
  state_.lock()->is_ending = true;
  changed_.notify_all();
}

void Trace::abandon_in_child() {
  is_on_.store(false);
  // By its number: the lock of the file may be held by a thread that the child does not have.
  int fd = fd_in_child_.exchange(-1);
  if (fd >= 0) ::close(fd);
}

// ---- TracedCall ---------------------------------------------------------------------------------

void TracedCall::begin(Trace& trace) {
  if (t_call != nullptr) return;
  trace_ = &trace;
  start_ns_ = trace.now_ns();
  t_call = this;
}

void TracedCall::end() {
  t_call = nullptr;
  if (function_ == kNoFunction || !trace_->is_on()) return;
  TraceEvent event{};
  event.start_ns = start_ns_;
  event.duration_ns = TraceNumber(static_cast<std::uint64_t>(trace_->now_ns() - start_ns_));
  event.wait_ns = TraceNumber(static_cast<std::uint64_t>(wait_ns_));
  event.bytes_out = TraceNumber(bytes_out_);
  event.bytes_in = TraceNumber(bytes_in_);
  event.function = function_;
  event.kind = static_cast<std::uint8_t>(kind_);
  event.round_trips = round_trips_;
  trace_->add(event, this);
}

void TracedCall::note(std::uint16_t function, CallKind kind) {
  if (t_call == nullptr) return;
  if (t_call->function_ == kNoFunction) {
    t_call->function_ = function;
    t_call->kind_ = kind;
  } else if (kind == CallKind::kAsked) {
    t_call->kind_ = kind;
  }
}

void TracedCall::note_wait(std::int64_t ns) {
  if (t_call == nullptr) return;
  t_call->wait_ns_ += ns;
  if (t_call->round_trips_ != UINT8_MAX) ++t_call->round_trips_;
}

void TracedCall::note_bytes(std::uint64_t out, std::uint64_t in) {
  if (t_call == nullptr) return;
  t_call->bytes_out_ += out;
  t_call->bytes_in_ += in;
}

}  // namespace farcall::shim
