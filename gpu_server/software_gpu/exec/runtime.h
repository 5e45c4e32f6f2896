// Everything that exists while kernels run: decoded functions, launches, blocks, workers.
//
// A launch is shared by the threads that work on it; each thread has a Worker, which owns blocks,
// registers and range caches. A block belongs to one worker from its first instruction to its last,
// so shared memory and barriers need no locks.
// Owner: Engine owns launches and workers, Program owns bodies.  Threads: as each struct says.
#pragma once
#include <atomic>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>
#include <vector>

#include "gpu_server/software_gpu/exec/block_check.h"
#include "gpu_server/software_gpu/exec/code.h"
#include "gpu_server/software_gpu/exec/engine.h"
#include "gpu_server/software_gpu/exec/matrix.h"
#include "gpu_server/software_gpu/exec/warp.h"
#include "transport/base/guarded.h"

namespace farcall::softgpu {

// Values that are rows of a frame although no instruction computes them.
enum class Special : std::uint8_t {
  kTidX,
  kTidY,
  kTidZ,
  kWarpId,  // of a warp
  kCtaidX,
  kCtaidY,
  kCtaidZ,
  kClusteridX,
  kClusteridY,
  kClusteridZ,
  kClusterCtaidX,
  kClusterCtaidY,
  kClusterCtaidZ,
  kClusterCtarank,  // of a block
  kNtidX,
  kNtidY,
  kNtidZ,
  kNctaidX,
  kNctaidY,
  kNctaidZ,
  kLaneId,  // of a launch
  kNwarpId,
  kSmId,
  kNsmId,
  kGridId,
  kLaneMaskEq,
  kLaneMaskLe,
  kLaneMaskLt,
  kLaneMaskGe,
  kLaneMaskGt,
  kEnvReg1,
  kEnvReg2,
  kZero,
  kDynamicShared,
  kTotalShared,
  kDynamicOffset,
  kReservedOffset,
  kClusterNctaidX,
  kClusterNctaidY,
  kClusterNctaidZ,
  kClusterNctarank,
  kNclusteridX,
  kNclusteridY,
  kNclusteridZ,
  kIsExplicitCluster,
  kParam  // of the kernel
};

struct SpecialRow {
  Special what;
  bool wide;             // 64-bit lanes
  std::uint32_t offset;  // of the row in the frame
  // kParam: where it lies and what it is.
  std::uint32_t param = 0;
  Ty type = Ty::kU32;
};

// Where a parameter, return value or call argument lies in a frame's local memory.
struct LocalSlot {
  std::uint32_t offset;
  std::uint32_t bytes;
};

enum class Library : std::uint8_t {
  kNone,
  kVprintf,
  kAssertFail,
  kMalloc,
  kFree,
  // device_launch.cpp
  kParameterBuffer,
  kLaunchDevice,
  kNewStreamOrEvent,
  kStreamOrEvent,
  kGetDevice,
  kGetDeviceCount,
  kSetLastError,
  kGetLastError
};

struct CallSite {
  std::int64_t callee = -1;  // index into KernelBody::functions; -1: indirect or library
  Library library = Library::kNone;
  std::vector<LocalSlot> arguments, results;
};

// Where an image instruction's operands are among its more_rows.
enum ImageRow : std::uint32_t {
  kTexelRow = 0,       // four channels, read or to be written
  kCoordinateRow = 4,  // three
  kLayerRow = 7,
  kLodRow = 8,
  kStepXRow = 9,  // three each
  kStepYRow = 12,
  kImageRows = 15
};
// Its Ins::detail: dimensions, and whether there are layers and faces.
enum ImageShape : std::uint8_t {
  kImageDimensions = 3,
  kImageLayered = 4,
  kImageCube = 8,
};
// Ins::detail2 of kTexture: which level of a mipmapped image.
enum class LodFrom : std::uint8_t { kBase, kLevel, kSteps };
// Ins::detail2 of surface accesses: elements (log2) | what lies outside << 4.
enum class Outside : std::uint8_t { kTrap, kClamp, kZero };
// Ins::detail of kImageQuery.
enum class ImageFact : std::uint8_t { kWidth, kHeight, kDepth, kLayers, kLevels };

// Ins::detail of kMbarrier; b is a count of arrivals or bytes, a state or a parity, d what it
// gives.
enum class MbarrierDo : std::uint8_t {
  kInit,
  kInvalidate,
  kExpect,    // bytes
  kComplete,  // bytes
  kArrive,
  kDrop,  // arrive, and no more in later phases
  kExpectAndArrive,
  kWait,  // for the end of the phase of a state
  kWaitParity
};

// One function as decoded for one kernel. Immutable once its kernel is decoded, but for `bound`.
struct FunctionBody {
  std::string name;
  std::vector<Ins> code;             // handlers unset
  std::vector<std::uint32_t> keys;   // handler of each instruction
  std::vector<std::byte> constants;  // head of every frame
  std::vector<SpecialRow> specials;
  std::uint32_t frame_bytes = 0;
  std::uint32_t local_bytes = 0;  // multiple of 16
  std::vector<LocalSlot> params, returns;
  std::vector<CallSite> calls;
  std::vector<std::vector<std::int64_t>> branch_tables;  // distances from the instruction
  // Rows of instructions that have more operands than an Ins has fields; Ins::table is the first.
  std::vector<std::uint32_t> more_rows;
  std::vector<MatrixSite> matrices;
  std::uint32_t registers = 0;  // 32-bit units, as the text declares them
  std::size_t index = 0;        // in KernelBody::functions

