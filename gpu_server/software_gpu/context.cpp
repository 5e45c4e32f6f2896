#include "gpu_server/software_gpu/context.h"

#include <algorithm>

#include "gpu_server/software_gpu/driver.h"
#include "transport/base/clock.h"

namespace farcall::softgpu {
namespace {

std::uint64_t next_context_id() {
  static std::atomic<std::uint64_t> last{0};
  return ++last;
}

void add_unfinished(std::vector<CompletionPtr>& list, const CompletionPtr& item) {
  if (item && !item->done()) list.push_back(item);
}

}  // namespace

Context::Context(Device& device, unsigned context_flags, bool primary, Context* home)
    : flags(context_flags),
      device_(device),
      primary_(primary),
      home_(home != nullptr ? *home : *this),
      id_(next_context_id()) {
  legacy_ = std::make_shared<Stream>(*this, StreamKind::kLegacy, 0, home_.fault_);
  reset_settings();
}

void Context::reset_settings() {
  cache_config = CU_FUNC_CACHE_PREFER_NONE;
  shared_config = CU_SHARED_MEM_CONFIG_DEFAULT_BANK_SIZE;
  for (auto& limit : limits) limit = 0;
  limits[CU_LIMIT_STACK_SIZE] = 1024;
  limits[CU_LIMIT_PRINTF_FIFO_SIZE] = std::size_t{1} << 20;
  limits[CU_LIMIT_MALLOC_HEAP_SIZE] = std::size_t{8} << 20;
  limits[CU_LIMIT_DEV_RUNTIME_SYNC_DEPTH] = 2;
  limits[CU_LIMIT_DEV_RUNTIME_PENDING_LAUNCH_COUNT] = 2048;
  limits[CU_LIMIT_MAX_L2_FETCH_GRANULARITY] = 64;
}

CUresult Context::status() const {
  if (!active_.load(std::memory_order_acquire)) return CUDA_ERROR_CONTEXT_IS_DESTROYED;
  if (is_view()) return home_.status();
  return static_cast<CUresult>(fault_.load(std::memory_order_acquire));
}

void Context::poison(CUresult fault) {
  int none = CUDA_SUCCESS;
  home_.fault_.compare_exchange_strong(none, fault);
}

void Context::clear() {
  synchronize();
  active_ = false;
  ++generation_;
  for (const auto& capture : captures(false)) {
    // One that began elsewhere has lost work; who began it is told so at its end.
    if (capture->began_in(*this)) {
      abandon(*capture);
    } else {
      capture->invalidate();
    }
  }
  drop_objects_of(*this);
  {
    std::lock_guard lock(order_);
    streams_.clear();
    orphans_.clear();
  }
  forget_peers();
  reset_settings();
  fault_ = CUDA_SUCCESS;
}

CUresult Context::enable_peer(const Context& peer) {
  const Memory& theirs = peer.device().memory();
  const bool is_new =
      peers_.lock()->emplace(PeerName{peer.id(), peer.generation()}, &theirs).second;
  if (!is_new) return CUDA_ERROR_PEER_ACCESS_ALREADY_ENABLED;
  device_.memory().allow(theirs);
  return CUDA_SUCCESS;
}

CUresult Context::disable_peer(const Context& peer) {
  if (peers_.lock()->erase(PeerName{peer.id(), peer.generation()}) == 0) {
    return CUDA_ERROR_PEER_ACCESS_NOT_ENABLED;
  }
  synchronize();  // kernels at work may still touch it
  device_.memory().deny(peer.device().memory());
  return CUDA_SUCCESS;
}

void Context::forget_peers() {
  std::map<PeerName, const Memory*> forgotten;
  forgotten.swap(*peers_.lock());
  for (const auto& [name, memory] : forgotten) device_.memory().deny(*memory);
}

std::shared_ptr<Stream> Context::open_stream(StreamKind kind, int priority) {
  auto stream = std::make_shared<Stream>(*this, kind, priority, home_.fault_);
  std::lock_guard lock(order_);
  streams_.push_back(stream);
  return stream;
}

void Context::close_stream(const std::shared_ptr<Stream>& stream) {
  std::lock_guard lock(order_);
  std::erase_if(orphans_, [](const CompletionPtr& tail) { return tail->done(); });
  add_unfinished(orphans_, stream->tail());
  std::erase(streams_, stream);
}

std::vector<CompletionPtr> Context::turn_of(const Stream& stream) const {
  std::vector<CompletionPtr> earlier;
  if (stream.kind() == StreamKind::kLegacy) {
    for (const auto& other : streams_) {
      if (other->kind() == StreamKind::kBlocking) add_unfinished(earlier, other->tail());
    }
    for (const CompletionPtr& tail : orphans_) add_unfinished(earlier, tail);
  } else if (stream.kind() == StreamKind::kBlocking) {
    add_unfinished(earlier, legacy_->tail());
  }
  return earlier;
}

CompletionPtr Context::push(Stream& stream, Work work, const CompletionPtr& also) {
  stream.await_room();
  auto done = std::make_shared<Completion>();
  {
    std::lock_guard lock(order_);
    Task task{turn_of(stream), std::move(work), done};
    add_unfinished(task.after, also);
    if (task.work.effort == Effort::kLong || !task.after.empty() || !stream.idle()) {
      stream.push(std::move(task));
      return done;
    }
    stream.claim(done);
    work = std::move(task.work);
  }
  carry_out(std::move(work), *done, home_.fault_);
  return done;
}

CompletionPtr Context::submit(Stream& stream, Work work) {
  return push(stream, std::move(work), nullptr);
}

void Context::submit_after(Stream& stream, const CompletionPtr& event) {
  if (event && !event->done()) push(stream, {}, event);
}

CompletionPtr Context::mark(Stream& stream) {
  stream.await_room();
  auto done = std::make_shared<Completion>();
  std::lock_guard lock(order_);
  std::vector<CompletionPtr> earlier = turn_of(stream);
  if (earlier.empty() && stream.idle()) {
    done->finish(system_clock().now_ns());
  } else {
    stream.push(Task{std::move(earlier), {}, done});
  }
  return done;
}

void Context::wait_turn(Stream& stream) {
  std::vector<CompletionPtr> earlier;
  {
    std::lock_guard lock(order_);
    earlier = turn_of(stream);
    add_unfinished(earlier, stream.tail());
  }
  for (const CompletionPtr& item : earlier) item->wait();
}

bool Context::idle(Stream& stream) {
  std::lock_guard lock(order_);
  return stream.idle() && turn_of(stream).empty();
}

std::vector<CompletionPtr> Context::all_tails() {
  std::vector<CompletionPtr> tails;
  std::lock_guard lock(order_);
  add_unfinished(tails, legacy_->tail());
  for (const auto& stream : streams_) add_unfinished(tails, stream->tail());
  for (const CompletionPtr& tail : orphans_) add_unfinished(tails, tail);
  return tails;
}

void Context::all_wait_for(Event& event) {
  std::vector<std::shared_ptr<Stream>> streams;
  {
    std::lock_guard lock(order_);
    streams = streams_;
  }
  streams.push_back(legacy_);
  for (const CompletionPtr& point : event.points()) {
    for (const auto& stream : streams) submit_after(*stream, point);
  }
}

std::vector<std::shared_ptr<Capture>> Context::captures(bool blocking) {
  std::vector<std::shared_ptr<Capture>> found;
  std::lock_guard lock(order_);
  for (const auto& stream : streams_) {
    if (stream->capture == nullptr) continue;
    if (!blocking || stream->kind() == StreamKind::kBlocking) found.push_back(stream->capture);
  }
  return found;
}

void Context::end_capture(const Capture& capture) {
  std::lock_guard lock(order_);
  for (const auto& stream : streams_) {
    if (stream->capture.get() != &capture) continue;
    stream->in_capture.store(false, std::memory_order_release);
    stream->capture.reset();
  }
}

void Context::synchronize() {
  for (const CompletionPtr& tail : all_tails()) tail->wait();
}

}  // namespace farcall::softgpu
