// The decoder's frame: functions, instructions, guards, branches. Operands and instruction families
// have files of their own.
#include "gpu_server/software_gpu/exec/decode.h"

#include <cstring>

#include "gpu_server/software_gpu/exec/bounds.h"
#include "gpu_server/software_gpu/ptx/parser.h"

namespace farcall::softgpu {

bool Mods::has(std::string_view word) const {
  for (std::string_view w : words_) {
    if (w == word) return true;
  }
  return false;
}

std::optional<ptx::Type> Mods::type(std::size_t n) const {
  for (std::string_view w : words_) {
    const std::optional<ptx::Type> type = ptx::type_from_name(w);
    if (type && n-- == 0) return type;
  }
  return std::nullopt;
}

std::size_t Mods::types() const {
  std::size_t count = 0;
  for (std::string_view w : words_) count += ptx::type_from_name(w) ? 1 : 0;
  return count;
}

Ty type_of(ptx::Type type) {
  switch (type) {
    case ptx::Type::kPred: return Ty::kPred;
    case ptx::Type::kB8:
    case ptx::Type::kU8: return Ty::kU8;
    case ptx::Type::kS8: return Ty::kS8;
    case ptx::Type::kB16:
    case ptx::Type::kU16: return Ty::kU16;
    case ptx::Type::kS16: return Ty::kS16;
    case ptx::Type::kS32: return Ty::kS32;
    case ptx::Type::kB64:
    case ptx::Type::kU64: return Ty::kU64;
    case ptx::Type::kS64: return Ty::kS64;
    case ptx::Type::kF16: return Ty::kF16;
    case ptx::Type::kF16x2: return Ty::kF16x2;
    case ptx::Type::kBf16: return Ty::kBf16;
    case ptx::Type::kBf16x2: return Ty::kBf16x2;
    case ptx::Type::kF32: return Ty::kF32;
    case ptx::Type::kF64: return Ty::kF64;
    default: return Ty::kU32;
  }
}

std::uint32_t bytes_of(Ty type) {
  switch (type) {
    case Ty::kU8:
    case Ty::kS8: return 1;
    case Ty::kU16:
    case Ty::kS16:
    case Ty::kF16:
    case Ty::kBf16: return 2;
    case Ty::kU64:
    case Ty::kS64:
    case Ty::kF64: return 8;
    default: return 4;
  }
}

bool is_float(Ty type) { return type >= Ty::kF16 && type <= Ty::kF64; }

bool is_signed(Ty type) {
  return type == Ty::kS8 || type == Ty::kS16 || type == Ty::kS32 || type == Ty::kS64;
}

Ty unsigned_twin(Ty type) {
  switch (bytes_of(type)) {
    case 1: return Ty::kU8;
    case 2: return Ty::kU16;
    case 8: return Ty::kU64;
    default: return type == Ty::kPred ? Ty::kPred : Ty::kU32;
  }
}

Status FunctionDecoder::decode() {
  rows_.assign(body_.registers.size(), kNoRow);
  out_.name = function_.name;
  count_writes();
  lay_out_locals();
  starts_.reserve(body_.instructions.size() + 1);
  out_.code.reserve(body_.instructions.size() + 8);
  for (const ptx::Instruction& instruction : body_.instructions) {
    starts_.push_back(static_cast<std::uint32_t>(out_.code.size()));
    one(instruction);
    if (!status_.ok()) return status_;
    if (std::uint64_t{frame_used_} + constants_end_ > kFrameBytesMax) {
      return {Code::kOverQuota, function_.name + ": too many registers and constants"};
    }
  }
  starts_.push_back(static_cast<std::uint32_t>(out_.code.size()));
  emit(Op::kReturn, Ty::kU32);  // what running off the end means
  fix_branches();
  finish_frame();
  for (const ptx::Type type : body_.registers) {
    out_.registers += type == ptx::Type::kPred ? 0u : ptx::type_bytes(type) > 4 ? 2u : 1u;
  }
  return status_;
}

// Local memory of the function: its .local variables, the .param variables of its calls, and, for a
// .func, its own parameters and return values.
void FunctionDecoder::lay_out_locals() {
  std::uint64_t used = 0;
  const auto place = [&](std::uint64_t bytes, std::uint64_t align) {
    align = align < 1 ? 1 : align;
    used = (used + align - 1) / align * align;
    const std::uint64_t at = used;
    used += bytes;
    return at;
  };
  for (const ptx::Variable& variable : body_.variables) {
    const bool here = variable.space == ptx::Space::kLocal || variable.space == ptx::Space::kParam;
    local_offsets_.push_back(here ? place(variable.bytes, variable.align) : 0);
  }
  if (!function_.is_entry) {
    for (const ptx::Param& param : function_.params) {
      const auto at = place(param.bytes, param.align);
      out_.params.push_back({static_cast<std::uint32_t>(at), param.bytes});
    }
    for (const ptx::Param& param : function_.returns) {
      const auto at = place(param.bytes, param.align);
      out_.returns.push_back({static_cast<std::uint32_t>(at), param.bytes});
    }
    for (const auto* list : {&function_.params, &function_.returns}) {
      for (const ptx::Param& param : *list) {
        if (param.space == ptx::Space::kReg) {
          status_ = Status(Code::kUnsupported,
                           function_.name + ": register parameters are not supported");
        }
      }
    }
  }
  if (used > kLocalBytesMax) {
    status_ = Status(Code::kUnsupported, function_.name + ": too much local memory");
    used = 0;
  }
  out_.local_bytes = static_cast<std::uint32_t>((used + 15) / 16 * 16);
}

void FunctionDecoder::one(const ptx::Instruction& instruction) {
  now_ = &instruction;
  const auto& table = methods();
  const auto found = table.find(instruction.opcode);
  if (found == table.end()) return unsupported();
  const std::size_t placeholder = out_.code.size();
  const bool guarded = instruction.guard_reg != ptx::Operand::kNoRegister;
  guard_taken_ = false;
  if (guarded && instruction.opcode != "bra") emit(Op::kNop, Ty::kU32);
  (this->*found->second)();
  if (guarded && !guard_taken_ && status_.ok()) close_guard(placeholder);
}

// The placeholder becomes a guard of the one instruction that follows, or, where that would split
// a warp-wide instruction or there are several, a branch around them.
void FunctionDecoder::close_guard(std::size_t placeholder) {
  const std::size_t count = out_.code.size() - placeholder - 1;
  if (count == 0) return;
  const Op first = static_cast<Op>(out_.keys.back() >> 16);
  const bool alone = count == 1 && first < Op::kShfl;
  const Op op = alone ? Op::kGuard : Op::kBranch;
  Ins& ins = out_.code[placeholder];
  out_.keys[placeholder] = handler_key(op, Ty::kU32);
  ins.a = register_row(now_->guard_reg);
  const bool negated = alone ? now_->guard_negated : !now_->guard_negated;
  ins.flags = negated ? kNegated : 0;
  ins.imm = static_cast<std::int64_t>(count) + 1;
}

void FunctionDecoder::fix_branches() {
  const auto distance = [&](std::uint32_t at, std::uint32_t label) {
    const std::uint32_t target = body_.labels[label].instruction;
    return static_cast<std::int64_t>(starts_[target]) - static_cast<std::int64_t>(at);
  };
  for (const Jump& jump : jumps_) out_.code[jump.at].imm = distance(jump.at, jump.label);
  for (const TableJump& jump : table_jumps_) {
    std::vector<std::int64_t> distances;
    for (const std::uint32_t label : body_.tables[jump.table].labels) {
      distances.push_back(distance(jump.at, label));
    }
    out_.code[jump.at].table = static_cast<std::uint32_t>(out_.branch_tables.size());
    out_.branch_tables.push_back(std::move(distances));
  }
}

// Constants come first in a frame; until now their operands were marked instead of placed.
void FunctionDecoder::finish_frame() {
  std::uint32_t constant_bytes = 0;
  for (const auto& [key, at] : constants_) {
    const std::uint32_t end = (at & ~kConstantBit) + (key.second ? 256u : 128u);
    constant_bytes = end > constant_bytes ? end : constant_bytes;
  }
  out_.constants.resize(constant_bytes);
  for (const auto& [key, at] : constants_) {
    std::byte* row = out_.constants.data() + (at & ~kConstantBit);
    for (std::size_t l = 0; l < kLanes; ++l) {
      if (key.second) {
        std::memcpy(row + l * 8, &key.first, 8);
      } else {
        std::memcpy(row + l * 4, &key.first, 4);
      }
    }
  }
  const auto place = [&](std::uint32_t& at) {
    at = (at & kConstantBit) != 0 ? at & ~kConstantBit : at + constant_bytes;
  };
  for (Ins& ins : out_.code) {
    for (std::uint32_t* field : {&ins.d, &ins.a, &ins.b, &ins.c, &ins.e, &ins.f}) place(*field);
  }
  for (std::uint32_t& row : out_.more_rows) place(row);
  for (SpecialRow& row : out_.specials) row.offset += constant_bytes;
  out_.frame_bytes = constant_bytes + (frame_used_ + 255) / 256 * 256;
  if (out_.frame_bytes == 0) out_.frame_bytes = 256;
}

void FunctionDecoder::unsupported(std::string_view why) {
  if (!status_.ok()) return;
  std::string text = "kernel function " + function_.name + ", line " + std::to_string(now_->line) +
                     ": instruction " + std::string(now_->opcode);
  for (std::string_view mod : now_->mods) text += "." + std::string(mod);
  text += " is not supported";
  if (!why.empty()) text += " (" + std::string(why) + ")";
  status_ = Status(Code::kUnsupported, std::move(text));
}

bool FunctionDecoder::known(Op op, Ty type, unsigned variant) const {
  return find_handler(Isa::kBaseline, handler_key(op, type, variant)) != nullptr;
}

Ins& FunctionDecoder::emit(Op op, Ty type, unsigned variant) {
  // Where the sign does not matter, only the unsigned handler exists.
  if (!known(op, type, variant)) type = unsigned_twin(type);
  if (!known(op, type, variant)) {
    unsupported();
    op = Op::kNop;
    type = Ty::kU32;
    variant = 0;
  }
  out_.code.emplace_back();
  out_.keys.push_back(handler_key(op, type, variant));
  out_.code.back().line = now_ != nullptr ? now_->line : 0;
  return out_.code.back();
}

}  // namespace farcall::softgpu
