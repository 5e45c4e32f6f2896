#include <array>
#include <utility>

#include "gpu_server/software_gpu/ptx/ast.h"

namespace farcall::softgpu::ptx {
namespace {

struct Row {
  std::string_view name;
  Type type;
  std::uint32_t bytes;
};
constexpr std::array kTypes = {
    Row{"pred", Type::kPred, 1},
    Row{"b8", Type::kB8, 1},
    Row{"b16", Type::kB16, 2},
    Row{"b32", Type::kB32, 4},
    Row{"b64", Type::kB64, 8},
    Row{"b128", Type::kB128, 16},
    Row{"u8", Type::kU8, 1},
    Row{"u16", Type::kU16, 2},
    Row{"u32", Type::kU32, 4},
    Row{"u64", Type::kU64, 8},
    Row{"s8", Type::kS8, 1},
    Row{"s16", Type::kS16, 2},
    Row{"s32", Type::kS32, 4},
    Row{"s64", Type::kS64, 8},
    Row{"f16", Type::kF16, 2},
    Row{"f16x2", Type::kF16x2, 4},
    Row{"bf16", Type::kBf16, 2},
    Row{"bf16x2", Type::kBf16x2, 4},
    Row{"tf32", Type::kTf32, 4},
    Row{"f32", Type::kF32, 4},
    Row{"f64", Type::kF64, 8},
    Row{"texref", Type::kTexref, 8},
    Row{"samplerref", Type::kSamplerref, 8},
    Row{"surfref", Type::kSurfref, 8},
};

}  // namespace

std::uint32_t type_bytes(Type type) {
  for (const Row& row : kTypes) {
    if (row.type == type) return row.bytes;
  }
  return 0;
}

std::optional<Type> type_from_name(std::string_view name) {
  for (const Row& row : kTypes) {
    if (row.name == name) return row.type;
  }
  return std::nullopt;
}

}  // namespace farcall::softgpu::ptx
