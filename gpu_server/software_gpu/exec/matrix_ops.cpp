// Handlers of matrix instructions. Every lane of the warp takes part; operands become plain arrays,
// are multiplied (isa/matrix.cpp) and become registers again.
#include <algorithm>
#include <cstring>
#include <memory>

#include "gpu_server/software_gpu/exec/isa/lanes.h"
#include "gpu_server/software_gpu/exec/runtime.h"

namespace farcall::softgpu {
namespace {

constexpr std::size_t kElementsMax = 32 * 256;  // of a matrix that the decoder lets through
constexpr std::size_t kBytesMax = kFragmentRegistersMax * 256;  // of one in registers

bool everybody(Warp& w, const Ins* i) {
  return (w.live & ~w.mask) == 0 || gather_members(w, i, kAllLanes);
}

const u32* rows_of(const Warp& w, const Fragment& fragment) {
  return w.frame->function->more_rows.data() + fragment.first;
}

// A matrix as its registers hold it. Where lanes are missing, these are copies with zeros for them,
// and keep() puts back what the others hold.
class Held {
 public:
  Held(const Warp& w, std::byte* frame, const Fragment& fragment)
      : w_(w),
        fragment_(fragment),
        own_{frame,
             rows_of(w, fragment),
             fragment.used(),
             fragment.columns,
             fragment.element,
             fragment.holding,
             fragment.rows == 16} {
    if (w.mask != kAllLanes) [[unlikely]] {
      copy_ = std::make_unique<Copy>();
      for (u32 reg = 0; reg < own_.registers; ++reg) {
        copy_->rows[reg] = reg * 256;
        move_lanes(frame + own_.rows[reg], copy_->registers + reg * 256);
      }
    }
  }
  HeldMatrix all() const {
    HeldMatrix held = own_;
    if (copy_ != nullptr) {
      held.frame = copy_->registers;
      held.rows = copy_->rows;
    }
    return held;
  }
  void keep() {
    if (copy_ == nullptr) return;
    for (u32 reg = 0; reg < own_.registers; ++reg) {
      move_lanes(copy_->registers + reg * 256, own_.frame + own_.rows[reg]);
    }
  }

 private:
  struct Copy {
    alignas(64) std::byte registers[kBytesMax];
    u32 rows[kFragmentRegistersMax];
  };
  void move_lanes(const std::byte* from, std::byte* to) const {
    const u32 bytes = fragment_.register_bytes() / kLanes;
    for (u32 m = w_.mask; m != 0; m &= m - 1) {
      const auto at = static_cast<std::size_t>(__builtin_ctz(m)) * bytes;
      std::memcpy(to + at, from + at, bytes);
    }
  }

