// The matrix instructions that a full warp runs most, straight between memory and registers: loads
// of whole matrices whose registers an Ins can name, and wmma's product of doubles. Whatever they
// do not settle goes to the general handlers (matrix_ops.cpp): lanes that are missing, memory not
// seen before, faults.
#include "gpu_server/software_gpu/exec/fence.h"
#include "gpu_server/software_gpu/exec/isa/fill.h"
#include "gpu_server/software_gpu/exec/isa/lanes.h"
#include "gpu_server/software_gpu/exec/isa/matrix_shapes.h"

namespace farcall::softgpu {
namespace {

// Two vectors as one that takes their elements by turns: its lower half, its upper half.
template <class T>
struct Zip;
#define FARCALL_ZIP(T, bytes, low_order, high_order)                       \
  template <>                                                              \
  struct Zip<T> {                                                          \
    typedef T V __attribute__((vector_size(bytes)));                       \
    static V low(V x, V y) { return __builtin_shufflevector low_order; }   \
    static V high(V x, V y) { return __builtin_shufflevector high_order; } \
  };
FARCALL_ZIP(u8, 16, (x, y, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23),
            (x, y, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31))
FARCALL_ZIP(u16, 16, (x, y, 0, 8, 1, 9, 2, 10, 3, 11), (x, y, 4, 12, 5, 13, 6, 14, 7, 15))
FARCALL_ZIP(u32, 16, (x, y, 0, 4, 1, 5), (x, y, 2, 6, 3, 7))
#if defined(__AVX512F__)
FARCALL_ZIP(u64, 64, (x, y, 0, 8, 1, 9, 2, 10, 3, 11), (x, y, 4, 12, 5, 13, 6, 14, 7, 15))
#else
FARCALL_ZIP(u64, 16, (x, y, 0, 2), (x, y, 1, 3))
#endif

// Lines of columns become lines of rows: each time the two halves of the whole are taken by turns,
// the number of an element turns by one bit.
template <class T, u32 kLines, u32 kBytes>
inline void turn(std::byte* matrix) {
  using V = typename Zip<T>::V;
  constexpr u32 kVectors = kLines * kBytes / sizeof(V);
  V x[kVectors], y[kVectors];
  __builtin_memcpy(x, matrix, sizeof x);
#pragma GCC unroll 4
  for (u32 lines = kLines; lines > 1; lines /= 2) {
#pragma GCC unroll 16
    for (u32 n = 0; n < kVectors / 2; ++n) {
      y[2 * n] = Zip<T>::low(x[n], x[n + kVectors / 2]);
      y[2 * n + 1] = Zip<T>::high(x[n], x[n + kVectors / 2]);
    }
    __builtin_memcpy(x, y, sizeof x);
  }
  __builtin_memcpy(matrix, x, sizeof x);
}

struct Lines {
  u64 first;   // host address
  u64 stride;  // bytes
};

// Where a full warp's matrix lies, if that is shared memory of the block or what this instruction
// touched last.
inline bool find_lines(const Warp& w, const Ins* i, std::byte* r, MatrixShape shape, Lines* found) {
  const u64 base = (i->flags & kAddress32) != 0 ? row<u32>(r, i->a)[0] : row<u64>(r, i->a)[0];
  const u64 element = shape.element_bytes, address = base + static_cast<u64>(i->imm);
  const u64 stride = u64{row<u32>(r, i->b)[0]} * element;
  const u64 span = (shape.lines - 1) * stride + shape.line_bytes;
  const u64 shared = reinterpret_cast<u64>(w.shared);
  const bool is_offset = i->space == Space::kShared;
  const u64 at = is_offset ? shared + static_cast<u32>(address) : address;
  const RangeCache own{shared, w.shared_bytes};
  const auto inside = [&](const RangeCache& range) {
    return at >= range.base && span <= range.bytes && at - range.base <= range.bytes - span;
  };
  *found = {at, stride};
  return (inside(own) || (!is_offset && inside(w.ranges[i->slot]))) &&
         ((at | stride) & (element - 1)) == 0;
}

template <class T, u32 kLines, u32 kBytes, bool kTurned>
FARCALL_KERNEL_MEMORY const Ins* load(Warp& w, const Ins* i, std::byte* r) {
  constexpr MatrixShape kShape{sizeof(T), kLines, kBytes, kTurned};
  constexpr u32 kRegister = sizeof(T) == 8 ? 256 : 128, kRegisters = kLines * kBytes / kRegister;
  Lines lines;
  if (!find_lines(w, i, r, kShape, &lines)) [[unlikely]]
    return load_matrix(w, i, r);
  alignas(64) std::byte matrix[kLines * kBytes];
  for (u32 n = 0; n < kLines; ++n) {
    __builtin_memcpy(matrix + n * kBytes,
                     reinterpret_cast<const void*>(lines.first + n * lines.stride), kBytes);
  }
  if constexpr (kTurned) turn<T, kLines, kBytes>(matrix);
  const u32 rows[4] = {i->d, i->c, i->e, i->f};
  for (u32 reg = 0; reg < kRegisters; ++reg) {
    __builtin_memcpy(r + rows[reg], matrix + reg * kRegister, kRegister);
  }
  return i + 1;
}

// d, f = a * b + c, e: a register of sums is four rows of eight, a factor one register, row by row.
const Ins* product_f64(Warp& /*w*/, const Ins* i, std::byte* r) {
  typedef f64 V __attribute__((vector_size(64)));
  constexpr u32 kRows = 8, kDepth = 4;
  V sums[kRows], columns[kDepth];
  __builtin_memcpy(sums, r + i->c, sizeof sums / 2);
  __builtin_memcpy(sums + kRows / 2, r + i->e, sizeof sums / 2);
  __builtin_memcpy(columns, r + i->b, sizeof columns);
  const Row<f64>* const factors = row<f64>(r, i->a);
#pragma GCC unroll 4
  for (u32 j = 0; j < kDepth; ++j) {
#pragma GCC unroll 8
    for (u32 n = 0; n < kRows; ++n) sums[n] += factors[n * kDepth + j] * columns[j];
  }
  __builtin_memcpy(r + i->d, sums, sizeof sums / 2);
  __builtin_memcpy(r + i->f, sums + kRows / 2, sizeof sums / 2);
  return i + 1;
}

#define FARCALL_LOAD(T, lines, bytes, turned)                                                \
  {                                                                                          \
    handler_key(Op::kMatrixLoad, Ty::kU32, load_variant({sizeof(T), lines, bytes, turned})), \
        load<T, lines, bytes, turned>, load_matrix                                           \
  }
const HandlerEntry kEntries[] = {
    FARCALL_LOAD(u64, 8, 32, false),
    FARCALL_LOAD(u64, 4, 64, false),
    FARCALL_LOAD(u64, 8, 32, true),
    FARCALL_LOAD(u64, 4, 64, true),
    FARCALL_LOAD(u32, 16, 32, false),
    FARCALL_LOAD(u32, 8, 64, false),
    FARCALL_LOAD(u32, 16, 32, true),
    FARCALL_LOAD(u32, 8, 64, true),
    FARCALL_LOAD(u16, 16, 32, false),
    FARCALL_LOAD(u16, 16, 32, true),
    FARCALL_LOAD(u8, 16, 16, false),
    FARCALL_LOAD(u8, 16, 16, true),
    {handler_key(Op::kMatrixMultiply, Ty::kF64), product_f64, multiply_matrices},
};

}  // namespace

namespace FARCALL_ISA {
HandlerList matrix_move_handlers() { return {kEntries, sizeof kEntries / sizeof kEntries[0]}; }
}  // namespace FARCALL_ISA

}  // namespace farcall::softgpu
