// Products of matrices, and the ways of their elements between registers and plain arrays.
#if defined(__F16C__)
#  include <immintrin.h>
#endif

#include "gpu_server/software_gpu/exec/isa/fill.h"
#include "gpu_server/software_gpu/exec/isa/halves.h"
#include "gpu_server/software_gpu/exec/isa/lanes.h"
#include "gpu_server/software_gpu/exec/isa/matrix_math.h"

namespace farcall::softgpu {
namespace {

constexpr u32 kLines = 8;  // of a register; four lanes each

typedef f32 Floats8 __attribute__((vector_size(32)));
typedef u32 Words8 __attribute__((vector_size(32)));

// Lines of a register as numbers.
struct F16Line {
  using T = f32;
  static constexpr u32 kElements = 8, kBytes = 16;
  static void read(const void* line, f32* to) {
#if defined(__F16C__)
    const __m128i halves = _mm_loadu_si128(static_cast<const __m128i*>(line));
    const Floats8 x = reinterpret_cast<Floats8>(_mm256_cvtph_ps(halves));
    const Words8 bits = reinterpret_cast<Words8>(x), nan = reinterpret_cast<Words8>(x != x);
    const Words8 kept = (bits & ~nan) | (((bits & 0x80000000u) | 0x7fc00000u) & nan);
    __builtin_memcpy(to, &kept, sizeof kept);
#else
    u16 halves[kElements];
    __builtin_memcpy(halves, line, sizeof halves);
    for (u32 x = 0; x < kElements; ++x) to[x] = __builtin_bit_cast(f32, half_to_bits(halves[x]));
#endif
  }
};
struct Bf16Line {
  using T = f32;
  static constexpr u32 kElements = 8, kBytes = 16;
  static void read(const void* line, f32* to) {
    u16 halves[kElements];
    __builtin_memcpy(halves, line, sizeof halves);
    for (u32 x = 0; x < kElements; ++x) {
      const u32 half = halves[x];
      const u32 kept = (half & 0x7fffu) > 0x7f80u ? (half & 0x8000u) | 0x7fc0u : half;
      to[x] = __builtin_bit_cast(f32, kept << 16);
    }
  }
};
// The last 13 bits of a tf32 do not count.
struct Tf32Line {
  using T = f32;
  static constexpr u32 kElements = 4, kBytes = 16;
  static void read(const void* line, f32* to) {
    u32 words[kElements];
    __builtin_memcpy(words, line, sizeof words);
    for (u32 x = 0; x < kElements; ++x) to[x] = __builtin_bit_cast(f32, words[x] & 0xffffe000u);
  }
};
struct F64Line {
  using T = f64;
  static constexpr u32 kElements = 4, kBytes = 32;
  static void read(const void* line, f64* to) { __builtin_memcpy(to, line, kBytes); }
};
template <class Byte>
struct ByteLine {
  using T = u32;
  static constexpr u32 kElements = 16, kBytes = 16;
  static void read(const void* line, u32* to) {
    Byte bytes[kElements];
    __builtin_memcpy(bytes, line, sizeof bytes);
    for (u32 x = 0; x < kElements; ++x) to[x] = static_cast<u32>(s32{bytes[x]});
  }
};
// Several elements in a byte, the lowest first.
template <u32 kBits, bool kSigned>
struct BitsLine {
  using T = u32;
  static constexpr u32 kElements = 128 / kBits, kBytes = 16;
  static void read(const void* line, u32* to) {
    u32 words[4];
    __builtin_memcpy(words, line, sizeof words);
    for (u32 x = 0; x < kElements; ++x) {
      const u32 top = words[x * kBits / 32] << (32 - kBits - x * kBits % 32);
      to[x] =
          kSigned ? static_cast<u32>(static_cast<s32>(top) >> (32 - kBits)) : top >> (32 - kBits);
    }
  }
};

template <class Line>
inline void read_factor(const HeldMatrix& m, typename Line::T* to) {
  constexpr u32 e = Line::kElements;
  for (u32 reg = 0; reg < m.registers; ++reg) {
    const std::byte* line = m.frame + m.rows[reg];
    if (m.holding == Holding::kB) {
      for (u32 column = 0; column < kLines; ++column, line += Line::kBytes) {
        typename Line::T x[e];
        Line::read(line, x);
        for (u32 n = 0; n < e; ++n) to[(reg * e + n) * kLines + column] = x[n];
      }
      continue;
    }
    u32 at = reg * kLines * e, step = e;
    if (m.holding == Holding::kA) {
      at = m.halves ? reg % 2 * kLines * m.columns + reg / 2 * e : reg * e;
      step = m.columns;
    }
    for (u32 n = 0; n < kLines; ++n, line += Line::kBytes) Line::read(line, to + at + n * step);
  }
}

void factors_f32(const HeldMatrix& m, f32* to) {
  switch (m.element) {
    case Element::kF16: return read_factor<F16Line>(m, to);
    case Element::kBf16: return read_factor<Bf16Line>(m, to);
    default: return read_factor<Tf32Line>(m, to);
  }
}
void factors_f64(const HeldMatrix& m, f64* to) { read_factor<F64Line>(m, to); }
void factors_u32(const HeldMatrix& m, u32* to) {
  switch (m.element) {
    case Element::kS8: return read_factor<ByteLine<s8>>(m, to);
    case Element::kU8: return read_factor<ByteLine<u8>>(m, to);
    case Element::kS4: return read_factor<BitsLine<4, true>>(m, to);
    case Element::kU4: return read_factor<BitsLine<4, false>>(m, to);
    default: return read_factor<BitsLine<1, false>>(m, to);
  }
}

template <class T>
void read_sums(const HeldMatrix& m, T* to) {
  for (u32 reg = 0; reg < m.registers; ++reg) {
    const auto* from = reinterpret_cast<const typename RawAlias<T>::Type*>(m.frame + m.rows[reg]);
    if (m.holding == Holding::kSum) {
      __builtin_memcpy(to + reg * kLanes, from, kLanes * sizeof(T));
    } else {
      T* const pairs = to + reg / 2 * 2 * kLanes + reg % 2;
      for (int l = 0; l < kLanes; ++l) pairs[2 * l] = from[l];
    }
  }
}
template <class T>
void keep_sums(const HeldMatrix& m, const T* from) {
  for (u32 reg = 0; reg < m.registers; ++reg) {
    auto* to = reinterpret_cast<typename RawAlias<T>::Type*>(m.frame + m.rows[reg]);
    if (m.holding == Holding::kSum) {
      __builtin_memcpy(to, from + reg * kLanes, kLanes * sizeof(T));
    } else {
      const T* const pairs = from + reg / 2 * 2 * kLanes + reg % 2;
      for (int l = 0; l < kLanes; ++l) to[l] = pairs[2 * l];
    }
  }
}

// Halves lie two to a register: neighbours as the manual has them, 32 numbers apart where the
// layout is ours, so that element i means the same as in a matrix of floats.
void sums_f32(const HeldMatrix& m, f32* to) {
  if (m.element != Element::kF16) return read_sums<f32>(m, to);
  for (u32 reg = 0; reg < m.registers; ++reg) {
    alignas(64) u16 halves[2 * kLanes];
    const Row<u32>* from = row<u32>(m.frame, m.rows[reg]);
    if (m.holding == Holding::kSum) {
      FARCALL_LANES halves[l] = static_cast<u16>(from[l]);
      FARCALL_LANES halves[kLanes + l] = static_cast<u16>(from[l] >> 16);
    } else {
      __builtin_memcpy(halves, from, sizeof halves);
    }
    for (u32 n = 0; n < 2 * kLanes; n += 8) F16Line::read(halves + n, to + reg * 2 * kLanes + n);
  }
}

inline void halves_from(const f32* from, u16* to) {
  for (u32 n = 0; n < 2 * kLanes; ++n) {
    to[n] = static_cast<u16>(half_from_bits(__builtin_bit_cast(u32, from[n])));
  }
}

void keep_f32(const HeldMatrix& m, const f32* from) {
  if (m.element != Element::kF16) return keep_sums<f32>(m, from);
  for (u32 reg = 0; reg < m.registers; ++reg) {
    alignas(64) u16 halves[2 * kLanes];
    halves_from(from + reg * 2 * kLanes, halves);
    Row<u32>* to = row<u32>(m.frame, m.rows[reg]);
    if (m.holding == Holding::kSum) {
      FARCALL_LANES to[l] = u32{halves[l]} | u32{halves[kLanes + l]} << 16;
    } else {
      __builtin_memcpy(to, halves, sizeof halves);
    }
  }
}

// Sums of several rows at a time stay in registers of the host, as many as it has.
#if defined(__AVX512F__)
constexpr u32 kRowsAtOnce = 8;
#elif defined(__AVX__)
constexpr u32 kRowsAtOnce = 4;
#else
constexpr u32 kRowsAtOnce = 2;
#endif

template <class T, u32 kBytes>
struct Wide {
  typedef T Type __attribute__((vector_size(kBytes)));
};

template <class T, u32 kColumns>
void multiply_columns(const T* a, const T* b, T* d, MatrixSizes s) {
  using V = typename Wide<T, kColumns * sizeof(T)>::Type;
  for (u32 i = 0; i < s.m; i += kRowsAtOnce, a += kRowsAtOnce * s.k, d += kRowsAtOnce * s.n) {
    V sums[kRowsAtOnce];
    for (u32 r = 0; r < kRowsAtOnce; ++r) __builtin_memcpy(&sums[r], d + r * s.n, sizeof(V));
    for (u32 j = 0; j < s.k; ++j) {
      V x;
      __builtin_memcpy(&x, b + j * s.n, sizeof x);
      for (u32 r = 0; r < kRowsAtOnce; ++r) sums[r] += a[r * s.k + j] * x;
    }
    for (u32 r = 0; r < kRowsAtOnce; ++r) __builtin_memcpy(d + r * s.n, &sums[r], sizeof(V));
  }
}

template <class T>
void multiply(const T* a, const T* b, T* d, MatrixSizes s) {
  constexpr u32 kMost = 64 / sizeof(T);
  u32 column = 0;
  for (; column + kMost <= s.n; column += kMost) {
    multiply_columns<T, kMost>(a, b + column, d + column, s);
  }
  if (column < s.n) multiply_columns<T, 8>(a, b + column, d + column, s);
}

const MatrixMath kMath = {
    factors_f32,   factors_f64,   factors_u32,   sums_f32, read_sums<f64>, read_sums<u32>,
    multiply<f32>, multiply<f64>, multiply<u32>, keep_f32, keep_sums<f64>, keep_sums<u32>,
};

}  // namespace

namespace FARCALL_ISA {
const MatrixMath& matrix_math() { return kMath; }
}  // namespace FARCALL_ISA

}  // namespace farcall::softgpu
