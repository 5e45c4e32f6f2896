#include "gpu_server/software_gpu/exec/engine.h"

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <cstring>
#include <deque>
#include <thread>

#include "gpu_server/software_gpu/exec/bounds.h"
#include "gpu_server/software_gpu/exec/checker.h"
#include "gpu_server/software_gpu/exec/heap.h"
#include "gpu_server/software_gpu/exec/runtime.h"

namespace farcall::softgpu {
namespace {

// Blocks one worker keeps resident while earlier ones wait for something.
constexpr std::size_t kResidentBlocksMax = 256;

// Warps times instructions that take about as long as waking another thread: some 20 µs.
constexpr std::uint64_t kBriefInstructionsMax = 2048;

// Devices give shared memory out in such units, and programs live that write a little behind the
// end.
constexpr std::uint32_t kSharedUnitBytes = 128;

// Shared memory of each block that belongs to cooperative groups, where a kernel asks for it.
constexpr std::uint32_t kReservedSharedBytes = 1024;

// Every block of this thread waits for something that another thread, the host or another launch
// will do: so this thread gives its CPU away for a moment.
void wait_for_others(LaunchState& launch) {
  constexpr std::chrono::microseconds kMoment(20);
  std::unique_lock<std::mutex> held(launch.fault_mutex);
  launch.block_ended.wait_for(held, kMoment);
}

// Registers, local and shared memory: what the host's memory pays for each cluster under way, whose
// blocks run together. Mostly a cluster is one block.
std::uint64_t cluster_bytes(const LaunchState& state) {
  const detail::KernelBody& body = *state.kernel;
  const std::uint64_t warps = body.warps_independent ? 1 : state.warps;
  const std::uint64_t local = std::uint64_t{body.local_bytes} * kLanes;
  return state.cluster_blocks *
         (warps * (body.functions[0]->frame_bytes + local) + state.shared_bytes);
}

// Host threads that work on it at most.
std::uint64_t workers_of(const LaunchState& launch) {
  if (launch.alone) return 1;
  const auto threads = static_cast<std::uint64_t>(launch.workers.load());
  return std::min({threads, launch.clusters, workers_max(cluster_bytes(launch))});
}

// Works on a launch until none of its blocks is left to start or to finish.
void work(LaunchState& launch, int number) {
  Worker worker;
  worker.launch = &launch;
  worker.number = number;
  worker.ranges.resize(launch.kernel->slots < 65536 ? launch.kernel->slots + 1 : 65536);
  std::deque<std::unique_ptr<BlockRun>> resident;
  std::size_t turns_without_end = 0;
  const std::uint64_t most = std::min<std::uint64_t>(
      resident_max(cluster_bytes(launch), workers_of(launch)), kResidentBlocksMax);
  while (!launch.stopped.load(std::memory_order_relaxed)) {
    // A new block only when no resident one can be expected to get on.
    const bool wants_more = resident.empty() || (turns_without_end >= resident.size() &&
                                                 (launch.cooperative || resident.size() < most));
    if (wants_more) {
      const std::uint64_t next = launch.next_block.fetch_add(1, std::memory_order_relaxed);
      if (next < launch.clusters) {
        resident.push_front(take_block(worker, next));
        turns_without_end = 0;
      } else {
        launch.next_block.store(launch.clusters, std::memory_order_relaxed);
        if (resident.empty()) return;
        wait_for_others(launch);
        turns_without_end = 0;
      }
    }
    std::unique_ptr<BlockRun> block = std::move(resident.front());
    resident.pop_front();
    switch (run_block(worker, *block)) {
      case BlockEnd::kFinished:
        worker.idle.push_back(std::move(block));
        launch.block_ended.notify_all();
        turns_without_end = 0;
        break;
      case BlockEnd::kSpinning:
        resident.push_back(std::move(block));
        ++turns_without_end;
        break;
      case BlockEnd::kStopped: return;
    }
  }
}

}  // namespace

struct Engine::State {
  Memory& memory;
  EngineOptions options;
  Isa isa;
  Heap heap;
  std::atomic<std::uint64_t> launches{0};
  std::mutex print_mutex;

  std::mutex mutex;
  std::condition_variable wake_helpers;
  std::condition_variable helper_done;
  struct Ticket {
    LaunchState* launch;
    int wanted;  // helpers that may still join
    int joined;  // helpers at work
    int next_number;
  };
  std::deque<Ticket*> queue;
  bool ending = false;
  std::vector<std::thread> helpers;

  State(Memory& m, EngineOptions o)
      : memory(m), options(std::move(o)), isa(best_isa(options.isa)), heap(m) {}

  void help() {
    std::unique_lock<std::mutex> held(mutex);
    for (;;) {
      wake_helpers.wait(held, [&] { return ending || !queue.empty(); });
      if (ending) return;
      Ticket* ticket = queue.front();
      ++ticket->joined;
      if (--ticket->wanted == 0) queue.pop_front();
      const int number = ticket->next_number++;
      held.unlock();
      work(*ticket->launch, number);
      held.lock();
      --ticket->joined;
      helper_done.notify_all();
    }
  }

