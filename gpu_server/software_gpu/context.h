// Context: one CUDA context: its streams, the order between them, and its fate after a fault.
//
//   CompletionPtr done = context.submit(*stream, {[] { … }});   // asynchronous calls
//   context.wait_turn(*stream); copy();                         // synchronous ones
//
// The primary context of a device is one object for ever, active while somebody retains it: cudart
// makes it current before it retains it. A context that cuCtxDestroy ended stays as an empty shell
// for as long as some thread's stack still names it.
// Owner: the driver state, by shared_ptr.  Threads: any.
// Lock order: order lock → a stream's queue, the list of contexts of a capture; nothing else is
// taken under the order lock.
#pragma once
#include <atomic>
#include <map>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "gpu_server/software_gpu/stream.h"
#include "transport/base/guarded.h"
#include "transport/cuda/cuda_abi.h"

namespace farcall::softgpu {

class Device;
class Event;
class Memory;

class Context : public std::enable_shared_from_this<Context> {
 public:
  // home: for the view that a green context has of it, a primary context: objects and faults are
  // the primary's, streams the view's own. Null: it is nobody's view.
  Context(Device& device, unsigned flags, bool primary, Context* home = nullptr);
  Context(const Context&) = delete;
  Context& operator=(const Context&) = delete;

  Device& device() const { return device_; }
  bool is_primary() const { return primary_; }
  bool is_view() const { return &home_ != this; }
  // Whose objects are made under it.
  Context& home() const { return home_; }
  CUcontext handle() { return reinterpret_cast<CUcontext>(this); }
  std::uint64_t id() const { return id_; }
  // Counts clear() calls: a stream of an earlier generation is dead.
  std::uint64_t generation() const { return generation_.load(); }

  // CUDA_SUCCESS, CUDA_ERROR_CONTEXT_IS_DESTROYED, or the fault that every call must report.
  CUresult status() const;
  // Keeps the first fault; later work is skipped until the context is reset.
  void poison(CUresult fault);
  void activate() { active_.store(true); }
  bool active() const { return active_.load(); }

  // Waits for all work, then drops everything the context owns: handles, memory, fault, settings.
  // It stays usable afterwards when it is activated again.
  void clear();

  const std::shared_ptr<Stream>& legacy() const { return legacy_; }
  std::shared_ptr<Stream> open_stream(StreamKind kind, int priority);
  // Work already queued still runs.
  void close_stream(const std::shared_ptr<Stream>& stream);

  // Queues work behind everything CUDA says must come first. What is brief and has nothing before
  // it is done by the calling thread instead.
  CompletionPtr submit(Stream& stream, Work work);
  // Makes all later work of `stream` wait for `event` as well.
  void submit_after(Stream& stream, const CompletionPtr& event);
  // A mark behind everything queued so far; done at once when nothing is.
  CompletionPtr mark(Stream& stream);
  // Returns once a synchronous operation on `stream` may run on the calling thread.
  void wait_turn(Stream& stream);
  bool idle(Stream& stream);
  // Waits for every stream.
  void synchronize();
  // Takes every stream out of a capture that ends.
  void end_capture(const Capture& capture);
  // The captures that its streams take part in; blocking: that a blocking one does.
  std::vector<std::shared_ptr<Capture>> captures(bool blocking);
  // What every stream does from here on waits for `event`.
  void all_wait_for(Event& event);
  // Covers every stream; for events that record a whole context.
  std::vector<CompletionPtr> all_tails();

  // Settings that change nothing here but must read back as they were set.
  std::atomic<unsigned> flags;
  std::atomic<int> cache_config{CU_FUNC_CACHE_PREFER_NONE};
  std::atomic<int> shared_config{CU_SHARED_MEM_CONFIG_DEFAULT_BANK_SIZE};
  std::atomic<std::size_t> limits[CU_LIMIT_MAX];

  // Peer access: kernels of this context's device may touch what the peer's programs allocate.
  // CUDA_ERROR_PEER_ACCESS_ALREADY_ENABLED, CUDA_ERROR_PEER_ACCESS_NOT_ENABLED.
  CUresult enable_peer(const Context& peer);
  CUresult disable_peer(const Context& peer);

  std::mutex& order() { return order_; }  // guards Stream::capture as well

 private:
  void reset_settings();
  std::vector<CompletionPtr> turn_of(const Stream& stream) const;  // order lock held
  CompletionPtr push(Stream& stream, Work work, const CompletionPtr& also);

  Device& device_;
  const bool primary_;
  Context& home_;
  const std::uint64_t id_;
  std::atomic<bool> active_{false};
  std::atomic<std::uint64_t> generation_{0};
  std::atomic<int> fault_{CUDA_SUCCESS};
  mutable std::mutex order_;
  std::shared_ptr<Stream> legacy_;
  std::vector<std::shared_ptr<Stream>> streams_;  // all but the legacy one
  void forget_peers();
  // What a peer context was when access to it was enabled, and its device's memory.
  using PeerName = std::pair<std::uint64_t, std::uint64_t>;  // id, generation
  Guarded<std::map<PeerName, const Memory*>> peers_;
  std::vector<CompletionPtr> orphans_;  // tails of closed streams still at work
};

}  // namespace farcall::softgpu
