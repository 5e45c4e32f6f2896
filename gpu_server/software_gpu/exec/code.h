// The decoded form of a kernel: fixed-size instructions that name their handlers and operand rows.
//
// Registers live in a frame: one row of 32 lanes per register, 4 bytes a lane for everything up to
// 32 bits and 8 bytes a lane for 64-bit registers; a predicate is one 32-bit mask. Operands are
// byte offsets from the frame's start. Immediates and launch constants (%ntid, %tid …) are rows of
// the same frame, filled once, so that every handler sees registers only.
//
// Owner: a FunctionBody owns its code; instructions point into it.  Threads: immutable once built.
#pragma once
#include <cstddef>
#include <cstdint>

namespace farcall::softgpu {

struct Warp;
struct Ins;
// Executes `i` for the running group and returns the next instruction, or null when the scheduler
// must look (divergence, barrier, exit, fault …).
using Handler = const Ins* (*)(Warp& warp, const Ins* i, std::byte* frame);

enum class Space : std::uint8_t { kGeneric, kGlobal, kShared, kLocal, kParam };

// Element types as handlers see them; untyped bits are the unsigned type of that size.
enum class Ty : std::uint8_t {
  kU8,
  kS8,
  kU16,
  kS16,
  kU32,
  kS32,
  kU64,
  kS64,
  kF16,
  kF16x2,
  kBf16,
  kBf16x2,
  kF32,
  kF64,
  kPred
};

enum class Op : std::uint16_t {
  // lane by lane, integers and bits
  kAdd,
  kSub,
  kMul,
  kMulHi,
  kMulWide,
  kMul24,
  kMad,
  kMadHi,
  kMadWide,
  kMad24,
  kSad,
  kDiv,
  kRem,
  kAbs,
  kNeg,
  kMin,
  kMax,
  kPopc,
  kClz,
  kBfind,
  kBfindShift,
  kBrev,
  kBfe,
  kBfi,
  kBmsk,
  kAnd,
  kOr,
  kXor,
  kNot,
  kCnot,
  kShl,
  kShr,
  kSelp,
  kMov,
  kPrmt,
  kLop3,
  kShfL,
  kShfR,
  kDp4a,
  kDp2a,
  kAddSat,
  kSubSat,
  kCarry,
  kVideo,
  // comparisons; the variant is a Cmp
  kSetp,
  // lane by lane, floating point
  kFma,
  kRcp,
  kSqrt,
  kRsqrt,
  kEx2,
  kLg2,
  kSin,
  kCos,
  kTanh,
  kCopysign,
  kTestp,
  kCvt,
  // predicates
  kPredAnd,
  kPredOr,
  kPredXor,
  kPredNot,
  kPredMov,
  kGuard,
  // packing of registers into wider ones
  kPack,
  kUnpack,
  // memory; the variant of loads and stores is element count (log2) | 64-bit register << 2
  kLoad,
  kStore,
  kAtom,
  kFence,
  kCopyAsync,
  kFrameAddress,
  kParamLoad,
  kCvtaLocal,
  kIsSpace,
  // across lanes
  kShfl,
  kVote,
  kActiveMask,
  kMatch,
  kRedux,
  kBarWarp,
  kBarrier,
  // control
  kJump,
  kBranch,
  kBranchIndexed,
  kCall,
  kCallIndirect,
  kReturn,
  kExit,
  kTrap,
  kNanosleep,
  kClock,
  kLibrary,
  kNop,
  kMbarrier,
  kPendingCount,
  kBulkCopy,
  // clusters
  kClusterAddress,
  kMapAddress,
  kClusterBarrier,
  // images; operands beyond those of an Ins are in FunctionBody::more_rows
  kTexture,
  kTextureGather,
  kImageQuery,
  kSurfaceLoad,
  kSurfaceStore,
  // matrices held by a warp
  kMatrixMultiply,
  kMatrixLoad,
  kMatrixStore,
  kMatrixTranspose
};

enum class Cmp : std::uint8_t {
  kEq,
  kNe,
  kLt,
  kLe,
  kGt,
  kGe,
  kEqu,
  kNeu,
  kLtu,
  kLeu,
  kGtu,
  kGeu,
  kNum,
  kNan
};

// Ins::flags. Rounding is the low two bits.
enum Flag : std::uint16_t {
  kRoundNearest = 0,
  kRoundZero = 1,
  kRoundDown = 2,
  kRoundUp = 3,
  kRoundMask = 3,
  kFtz = 1 << 2,
  kSat = 1 << 3,
  kNegated = 1 << 4,     // the predicate operand is used inverted
  kRoundToInt = 1 << 5,  // .rni .rzi .rmi .rpi
  kNanMin = 1 << 6,      // min.NaN, max.NaN
  kXorSign = 1 << 7,     // .xorsign.abs
  kAddress32 = 1 << 8,   // the address register has 32 bits
  kSpins = 1 << 9,       // a loop around it may be waiting for another thread
  kAcquire = 1 << 10,
  kRelease = 1 << 11,
  kWrap = 1 << 12,  // shift amounts modulo 32; bmsk.wrap
  kRelu = 1 << 13,
  kAnyFlag = 1 << 14,  // op specific
};

struct alignas(64) Ins {
  Handler full = nullptr;                           // every lane of the warp runs
  Handler part = nullptr;                           // Warp::mask says which lanes run
  std::uint32_t d = 0, a = 0, b = 0, c = 0, e = 0;  // operand rows
  std::uint32_t line = 0;                           // of the PTX text
  std::int64_t imm = 0;     // address offset, distance of a branch in instructions, or op specific
  std::uint32_t table = 0;  // index into a side table of the function, or op specific
  std::uint32_t f = 0;      // one more operand row
  std::uint16_t slot = 0;   // of the worker's range caches
  std::uint16_t flags = 0;
  Space space = Space::kGeneric;
  std::uint8_t size_log2 = 0;  // bytes of one memory access of one lane
  std::uint8_t detail = 0;     // op specific: comparison, atomic operation …
  std::uint8_t detail2 = 0;
};
static_assert(sizeof(Ins) == 64, "one cache line each");
static_assert(static_cast<int>(Op::kMatrixTranspose) < 256);

// What selects a handler.
constexpr std::uint32_t handler_key(Op op, Ty type, unsigned variant = 0) {
  return static_cast<std::uint32_t>(op) << 16 | static_cast<std::uint32_t>(type) << 8 | variant;
}

}  // namespace farcall::softgpu