  void print(bool error, std::string_view text) {
    const std::lock_guard<std::mutex> held(print_mutex);
    if (options.output) return options.output(text);
    std::FILE* to = error ? stderr : stdout;
    std::fwrite(text.data(), 1, text.size(), to);
    std::fflush(to);
  }

  void run_on_all(LaunchState& launch) {
    Ticket ticket{&launch, 0, 0, 1};
    ticket.wanted = static_cast<int>(workers_of(launch)) - 1;
    if (ticket.wanted > 0) {
      const std::lock_guard<std::mutex> held(mutex);
      queue.push_back(&ticket);
      wake_helpers.notify_all();
    }
    work(launch, 0);
    std::unique_lock<std::mutex> held(mutex);
    for (auto at = queue.begin(); at != queue.end(); ++at) {
      if (*at == &ticket) {
        queue.erase(at);
        break;
      }
    }
    helper_done.wait(held, [&] { return ticket.joined == 0; });
  }
};

Engine::Engine(Memory& memory, EngineOptions options)
    : state_(std::make_unique<State>(memory, std::move(options))) {
  int threads = state_->options.threads;
  if (threads <= 0) threads = static_cast<int>(std::thread::hardware_concurrency());
  for (int n = 1; n < threads; ++n) state_->helpers.emplace_back([this] { state_->help(); });
}

Engine::~Engine() {
  {
    const std::lock_guard<std::mutex> held(state_->mutex);
    state_->ending = true;
    state_->wake_helpers.notify_all();
  }
  for (std::thread& helper : state_->helpers) helper.join();
}

namespace {

Fault invalid(const Kernel& kernel, const std::string& why) {
  return Fault{FaultKind::kInvalidLaunch, "launch of " + kernel.name() + ": " + why};
}

Fault check(const Launch& launch) {
  const Kernel& kernel = *launch.kernel;
  std::uint64_t threads = 1;
  for (int k = 0; k < 3; ++k) {
    if (launch.grid[k] == 0 || launch.block[k] == 0) return invalid(kernel, "a size of 0");
    if (launch.block[k] > 1024) return invalid(kernel, "a block of more than 1024 threads");
    threads *= launch.block[k];
    if (k > 0 && launch.grid[k] > 65535) return invalid(kernel, "a grid above 65535 in y or z");
  }
  if (launch.grid[0] > 0x7fffffff) return invalid(kernel, "a grid above 2^31 in x");
  if (threads > kernel.max_threads()) {
    return invalid(kernel, "a block of " + std::to_string(threads) + " threads, at most " +
                               std::to_string(kernel.max_threads()));
  }
  unsigned together = 1;
  for (int k = 0; k < 3; ++k) {
    const unsigned wanted = launch.cluster[k], required = kernel.required_cluster()[k];
    if (wanted == 0 || wanted > Engine::kClusterBlocksMax || required > Engine::kClusterBlocksMax ||
        (required != 0 && wanted != 1 && wanted != required)) {
      return invalid(kernel, "a cluster that the kernel or the device does not take");
    }
    const unsigned blocks = required != 0 ? required : wanted;
    if (launch.grid[k] % blocks != 0) return invalid(kernel, "a grid of no whole clusters");
    together *= blocks;
  }
  if (together > Engine::kClusterBlocksMax) {
    return invalid(kernel, "a cluster of " + std::to_string(together) + " blocks, at most " +
                               std::to_string(Engine::kClusterBlocksMax));
  }
  if (launch.params.size() < kernel.param_bytes()) {
    return invalid(kernel, std::to_string(launch.params.size()) + " parameter bytes of " +
                               std::to_string(kernel.param_bytes()));
  }
  return {};
}

}  // namespace

bool Engine::is_brief(const Launch& launch) const {
  const detail::KernelBody* body = launch.kernel->body();
  if (body == nullptr || body->straight_length == 0 || launch.cooperative) return false;
  std::uint64_t warps =
      (std::uint64_t{launch.block[0]} * launch.block[1] * launch.block[2] + kLanes - 1) / kLanes;
  for (const unsigned blocks : launch.grid) {
    if (blocks > kBriefInstructionsMax) return false;
    warps *= blocks;
    if (warps > kBriefInstructionsMax) return false;
  }
  return warps * body->straight_length <= kBriefInstructionsMax;
}

bool is_shape_valid(const Launch& launch) { return check(launch).kind == FaultKind::kNone; }

Fault Engine::run(const Launch& launch) { return run_family(launch, 0); }

Fault Engine::run_family(const Launch& launch, unsigned depth) {
  const Memory::Pin pin(state_->memory);  // what children find checked stays readable
  std::vector<ChildLaunch> children;
  Fault fault = run_grid(launch, depth, &children);
  for (const ChildLaunch& child : children) {
    if (fault.kind == FaultKind::kNone) {
      Launch next = launch_of(child, state_->memory);
      next.images = launch.images;
      fault = next.kernel != nullptr
                  ? run_family(next, depth + 1)
                  : Fault{FaultKind::kIllegalAddress, "parameters of a device launch were freed"};
    }
    (void)state_->heap.release(child.heap_block);
  }
  return fault;
}

namespace {

// Shared and local memory of a block, by the kernel and the launch.
Fault lay_out(const Launch& launch, LaunchState* state) {
  const std::uint32_t align = state->kernel->dynamic_align < 16 ? 16 : state->kernel->dynamic_align;
  state->dynamic_offset = (state->kernel->static_shared_bytes + align - 1) / align * align;
  std::uint64_t shared = std::uint64_t{state->dynamic_offset} + launch.dynamic_shared_bytes;
  if (shared > Engine::kSharedBytesMax) {
    return invalid(*launch.kernel, std::to_string(shared) + " bytes of shared memory");
  }
  if (state->kernel->uses_reserved_shared) {
    state->reserved_offset = static_cast<std::uint32_t>((shared + 127) / 128 * 128);
    shared = state->reserved_offset + kReservedSharedBytes;
  }
  state->checker = active_checker();
  if (state->checker == nullptr) {
    shared = (shared + kSharedUnitBytes - 1) / kSharedUnitBytes * kSharedUnitBytes;
  }
  state->shared_bytes = static_cast<std::uint32_t>(shared);
  state->dynamic_shared_bytes = launch.dynamic_shared_bytes;
  state->local_stride = state->kernel->local_bytes;
  const std::uint64_t bytes = cluster_bytes(*state);
  if (bytes > kBlockBytesMax) {
    return invalid(*launch.kernel, std::to_string(bytes) + " bytes in a block or cluster");
  }
  // Its blocks may wait for each other: all of them are under way together.
  if (launch.cooperative && state->clusters > kResidentBytesMax / (bytes + 1)) {
    return invalid(*launch.kernel, std::to_string(state->clusters) + " blocks or clusters of " +
                                       std::to_string(bytes) + " bytes together");
  }
  return {};
}

}  // namespace

Fault Engine::run_grid(const Launch& launch, unsigned depth, std::vector<ChildLaunch>* children) {
  const Kernel& kernel = *launch.kernel;
  Fault refused = check(launch);
  if (refused.kind != FaultKind::kNone) return refused;
  const Status decoded = kernel.decode();
  if (!decoded.ok()) return Fault{FaultKind::kUnsupported, decoded.text()};
  const detail::KernelBody& body = *kernel.body();

  LaunchState state;
  state.kernel = &body;
  state.origin = &kernel;
  state.depth = depth;
  state.memory = &state_->memory;
  state.isa = state_->isa;
  for (int k = 0; k < 3; ++k) {
    state.grid[k] = launch.grid[k];
    state.block[k] = launch.block[k];
  }
  state.threads = launch.block[0] * launch.block[1] * launch.block[2];
  state.warps = (state.threads + kLanes - 1) / kLanes;
  state.blocks = std::uint64_t{launch.grid[0]} * launch.grid[1] * launch.grid[2];
  for (int k = 0; k < 3; ++k) {
    state.cluster[k] =
        kernel.required_cluster()[k] != 0 ? kernel.required_cluster()[k] : launch.cluster[k];
    state.cluster_blocks *= state.cluster[k];
  }
  state.clusters = state.blocks / state.cluster_blocks;
  if (Fault no = lay_out(launch, &state); no.kind != FaultKind::kNone) return no;
  state.grid_id = ++state_->launches;
  state.cooperative = launch.cooperative;
  state.alone = is_brief(launch);
  state.params.assign(launch.params.begin(), launch.params.end());
  state.params.resize((state.params.size() + 63) / 64 * 64 + 64);
  state.heap = &state_->heap;
  state.images = launch.images;
  state.print = [this](bool error, std::string_view text) { state_->print(error, text); };
  state.workers = static_cast<int>(state_->helpers.size()) + 1;

  const Memory::Pin pin(state_->memory);
  std::uint64_t workspace = 0;
  if (launch.cooperative) {
    // What cooperative groups expect behind %envreg1 and %envreg2: a size, then a barrier word.
    Result<std::uint64_t> room = state_->memory.allocate(4096);
    if (!room.ok()) return Fault{FaultKind::kInvalidLaunch, room.status().to_string()};
    workspace = room.value();
    std::memset(reinterpret_cast<void*>(workspace), 0, 4096);
    if (state.checker != nullptr) state.checker->watch().note_written(workspace, 4096);
    state.grid_workspace = workspace;
  }
  state_->run_on_all(state);
  if (workspace != 0) (void)state_->memory.release(workspace);
  *children = std::move(*state.children.lock());
  return std::move(state.fault);
}

}  // namespace farcall::softgpu