  // The code with handlers of one instruction set. Threads: any.
  const Ins* bound(Isa isa) const;
  // The same with the handlers of checked.cpp where an instruction touches memory or meets others.
  const Ins* checked(Isa isa) const;

 private:
  mutable std::once_flag once_[4];
  mutable std::atomic<const Ins*> ready_[4]{};  // spares blocks the once_flag's cost
  mutable std::vector<Ins> bound_[4];
  mutable std::once_flag checked_once_[4];
  mutable std::vector<Ins> checked_[4];

 public:
  std::shared_ptr<const std::string> text;  // the PTX it is from; lines count from its start
};

namespace detail {
struct KernelBody {
  std::string name;
  std::vector<std::unique_ptr<FunctionBody>> functions;  // [0] is the kernel
  std::vector<std::int64_t> by_module_index;             // module function → functions, or -1
  std::uint32_t static_shared_bytes = 0;
  bool uses_reserved_shared = false;
  std::uint32_t dynamic_align = 1;  // of dynamic shared memory
  std::uint32_t local_bytes = 0;    // per thread, for the deepest chain of calls
  std::uint32_t slots = 0;          // range caches
  bool warps_independent = true;    // no warp waits for another
  // Instructions that one warp runs at most; 0 when it may loop, sleep or call.
  std::uint32_t straight_length = 0;
};
}  // namespace detail

class Heap;

// Function pointers as kernels see them: not addresses of anything.
inline constexpr std::uint64_t kFunctionTag = 0x7fc0'0000'0000'0000;

// A kernel that a kernel launched. Its parameters stay in the device's heap until it runs, so that
// what waits is bounded by the device's memory.
struct ChildLaunch {
  const Kernel* kernel = nullptr;
  unsigned grid[3] = {1, 1, 1}, block[3] = {1, 1, 1};
  std::uint32_t shared_bytes = 0;
  std::uint64_t heap_block = 0;
};

// One launch. Threads: all workers of it.
struct LaunchState {
  const detail::KernelBody* kernel = nullptr;
  const Kernel* origin = nullptr;
  Memory* memory = nullptr;
  Isa isa = Isa::kBaseline;
  unsigned grid[3], block[3];
  unsigned threads = 0, warps = 0;  // per block
  std::uint64_t blocks = 0;
  unsigned cluster[3] = {1, 1, 1};
  unsigned cluster_blocks = 1;
  std::uint64_t clusters = 0;  // what next_block counts
  std::uint32_t dynamic_shared_bytes = 0;
  std::uint32_t dynamic_offset = 0;   // of dynamic shared memory
  std::uint32_t reserved_offset = 0;  // of what cooperative groups keep for themselves, or 0
  std::uint32_t shared_bytes = 0;
  std::uint32_t local_stride = 0;
  std::uint64_t grid_id = 0;
  std::uint64_t grid_workspace = 0;  // of a cooperative launch
  bool cooperative = false;
  bool alone = false;  // over sooner than a helper would wake
  std::vector<std::byte> params;
  Heap* heap = nullptr;
  const Images* images = nullptr;
  unsigned depth = 0;  // 0 for what the host launched
  Guarded<std::vector<ChildLaunch>> children;
  std::atomic<std::uint32_t> device_error{0};
  std::function<void(bool error, std::string_view)> print;

