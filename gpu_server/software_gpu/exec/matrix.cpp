#include "gpu_server/software_gpu/exec/matrix.h"

#include <map>
#include <mutex>
#include <tuple>
#include <unordered_map>

namespace farcall::softgpu {
namespace {

constexpr std::uint32_t kWarpLanes = 32;

// Four lanes share a row; `group` is which row they share, `member` which of the four a lane is.
std::uint32_t position(const Fragment& f, std::uint32_t lane, std::uint32_t reg,
                       std::uint32_t part) {
  const std::uint32_t parts = f.parts(), group = lane / 4, member = lane % 4;
  std::uint32_t row = 0, column = 0;
  switch (f.holding) {
    case Holding::kWmma: return ((lane * f.registers + reg) * parts + part) % f.size();
    case Holding::kA: {
      // Registers alternate between the upper and the lower eight rows.
      const bool halves = f.rows == 16;
      row = group + (halves ? 8 * (reg % 2) : 0);
      column = (halves ? reg / 2 : reg) * 4 * parts + member * parts + part;
      break;
    }
    case Holding::kB:
      row = reg * 4 * parts + member * parts + part;
      column = group;
      break;
    case Holding::kC: {
      const std::uint32_t n = reg * parts + part;
      row = group + 8 * (n / 2);
      column = member * 2 + n % 2;
      break;
    }
  }
  return row * f.columns + column;
}

}  // namespace

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

const std::uint16_t* positions(const Fragment& f) {
  using Key = std::tuple<Holding, std::uint32_t, std::uint32_t, std::uint32_t, std::uint32_t>;
  static std::mutex mutex;
  // Leaked on purpose: streams may still run while a host process destroys its statics.
  static auto* const known = new std::map<Key, std::vector<std::uint16_t>>();
  const std::lock_guard<std::mutex> held(mutex);
  auto& table = (*known)[{f.holding, f.rows, f.columns, f.registers, f.parts()}];
  if (!table.empty()) return table.data();
  for (std::uint32_t lane = 0; lane < kWarpLanes; ++lane) {
    for (std::uint32_t reg = 0; reg < f.registers; ++reg) {
      for (std::uint32_t part = 0; part < f.parts(); ++part) {
        table.push_back(static_cast<std::uint16_t>(position(f, lane, reg, part)));
      }
    }
  }
  return table.data();
}

}  // namespace farcall::softgpu
