// Matrices that the lanes of a warp hold together: which element lies in which register of which
// lane.
//
//   Fragment a{16, 16, Element::kF16, Holding::kFactor, 8};
//   if (a.fits()) … a.used() of its registers hold it once, the others hold it again
//
// mma.sync's layouts are those of the manual. wmma's are nobody's business but ours, see Holding.
// Owner: FunctionBody.  Threads: any.
// Source: PTX ISA 9.0, Warp Level Matrix Multiply-Accumulate Instructions.
#pragma once
#include <cstdint>
#include <optional>
#include <string_view>

#include "gpu_server/software_gpu/exec/isa/matrix_math.h"

namespace farcall::softgpu {

std::optional<Element> element_from_name(std::string_view name);
std::uint32_t element_bits(Element element);
bool is_integer(Element element);

inline constexpr std::uint32_t kFragmentRegistersMax = 16;

struct Fragment {
  std::uint16_t rows = 0, columns = 0;
  Element element = Element::kF16;
  Holding holding = Holding::kFactor;
  std::uint32_t registers = 0;  // of each lane
  std::uint32_t first = 0;      // in FunctionBody::more_rows

  // Elements in one register.
  std::uint32_t parts() const {
    const std::uint32_t bits = element_bits(element);
    return bits >= 32 ? 1 : 32 / bits;
  }
  std::uint32_t size() const { return std::uint32_t{rows} * columns; }
  std::uint32_t bytes() const { return size() * element_bits(element) / 8; }
  std::uint32_t register_bytes() const { return element_bits(element) == 64 ? 256 : 128; }
  // Registers that hold every element once.
  std::uint32_t used() const { return size() / (32 * parts()); }
  // Whether whole registers of 32 lanes hold every element equally often.
  bool fits() const {
    const bool ours = holding == Holding::kFactor || holding == Holding::kSum;
    return registers != 0 && registers <= kFragmentRegistersMax && used() != 0 &&
           size() % (32 * parts()) == 0 && registers % used() == 0 && (ours || registers == used());
  }
};

// What a matrix instruction works on. Loads and stores have `d` alone.
struct MatrixSite {
  Fragment a, b, c, d;
  bool saturates = false;  // integers stop at their ends
  bool xors = false;       // single bits are compared instead of multiplied
};

}  // namespace farcall::softgpu