  std::atomic<std::uint64_t> next_block{0};
  std::atomic<int> workers{0};
  std::atomic<bool> stopped{false};  // a fault: nothing more is run
  std::mutex fault_mutex;
  Fault fault;  // the first one
  std::condition_variable block_ended;
  Checker* checker = nullptr;  // null: kernels run unchecked
};

inline const Ins* code_of(const FunctionBody& function, const LaunchState& launch) {
  return launch.checker != nullptr ? function.checked(launch.isa) : function.bound(launch.isa);
}

struct Barrier {
  std::uint32_t arrived = 0;
  std::uint32_t expected = 0;  // explicit thread count, or 0
  // A count in the instruction counts whole warps: lanes that had exited when their warp came.
  std::uint32_t padding = 0;
  std::uint32_t warps = 0;  // which warps have lanes here
  std::uint32_t ones = 0;   // bar.red: lanes whose predicate was true
};
inline constexpr unsigned kBarriers = 16;

struct AlignedFree {
  void operator()(std::byte* p) const { ::operator delete[](p, std::align_val_t{64}); }
};
using Buffer = std::unique_ptr<std::byte[], AlignedFree>;
Buffer make_buffer(std::size_t bytes);  // zeroed, 64-byte aligned

// A resident block. The first one of a cluster has the others, and the shared memory of all of
// them. Threads: its worker's.
struct BlockRun {
  BlockRun* first = nullptr;
  std::uint32_t rank = 0;  // in its cluster
  std::vector<std::unique_ptr<BlockRun>> others;
  bool cluster_used = false;  // somebody has arrived at the cluster's barrier
  unsigned ctaid[3];
  std::uint32_t live_threads = 0;
  std::uint32_t warp_count = 0;     // resident; 1 when warps are run one after the other
  std::uint32_t barriers_used = 0;  // which of the barriers somebody has arrived at
  Barrier barriers[kBarriers];
  std::unique_ptr<Warp[]> warps;
  std::unique_ptr<Frame[]> frames;  // the kernel's own frame of each warp
  Buffer registers, shared, local;
  std::byte* own_shared = nullptr;  // in the first one's `shared`
  std::unique_ptr<BlockCheck> check;
};

// An image that a launch has used: its memory was there, and stays readable until the launch ends.
struct UsedImage {
  std::shared_ptr<const ImageView> view;
  std::vector<TexelLevel> levels;
};

// What one thread needs to work on one launch.  Threads: one.
struct Worker {
  LaunchState* launch = nullptr;
  int number = 0;
  std::vector<RangeCache> ranges;
  // Found last, by any instruction: warps of a block that read different arrays share instructions.
  RangeCache recent[4];
  unsigned next_recent = 0;
  std::unordered_map<std::uint64_t, UsedImage> images;  // by object
  std::uint64_t last_object = 0;
  const UsedImage* last_image = nullptr;         // of last_object
  std::vector<std::unique_ptr<BlockRun>> idle;   // finished blocks, to be used again
  std::vector<std::vector<Frame*>> idle_frames;  // by function
  std::vector<std::unique_ptr<Frame>> frames;    // all call frames
  std::vector<Buffer> frame_registers;
  std::uint64_t frame_bytes = 0;  // of all of them
};

// --- the parts of the engine (one file each) ----------------------------------------------------

// The variant of kCvt that rounds an f32 to a tf32; others are the source's Ty.
inline constexpr unsigned kToTf32 = 255;

enum SpecialLevel : unsigned { kWarpLevel = 1, kBlockLevel = 2, kLaunchLevel = 4 };
// specials.cpp: fills rows of the given levels for one warp.
void fill_specials(std::byte* regs, const FunctionBody& body, const Warp& warp, unsigned levels);

// frames.cpp
Frame* open_frame(Warp& warp, const FunctionBody& function);
void leave_frames(Warp& warp, Frame* frame, std::uint32_t lanes);  // lanes exit: whole chain

// scheduler.cpp
Pause run_warp(Warp& warp);
void set_mask(Warp& warp, std::uint32_t mask);
void retire_lanes(Warp& warp, std::uint32_t lanes);  // of the running group; removes the group

// library.cpp: what a call gives and takes, in the caller's local memory.
std::byte* call_local(const Warp& warp, int lane);
std::uint64_t call_argument(const Warp& warp, const CallSite& site, std::size_t n, int lane);
void call_result(Warp& warp, const CallSite& site, int lane, std::uint64_t value);
// How many bytes from a generic address on a kernel may touch.
std::uint64_t reachable_bytes(const Warp& warp, std::uint64_t address);

// device_launch.cpp
const Ins* device_runtime_call(Warp& warp, const Ins* i, const CallSite& site);
// Borrows the parameters in the heap; no kernel in it when a kernel has freed them meanwhile.
Launch launch_of(const ChildLaunch& child, const Memory& memory);

// engine.cpp: whether a device accepts such a grid at all.
bool is_shape_valid(const Launch& launch);

// block.cpp
enum class BlockEnd { kFinished, kSpinning, kStopped };
std::unique_ptr<BlockRun> take_block(Worker& worker, std::uint64_t number);
BlockEnd run_block(Worker& worker, BlockRun& block);
void release_barriers(BlockRun& block);

// cluster.cpp
void release_cluster(BlockRun& first);
// The block of this cluster whose shared memory holds a generic address, or null.
BlockRun* block_at(const Warp& w, std::uint64_t generic);
// The same place of another block's shared memory; 0 where there is none.
std::uint64_t in_block_of_cluster(const Warp& w, std::uint64_t generic, std::uint32_t rank);

// handlers.cpp: null when the instruction set has no handler for the key.
const HandlerEntry* find_handler(Isa isa, std::uint32_t key);
const MatrixMath& matrix_math(Isa isa);
const TexelMath& texel_math(Isa isa);
Isa best_isa(Isa wanted);
HandlerList control_handlers();
HandlerList warp_handlers();
HandlerList atomic_handlers();
HandlerList scalar_handlers();
HandlerList function_handlers();
HandlerList half_handlers();
HandlerList library_handlers();
HandlerList image_handlers();
HandlerList matrix_handlers();
HandlerList mbarrier_handlers();
HandlerList cluster_handlers();

}  // namespace farcall::softgpu
