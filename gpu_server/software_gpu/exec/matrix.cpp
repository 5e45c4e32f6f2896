#include "gpu_server/software_gpu/exec/matrix.h"

#include <unordered_map>

namespace farcall::softgpu {

std::optional<Element> element_from_name(std::string_view name) {
  static const std::unordered_map<std::string_view, Element> kNames = {
      {"f16", Element::kF16}, {"bf16", Element::kBf16}, {"tf32", Element::kTf32},
      {"f32", Element::kF32}, {"f64", Element::kF64},   {"s8", Element::kS8},
      {"u8", Element::kU8},   {"s4", Element::kS4},     {"u4", Element::kU4},
      {"b1", Element::kB1},   {"s32", Element::kS32}};
  const auto found = kNames.find(name);
  if (found == kNames.end()) return std::nullopt;
  return found->second;
}

std::uint32_t element_bits(Element element) {
  switch (element) {
    case Element::kF64: return 64;
    case Element::kF16:
    case Element::kBf16: return 16;
    case Element::kS8:
    case Element::kU8: return 8;
    case Element::kS4:
    case Element::kU4: return 4;
    case Element::kB1: return 1;
    default: return 32;
  }
}

bool is_integer(Element element) { return element >= Element::kS8; }

}  // namespace farcall::softgpu
