// Matrices for the tests of products: small whole numbers, which every element's format holds
// exactly, and what a product of them is by plain sums.
//
//   const auto a = matrix(random, p.m * p.k, p.a);
//   CHECK(found == encoded(p.d, expected(p, a, b, c)[i]));
//
// Owner: plain values.  Threads: any.
#pragma once
#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "gpu_server/software_gpu/exec/half.h"
#include "gpu_server/software_gpu/exec/matrix.h"
#include "tests/gpu_server/software_gpu/exec/harness.h"

namespace farcall::softgpu::test {

using u32 = std::uint32_t;
using u64 = std::uint64_t;

// A number as bits of an element.
inline u64 encoded(Element element, int value) {
  switch (element) {
    case Element::kF16: return encode<F16>(value, 0);
    case Element::kBf16: return encode<Bf16>(value, 0);
    case Element::kF32:
    case Element::kTf32: return bits(static_cast<float>(value));
    case Element::kF64: return bits(static_cast<double>(value));
    default: {
      const u32 width = element_bits(element);
      return static_cast<u32>(value) & (width == 32 ? ~0u : (1u << width) - 1);
    }
  }
}

inline int smallest(Element element) {
  return element == Element::kU8 || element == Element::kU4 || element == Element::kB1 ? 0 : -4;
}
inline int largest(Element element) { return element == Element::kB1 ? 1 : 4; }

// Row after row.
inline std::vector<int> matrix(std::mt19937& random, std::size_t count, Element element) {
  const int low = smallest(element);
  const auto span = static_cast<unsigned>(largest(element) - low + 1);
  std::vector<int> all(count);
  for (int& x : all) x = low + static_cast<int>(random() % span);
  return all;
}

struct Product {
  const char* name;  // the instruction without its operands
  u32 m, n, k;
  Element a, b, c, d;
  u32 a_registers, b_registers;  // c and d: by their size
};

// Of a lane, for c or d.
inline u32 registers_of_sums(const Product& p, Element element) {
  const u32 parts = element == Element::kF16 ? 2 : 1;
  return p.m * p.n / 32 / parts;
}

// a times b, plus c.
inline std::vector<int> expected(const Product& p, const std::vector<int>& a,
                                 const std::vector<int>& b, const std::vector<int>& c) {
  std::vector<int> d = c;
  for (u32 i = 0; i < p.m; ++i) {
    for (u32 j = 0; j < p.n; ++j) {
      for (u32 x = 0; x < p.k; ++x) d[i * p.n + j] += a[i * p.k + x] * b[x * p.n + j];
    }
  }
  return d;
}

// "{%r4, %r5}" for "%r", 4, 2.
inline std::string several(const char* prefix, u32 first, u32 count) {
  std::string all = "{";
  for (u32 n = 0; n < count; ++n) {
    all += (n == 0 ? "" : ", ") + std::string(prefix) + std::to_string(first + n);
  }
  return all + "}";
}

}  // namespace farcall::softgpu::test
