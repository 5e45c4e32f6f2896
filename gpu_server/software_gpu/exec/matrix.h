// Matrices that the lanes of a warp hold together: which element lies in which register of which
// lane.
//
//   Fragment a{16, 16, Element::kF16, Holding::kA, 4};
//   const std::uint16_t* where = positions(a);   // by lane, register, part of it
//
// mma.sync's layouts are those of the manual. wmma's are nobody's business but ours: elements in
// order, lane after lane, and over again where the registers have room for more than one copy.
// Owner: FunctionBody.  Threads: any.
// Source: PTX ISA 9.0, Warp Level Matrix Multiply-Accumulate Instructions.
#pragma once
#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

namespace farcall::softgpu {

enum class Element : std::uint8_t {
  kF16,
  kBf16,
  kTf32,
  kF32,
  kF64,
  kS8,
  kU8,
  kS4,
  kU4,
  kB1,
  kS32,
};
std::optional<Element> element_from_name(std::string_view name);
std::uint32_t element_bits(Element element);
bool is_integer(Element element);

enum class Holding : std::uint8_t { kWmma, kA, kB, kC };

struct Fragment {
  std::uint16_t rows = 0, columns = 0;
  Element element = Element::kF16;
  Holding holding = Holding::kWmma;
  std::uint32_t registers = 0;            // of each lane
  std::uint32_t first = 0;                // in FunctionBody::more_rows
  const std::uint16_t* places = nullptr;  // positions() of it

  // Elements in one register.
  std::uint32_t parts() const {
    const std::uint32_t bits = element_bits(element);
    return bits >= 32 ? 1 : 32 / bits;
  }
  std::uint32_t size() const { return std::uint32_t{rows} * columns; }
  // Whether 32 lanes with so many registers hold every element equally often.
  bool fits() const {
    const std::uint32_t held = 32 * registers * parts();
    return size() != 0 && held != 0 && held % size() == 0 &&
           (holding == Holding::kWmma || held == size());
  }
};

// Row-major index of the element in each place: [(lane * registers + register) * parts + part].
// Kept for ever; there are few shapes.
const std::uint16_t* positions(const Fragment& fragment);

// What a matrix instruction works on. Loads and stores have `d` alone.
struct MatrixSite {
  Fragment a, b, c, d;
  bool saturates = false;  // integers stop at their ends
  bool xors = false;       // single bits are compared instead of multiplied
};

}  // namespace farcall::softgpu
