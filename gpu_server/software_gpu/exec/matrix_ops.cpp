// Handlers of matrix instructions. Every lane of the warp takes part; the operands are gathered
// from their registers, multiplied as plain arrays, and spread again.
#include <algorithm>
#include <cstring>

#include "gpu_server/software_gpu/exec/half.h"
#include "gpu_server/software_gpu/exec/isa/lanes.h"
#include "gpu_server/software_gpu/exec/runtime.h"

namespace farcall::softgpu {
namespace {

constexpr std::size_t kElementsMax = 32 * 256;  // of a matrix that the decoder lets through

bool everybody(Warp& w, const Ins* i) {
  return (w.live & ~w.mask) == 0 || gather_members(w, i, kAllLanes);
}

// Calls f(lane, row of the register, part of it, position of the element) for every place of the
// running lanes.
template <class F>
void for_each_place(const Warp& w, const Fragment& fragment, F f) {
  const u32* rows = w.frame->function->more_rows.data() + fragment.first;
  const u32 parts = fragment.parts(), each = fragment.registers * parts;
  for (u32 m = w.mask; m != 0; m &= m - 1) {
    const int lane = __builtin_ctz(m);
    const u16* place = fragment.places + static_cast<u32>(lane) * each;
    for (u32 reg = 0; reg < fragment.registers; ++reg) {
      for (u32 part = 0; part < parts; ++part) f(lane, rows[reg], part, *place++);
    }
  }
}

s32 integer_of(Element element, u32 bits) {
  switch (element) {
    case Element::kS8: return static_cast<s8>(bits);
    case Element::kU8: return static_cast<u8>(bits);
    case Element::kS4: return static_cast<s32>(bits << 28) >> 28;
    case Element::kU4: return static_cast<s32>(bits & 15u);
    case Element::kB1: return static_cast<s32>(bits & 1u);
    default: return static_cast<s32>(bits);
  }
}

f32 float_of(Element element, u32 bits) {
  switch (element) {
    case Element::kF16: return to_float<F16>(bits & 0xffffu);
    case Element::kBf16: return to_float<Bf16>(bits & 0xffffu);
    // The last 13 bits of a tf32 do not count.
    case Element::kTf32: return __builtin_bit_cast(f32, bits & 0xffffe000u);
    default: return __builtin_bit_cast(f32, bits);
  }
}

template <class T>
void gather(const Warp& w, std::byte* r, const Fragment& fragment, T* to) {
  if (w.mask != kAllLanes) std::fill_n(to, fragment.size(), T{});
  const u32 bits = element_bits(fragment.element);
  const Element element = fragment.element;
  for_each_place(w, fragment, [&](int lane, u32 at, u32 part, u32 position) {
    if constexpr (sizeof(T) == 8) {
      to[position] = row<f64>(r, at)[lane];
    } else {
      const u32 value = row<u32>(r, at)[lane] >> (part * bits & 31u);
      if constexpr (static_cast<T>(0.5f) != T{0}) {
        to[position] = float_of(element, value);
      } else {
        to[position] = integer_of(element, value);
      }
    }
  });
}

template <class T>
void spread(const Warp& w, std::byte* r, const Fragment& fragment, const T* from) {
  for_each_place(w, fragment, [&](int lane, u32 at, u32 part, u32 position) {
    if constexpr (sizeof(T) == 8) {
      row<f64>(r, at)[lane] = from[position];
    } else if (fragment.element == Element::kF16) {
      auto& cell = row<u32>(r, at)[lane];
      const u32 half = encode<F16>(static_cast<f64>(static_cast<f32>(from[position])), 0);
      cell = part == 0 ? half : (cell & 0xffffu) | half << 16;
    } else {
      row<u32>(r, at)[lane] = __builtin_bit_cast(u32, from[position]);
    }
  });
}

// d = a * b, added to what d holds; sums go from the first product to the last.
template <class T>
void multiply(const MatrixSite& site, const T* a, const T* b, T* d) {
  const u32 m = site.d.rows, n = site.d.columns, k = site.a.columns;
  for (u32 i = 0; i < m; ++i) {
    for (u32 j = 0; j < k; ++j) {
      const T x = a[i * k + j];
      for (u32 c = 0; c < n; ++c) d[i * n + c] += x * b[j * n + c];
    }
  }
}

template <class T>
void product(const Warp& w, std::byte* r, const MatrixSite& site) {
  alignas(64) T a[kElementsMax], b[kElementsMax], d[32 * 32];
  gather(w, r, site.a, a);
  gather(w, r, site.b, b);
  gather(w, r, site.c, d);
  multiply(site, a, b, d);
  spread(w, r, site.d, d);
}

// No sum of products leaves 32 bits; adding it to c may.
void integer_product(const Warp& w, std::byte* r, const MatrixSite& site) {
  alignas(64) s32 a[kElementsMax], b[kElementsMax], c[32 * 32], sums[32 * 32];
  gather(w, r, site.a, a);
  gather(w, r, site.b, b);
  gather(w, r, site.c, c);
  std::fill_n(sums, site.d.size(), 0);
  if (site.xors) {
    const u32 n = site.d.columns, k = site.a.columns;
    for (u32 p = 0; p < site.d.size(); ++p) {
      for (u32 j = 0; j < k; ++j) sums[p] += a[p / n * k + j] ^ b[j * n + p % n];
    }
  } else {
    multiply(site, a, b, sums);
  }
  for (u32 p = 0; p < site.d.size(); ++p) {
    const s64 exact = s64{sums[p]} + c[p];
    const s64 kept = std::clamp<s64>(exact, INT32_MIN, INT32_MAX);
    sums[p] = static_cast<s32>(site.saturates ? kept : exact);
  }
  spread(w, r, site.d, sums);
}

const Ins* multiply_matrices(Warp& w, const Ins* i, std::byte* r) {
  if (!everybody(w, i)) return stop();
  const MatrixSite& site = w.frame->function->matrices[i->table];
  if (site.a.element == Element::kF64) {
    product<f64>(w, r, site);
  } else if (is_integer(site.a.element)) {
    integer_product(w, r, site);
  } else {
    product<f32>(w, r, site);
  }
  return i + 1;
}

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
  bool by_columns;
  u32 bits;
};

bool find_lines(Warp& w, const Ins* i, std::byte* r, const Fragment& fragment, Lines* lines) {
  const int lane = __builtin_ctz(w.mask);
  lines->by_columns = (i->flags & kAnyFlag) != 0;
  lines->bits = element_bits(fragment.element);
  const u32 count = lines->by_columns ? fragment.columns : fragment.rows;
  const u32 length = lines->by_columns ? fragment.rows : fragment.columns;
  const u64 stride = u64{row<u32>(r, i->b)[lane]} * lines->bits / 8;
  const u64 bytes = u64{length} * lines->bits / 8;
  const u64 first = lane_address(i, r, lane);
  const u64 natural = lines->bits < 8 ? 1 : lines->bits / 8;
  if (first % natural != 0 || stride % natural != 0) {
    raise_fault(w, i, FaultKind::kMisaligned, lane, first, "a misaligned matrix, at");
    return false;
  }
  for (u32 n = 0; n < count; ++n) {
    lines->start[n] = host_address(w, i, lane, first + n * stride, bytes);
    if (lines->start[n] == 0) return false;
  }
  return true;
}

// Where an element begins, and at which bit of that byte.
std::pair<u8*, u32> element_at(const Lines& lines, const Fragment& fragment, u32 position) {
  const u32 matrix_row = position / fragment.columns, column = position % fragment.columns;
  const u32 line = lines.by_columns ? column : matrix_row;
  const u32 bit = (lines.by_columns ? matrix_row : column) * lines.bits;
  return {reinterpret_cast<u8*>(lines.start[line]) + bit / 8, bit % 8};
}

const Ins* load_matrix(Warp& w, const Ins* i, std::byte* r) {
  if (!everybody(w, i)) return stop();
  const Fragment& fragment = w.frame->function->matrices[i->table].d;
  Lines lines;
  if (!find_lines(w, i, r, fragment, &lines)) return stop();
  const u64 mask = lines.bits == 64 ? ~u64{0} : (u64{1} << lines.bits) - 1;
  const std::size_t bytes = lines.bits < 8 ? 1 : lines.bits / 8;
  for_each_place(w, fragment, [&](int lane, u32 at, u32 part, u32 position) {
    const auto [from, bit] = element_at(lines, fragment, position);
    u64 value = 0;
    std::memcpy(&value, from, bytes);
    value = value >> bit & mask;
    if (lines.bits == 64) {
      row<u64>(r, at)[lane] = value;
      return;
    }
    auto& cell = row<u32>(r, at)[lane];
    cell = (part == 0 ? 0 : cell) | static_cast<u32>(value) << (part * lines.bits & 31u);
  });
  return i + 1;
}

const Ins* store_matrix(Warp& w, const Ins* i, std::byte* r) {
  if (!everybody(w, i)) return stop();
  const Fragment& fragment = w.frame->function->matrices[i->table].d;
  Lines lines;
  if (!find_lines(w, i, r, fragment, &lines)) return stop();
  for_each_place(w, fragment, [&](int lane, u32 at, u32 part, u32 position) {
    u8* const to = element_at(lines, fragment, position).first;
    if (lines.bits == 64) {
      const u64 value = row<u64>(r, at)[lane];
      std::memcpy(to, &value, 8);
    } else {
      const u32 value = row<u32>(r, at)[lane] >> (part * lines.bits & 31u);
      std::memcpy(to, &value, lines.bits / 8);
    }
  });
  return i + 1;
}

// The 8x8 matrices of ldmatrix and its kin: lane l holds elements 2*(l%4) and the next of row l/4,
// or, transposed, of column l/4.
struct Squares {
  u16 at[4][8][8];
};

void from_registers(std::byte* r, const u32* rows, u32 count, Squares* squares) {
  for (u32 n = 0; n < count; ++n) {
    for (u32 lane = 0; lane < kLanes; ++lane) {
      const u32 pair = row<u32>(r, rows[n])[lane];
      squares->at[n][lane / 4][lane % 4 * 2] = static_cast<u16>(pair);
      squares->at[n][lane / 4][lane % 4 * 2 + 1] = static_cast<u16>(pair >> 16);
    }
  }
}

void transpose(Squares* squares, u32 count) {
  for (u32 n = 0; n < count; ++n) {
    for (u32 x = 0; x < 8; ++x) {
      for (u32 y = 0; y < x; ++y) std::swap(squares->at[n][x][y], squares->at[n][y][x]);
    }
  }
}

void to_registers(const Warp& w, std::byte* r, const u32* rows, u32 count, const Squares& squares) {
  for (u32 n = 0; n < count; ++n) {
    for (u32 m = w.mask; m != 0; m &= m - 1) {
      const u32 lane = static_cast<u32>(__builtin_ctz(m));
      const u16* pair = &squares.at[n][lane / 4][lane % 4 * 2];
      row<u32>(r, rows[n])[lane] = u32{pair[0]} | u32{pair[1]} << 16;
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
    from_registers(r, stores ? rows : &i->a, count, &squares);
  }
  if ((i->flags & kAnyFlag) != 0) transpose(&squares, count);
  if (!stores) {
    to_registers(w, r, rows, count, squares);
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