  const Warp& w_;
  const Fragment& fragment_;
  const HeldMatrix own_;
  std::unique_ptr<Copy> copy_;
};

MatrixSizes sizes_of(const MatrixSite& site) {
  return {site.d.rows, site.d.columns, site.a.columns};
}

template <class T, auto kFactors, auto kSums, auto kMultiply, auto kKeep>
void product(const Warp& w, std::byte* r, const MatrixSite& site, const MatrixMath& math) {
  alignas(64) T a[kElementsMax], b[kElementsMax], d[32 * 32];
  (math.*kFactors)(Held(w, r, site.a).all(), a);
  (math.*kFactors)(Held(w, r, site.b).all(), b);
  (math.*kSums)(Held(w, r, site.c).all(), d);
  (math.*kMultiply)(a, b, d, sizes_of(site));
  Held to(w, r, site.d);
  (math.*kKeep)(to.all(), d);
  to.keep();
}

using M = MatrixMath;
constexpr auto float_product =
    product<f32, &M::factors_f32, &M::sums_f32, &M::multiply_f32, &M::keep_f32>;
constexpr auto double_product =
    product<f64, &M::factors_f64, &M::sums_f64, &M::multiply_f64, &M::keep_f64>;

void count_differing_bits(const u32* a, const u32* b, u32* d, MatrixSizes s) {
  for (std::size_t p = 0; p < s.m * s.n; ++p) {
    for (std::size_t j = 0; j < s.k; ++j) d[p] += a[p / s.n * s.k + j] ^ b[j * s.n + p % s.n];
  }
}

// No sum of products leaves 32 bits; adding it to c may.
void integer_product(const Warp& w, std::byte* r, const MatrixSite& site, const MatrixMath& math) {
  alignas(64) u32 a[kElementsMax], b[kElementsMax], c[32 * 32], sums[32 * 32];
  math.factors_u32(Held(w, r, site.a).all(), a);
  math.factors_u32(Held(w, r, site.b).all(), b);
  math.sums_u32(Held(w, r, site.c).all(), c);
  u32* const d = site.saturates ? sums : c;
  if (site.saturates) std::fill_n(sums, site.d.size(), 0u);
  (site.xors ? count_differing_bits : math.multiply_u32)(a, b, d, sizes_of(site));
  if (site.saturates) {
    for (u32 p = 0; p < site.d.size(); ++p) {
      const s64 exact = s64{static_cast<s32>(sums[p])} + static_cast<s32>(c[p]);
      sums[p] = static_cast<u32>(std::clamp<s64>(exact, INT32_MIN, INT32_MAX));
    }
  }
  Held to(w, r, site.d);
  math.keep_u32(to.all(), d);
  to.keep();
}

}  // namespace

const Ins* multiply_matrices(Warp& w, const Ins* i, std::byte* r) {
  if (!everybody(w, i)) return stop();
  const MatrixSite& site = w.frame->function->matrices[i->table];
  const MatrixMath& math = matrix_math(w.worker->launch->isa);
  const auto multiply = site.a.element == Element::kF64 ? double_product
                        : is_integer(site.a.element)    ? integer_product
                                                        : float_product;
  multiply(w, r, site, math);
  return i + 1;
}

namespace {

// The host address of `bytes` bytes at an address of one lane; 0 after a fault.
u64 host_address(Warp& w, const Ins* i, int lane, u64 address, u64 bytes) {
  if (i->space == Space::kShared) {
    if (address <= w.shared_bytes && bytes <= w.shared_bytes - address) {
      const u64 at = reinterpret_cast<u64>(w.shared) + address;
      if (w.block->check != nullptr) check_matrix_line(w, i, lane, at, bytes);
      return at;
    }
    raise_fault(w, i, FaultKind::kIllegalAddress, lane, address,
                "a matrix outside shared memory, at offset");
    return 0;
  }
  const RangeCache& known = w.ranges[i->slot];
  const bool inside =
      address >= known.base && bytes <= known.bytes && address - known.base <= known.bytes - bytes;
  if (inside || find_range(w, i, address, bytes)) {
    if (w.block->check != nullptr) check_matrix_line(w, i, lane, address, bytes);
    return address;
  }
  raise_fault(w, i, FaultKind::kIllegalAddress, lane, address,
              "a matrix outside every allocation, at");
  return 0;
}

u64 lane_address(const Ins* i, std::byte* r, int lane) {
  const u64 base = (i->flags & kAddress32) != 0 ? row<u32>(r, i->a)[lane] : row<u64>(r, i->a)[lane];
  const u64 at = base + static_cast<u64>(i->imm);
  return i->space == Space::kShared ? at & 0xffffffffu : at;
}

// The lines of a matrix in memory: rows, or columns where they are contiguous.
struct Lines {
  u64 start[256];
  u32 count, bytes;
  bool by_columns;
};

bool find_lines(Warp& w, const Ins* i, std::byte* r, const Fragment& fragment, Lines* lines) {
  const int lane = __builtin_ctz(w.mask);
  const u32 bits = element_bits(fragment.element);
  lines->by_columns = (i->flags & kAnyFlag) != 0;
  lines->count = lines->by_columns ? fragment.columns : fragment.rows;
  lines->bytes = (lines->by_columns ? fragment.rows : fragment.columns) * bits / 8;
  const u64 stride = u64{row<u32>(r, i->b)[lane]} * bits / 8;
  const u64 first = lane_address(i, r, lane);
  const u64 natural = bits < 8 ? 1 : bits / 8;
  if (first % natural != 0 || stride % natural != 0) {
    raise_fault(w, i, FaultKind::kMisaligned, lane, first, "a misaligned matrix, at");
    return false;
  }
  const u64 span = (lines->count - 1) * stride + lines->bytes;
  const bool shared = i->space == Space::kShared;
  const RangeCache window = shared ? RangeCache{0, w.shared_bytes} : w.ranges[i->slot];
  const bool known = first >= window.base && span <= window.bytes &&
                     first - window.base <= window.bytes - span && stride <= window.bytes;
  const bool inside = known || (!shared && find_range(w, i, first, span));
  if (inside && w.block->check == nullptr) {
    const u64 start = first + (shared ? reinterpret_cast<u64>(w.shared) : 0);
    for (u32 n = 0; n < lines->count; ++n) lines->start[n] = start + n * stride;
    return true;
  }
  for (u32 n = 0; n < lines->count; ++n) {
    lines->start[n] = host_address(w, i, lane, first + n * stride, lines->bytes);
    if (lines->start[n] == 0) return false;
  }
  return true;
}

// Between lines of columns and rows of elements, in the order that registers have them.
template <class T, bool kStores>
void turn(const Lines& lines, const Fragment& fragment, std::byte* dense) {
  const std::size_t columns = fragment.columns;
  T* const elements = reinterpret_cast<T*>(dense);
  for (std::size_t c = 0; c < columns; ++c) {
    T* const line = reinterpret_cast<T*>(lines.start[c]);
    for (std::size_t n = 0; n < fragment.rows; ++n) {
      if constexpr (kStores) {
        line[n] = elements[n * columns + c];
      } else {
        elements[n * columns + c] = line[n];
      }
    }
  }
}

// Elements that share a byte, loaded.
void turn_bits(const Lines& lines, const Fragment& fragment, std::byte* dense) {
  const u32 bits = element_bits(fragment.element), mask = (1u << bits) - 1;
  std::memset(dense, 0, fragment.bytes());
  for (u32 p = 0; p < fragment.size(); ++p) {
    const u32 from = p / fragment.columns * bits, to = p * bits;
    const auto* const line = reinterpret_cast<const u8*>(lines.start[p % fragment.columns]);
    const u32 element = line[from / 8] >> (from % 8) & mask;
    dense[to / 8] |= static_cast<std::byte>(element << (to % 8));
  }
}

template <bool kStores>
void move_lines(const Lines& lines, const Fragment& fragment, std::byte* dense) {
  if (lines.by_columns) {
    switch (element_bits(fragment.element)) {
      case 8: return turn<RawAlias<u8>::Type, kStores>(lines, fragment, dense);
      case 16: return turn<RawAlias<u16>::Type, kStores>(lines, fragment, dense);
      case 32: return turn<RawAlias<u32>::Type, kStores>(lines, fragment, dense);
      case 64: return turn<RawAlias<u64>::Type, kStores>(lines, fragment, dense);
      default: return turn_bits(lines, fragment, dense);
    }
  }
  for (u32 n = 0; n < lines.count; ++n, dense += lines.bytes) {
    auto* const line = reinterpret_cast<std::byte*>(lines.start[n]);
    std::byte* const to = kStores ? line : dense;
    const std::byte* const from = kStores ? dense : line;
    switch (lines.bytes) {  // copies of known length are no calls
      case 16: std::memcpy(to, from, 16); break;
      case 32: std::memcpy(to, from, 32); break;
      case 64: std::memcpy(to, from, 64); break;
      default: std::memcpy(to, from, lines.bytes); break;
    }
  }
}

// Of halves the upper ones follow the lower ones, see Holding::kSum.
bool is_split(const Fragment& f) { return f.holding == Holding::kSum && f.parts() == 2; }

void to_register(const Warp& w, std::byte* to, const std::byte* from, u32 bytes) {
  if (w.mask == kAllLanes) {
    std::memcpy(to, from, bytes);
    return;
  }
  const u32 each = bytes / kLanes;
  for (u32 m = w.mask; m != 0; m &= m - 1) {
    const auto at = static_cast<std::size_t>(__builtin_ctz(m)) * each;
    std::memcpy(to + at, from + at, each);
  }
}

}  // namespace

const Ins* load_matrix(Warp& w, const Ins* i, std::byte* r) {
  if (!everybody(w, i)) return stop();
  const Fragment& fragment = w.frame->function->matrices[i->table].d;
  Lines lines;
  if (!find_lines(w, i, r, fragment, &lines)) return stop();
  alignas(64) std::byte dense[kBytesMax];
  move_lines<false>(lines, fragment, dense);
  const u32 bytes = fragment.register_bytes();
  for (u32 reg = 0; reg < fragment.registers; ++reg) {
    const std::byte* from = dense + reg % fragment.used() * bytes;
    alignas(64) u32 pairs[kLanes];
    if (is_split(fragment)) {
      const auto* halves = reinterpret_cast<const RawAlias<u16>::Type*>(from);
      FARCALL_LANES pairs[l] = u32{halves[l]} | u32{halves[kLanes + l]} << 16;
      from = reinterpret_cast<const std::byte*>(pairs);
    }
    to_register(w, r + rows_of(w, fragment)[reg], from, bytes);
  }
  return i + 1;
}

namespace {

const Ins* store_matrix(Warp& w, const Ins* i, std::byte* r) {
  if (!everybody(w, i)) return stop();
  const Fragment& fragment = w.frame->function->matrices[i->table].d;
  Lines lines;
  if (!find_lines(w, i, r, fragment, &lines)) return stop();
  alignas(64) std::byte dense[kBytesMax];
  const u32* const rows = rows_of(w, fragment);
  const u32 bytes = fragment.register_bytes();
  for (u32 reg = 0; reg < fragment.used(); ++reg) {
    std::byte* const to = dense + reg * bytes;
    if (is_split(fragment)) {
      auto* halves = reinterpret_cast<RawAlias<u16>::Type*>(to);
      const Row<u32>* pairs = row<u32>(r, rows[reg]);
      FARCALL_LANES halves[l] = static_cast<u16>(pairs[l]);
      FARCALL_LANES halves[kLanes + l] = static_cast<u16>(pairs[l] >> 16);
    } else {
      std::memcpy(to, r + rows[reg], bytes);
    }
  }
  move_lines<true>(lines, fragment, dense);
  return i + 1;
}

// The 8x8 matrices of ldmatrix and its kin: lane l holds elements 2*(l%4) and the next of row l/4,
// or, transposed, of column l/4. So a register has them row by row.
struct Squares {
  alignas(64) u16 at[4][8][8];
};

void transpose(Squares* squares, u32 count) {
  for (u32 n = 0; n < count; ++n) {
    for (u32 x = 0; x < 8; ++x) {
      for (u32 y = 0; y < x; ++y) std::swap(squares->at[n][x][y], squares->at[n][y][x]);
    }
  }
}

// Row k of matrix n lies where lane 8 * n + k says.
bool squares_and_memory(Warp& w, const Ins* i, std::byte* r, Squares* squares, bool stores) {
  for (u32 line = 0; line < 8u * i->detail; ++line) {
    const int lane = static_cast<int>(line);
    const u64 address = lane_address(i, r, lane);
    u16* const values = squares->at[line / 8][line % 8];
    if (address % 16 != 0) {
      raise_fault(w, i, FaultKind::kMisaligned, lane, address,
                  "a misaligned matrix row, at offset");
      return false;
    }
    const u64 at = host_address(w, i, lane, address, 16);
    if (at == 0) return false;
    if (stores) {
      std::memcpy(reinterpret_cast<void*>(at), values, 16);
    } else {
      std::memcpy(values, reinterpret_cast<const void*>(at), 16);
    }
  }
  return true;
}

const Ins* matrix_rows(Warp& w, const Ins* i, std::byte* r) {
  if (!everybody(w, i)) return stop();
  const FunctionBody& function = *w.frame->function;
  const u32* rows = function.more_rows.data() + function.matrices[i->table].d.first;
  const u32 count = i->detail;
  const bool loads = i->detail2 == 0, stores = i->detail2 == 1;
  Squares squares;
  if (loads) {
    if (!squares_and_memory(w, i, r, &squares, false)) return stop();
  } else {
    const u32* const from = stores ? rows : &i->a;
    for (u32 n = 0; n < count; ++n) std::memcpy(squares.at[n], r + from[n], sizeof squares.at[n]);
  }
  if ((i->flags & kAnyFlag) != 0) transpose(&squares, count);
  if (!stores) {
    for (u32 n = 0; n < count; ++n) {
      to_register(w, r + rows[n], reinterpret_cast<const std::byte*>(squares.at[n]), 128);
    }
  } else if (!squares_and_memory(w, i, r, &squares, true)) {
    return stop();
  }
  return i + 1;
}

#define FARCALL_BOTH(op, f) \
  { handler_key(op, Ty::kU32), f, f }
const HandlerEntry kEntries[] = {
    FARCALL_BOTH(Op::kMatrixMultiply, multiply_matrices),
    FARCALL_BOTH(Op::kMatrixLoad, load_matrix),
    FARCALL_BOTH(Op::kMatrixStore, store_matrix),
    FARCALL_BOTH(Op::kMatrixTranspose, matrix_rows),
};

}  // namespace

HandlerList matrix_handlers() { return {kEntries, sizeof kEntries / sizeof kEntries[0]}; }

}  // namespace farcall::softgpu
