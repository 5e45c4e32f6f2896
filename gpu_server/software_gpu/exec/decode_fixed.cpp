// Registers that never change while a kernel runs: special registers and kernel parameters moved
// into a register that no other instruction writes. Their rows are filled ahead, once for a launch,
// block or warp, and the instruction is left out: a quarter of what short kernels execute.
#include "gpu_server/software_gpu/exec/decode.h"

namespace farcall::softgpu {

using Kind = ptx::Operand::Kind;

// PTX names what it writes first, alone, as {a, b}, as p|q or as (a) of a call. Counting a register
// that is only read there is harmless.
void FunctionDecoder::count_writes() {
  writes_.assign(body_.registers.size(), 0);
  fixed_.assign(body_.registers.size(), false);
  const auto note = [this](std::int32_t reg) {
    std::uint8_t& count = writes_[static_cast<std::size_t>(reg)];
    if (count < 2) ++count;
  };
  for (const ptx::Instruction& instruction : body_.instructions) {
    if (instruction.operands.empty()) continue;
    const ptx::Operand& first = instruction.operands.front();
    if (first.kind == Kind::kRegister) note(first.reg);
    if (first.kind == Kind::kAddress) continue;
    for (const ptx::Operand& part : first.parts) {
      if (part.kind == Kind::kRegister) note(part.reg);
    }
  }
  for (const auto* list : {&body_.param_registers, &body_.return_registers}) {
    for (const std::int32_t reg : *list) {
      if (reg >= 0) writes_[static_cast<std::size_t>(reg)] = 2;
    }
  }
}

// Makes the register another name of `row`; false when it must have a row of its own.
bool FunctionDecoder::stand_for(const ptx::Operand& to, std::uint32_t row, bool wide) {
  if (to.kind != Kind::kRegister || is_pred(to.reg) || is_wide(to.reg) != wide) return false;
  const auto reg = static_cast<std::size_t>(to.reg);
  if (writes_[reg] != 1 || rows_[reg] != kNoRow) return false;
  rows_[reg] = row;
  fixed_[reg] = true;
  return true;
}

// mov and cvta: whether the target can stand for the source.
bool FunctionDecoder::stands_for(const ptx::Operand& to, const ptx::Operand& from, bool wide) {
  if (from.kind == Kind::kSpecial && !is_clock(from.text)) {
    return stand_for(to, special(from.text, wide), wide);
  }
  if (from.kind != Kind::kRegister || is_pred(from.reg) || !from.selector.empty()) return false;
  const auto reg = static_cast<std::size_t>(from.reg);
  return fixed_[reg] && is_wide(from.reg) == wide && stand_for(to, rows_[reg], wide);
}

// A parameter of the kernel, `at` bytes from the first; the same for every thread of a launch.
bool FunctionDecoder::stands_for_param(const ptx::Operand& to, std::uint32_t at, Ty type) {
  if (!function_.is_entry || to.kind != Kind::kRegister || is_pred(to.reg)) return false;
  const bool wide = is_wide(to.reg);
  const auto key = std::make_pair(std::uint64_t{at} << 8 | static_cast<unsigned>(type), wide);
  const auto known = params_.find(key);
  if (known != params_.end()) return stand_for(to, known->second, wide);
  if (!stand_for(to, frame_used_, wide)) return false;
  params_[key] = new_row(wide);
  out_.specials.push_back({Special::kParam, wide, params_[key], at, type});
  return true;
}

}  // namespace farcall::softgpu
