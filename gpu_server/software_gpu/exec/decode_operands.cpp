// Rows for operands: registers, immediates, special registers and the addresses of symbols.
#include <cstring>

#include "gpu_server/software_gpu/exec/decode.h"

namespace farcall::softgpu {

using Kind = ptx::Operand::Kind;

std::uint32_t FunctionDecoder::new_row(bool wide) {
  const std::uint32_t at = frame_used_;
  frame_used_ += wide ? 256 : 128;
  return at;
}

std::uint32_t FunctionDecoder::new_pred() {
  if (preds_left_ == 0) {
    pred_chunk_ = new_row(false);
    preds_left_ = 32;
  }
  return pred_chunk_ + 4 * --preds_left_;
}

std::uint32_t FunctionDecoder::constant(std::uint64_t bits, bool wide) {
  if (!wide) bits &= 0xffffffffu;
  const auto key = std::make_pair(bits, wide);
  const auto found = constants_.find(key);
  if (found != constants_.end()) return found->second;
  std::uint32_t end = 0;
  if (!constants_.empty()) end = constants_end_;
  constants_end_ = end + (wide ? 256u : 128u);
  constants_[key] = end | kConstantBit;
  return end | kConstantBit;
}

bool FunctionDecoder::is_wide(std::int32_t reg) const {
  return ptx::type_bytes(body_.registers[static_cast<std::size_t>(reg)]) > 4;
}

bool FunctionDecoder::is_pred(std::int32_t reg) const {
  return body_.registers[static_cast<std::size_t>(reg)] == ptx::Type::kPred;
}

std::uint32_t FunctionDecoder::register_row(std::int32_t reg) {
  std::uint32_t& at = rows_[static_cast<std::size_t>(reg)];
  if (at == kNoRow) {
    const ptx::Type type = body_.registers[static_cast<std::size_t>(reg)];
    if (ptx::type_bytes(type) > 8) unsupported("128-bit register");
    at = type == ptx::Type::kPred ? new_pred() : new_row(ptx::type_bytes(type) > 4);
  }
  return at;
}

const ptx::Operand& FunctionDecoder::operand(std::size_t n) {
  static const ptx::Operand none;
  if (n < now_->operands.size()) return now_->operands[n];
  unsupported("missing operand");
  return none;
}

std::uint32_t FunctionDecoder::source(const ptx::Operand& operand, Ty type) {
  const bool wide = bytes_of(type) > 4;
  switch (operand.kind) {
    case Kind::kRegister: {
      if (is_pred(operand.reg)) break;
      if (!operand.selector.empty()) break;
      const std::uint32_t at = register_row(operand.reg);
      if (is_wide(operand.reg) == wide) return at;
      if (wide) break;
      // The low part of a wide register, which PTX allows for stores and conversions.
      const std::uint32_t narrow = new_row(false);
      emit_cvt(Ty::kU32, Ty::kU64, narrow, at, 0);
      return narrow;
    }
    case Kind::kImmediate: {
      if (type == Ty::kF32 || type == Ty::kF64) {
        const double value = static_cast<double>(static_cast<std::int64_t>(operand.bits));
        if (type == Ty::kF64) return constant(__builtin_bit_cast(std::uint64_t, value), true);
        return constant(__builtin_bit_cast(std::uint32_t, static_cast<float>(value)), false);
      }
      return constant(operand.bits, wide);
    }
    case Kind::kFloatImmediate:
      if (operand.float_bytes == 4 && wide && is_float(type)) {
        const float value = __builtin_bit_cast(float, static_cast<std::uint32_t>(operand.bits));
        return constant(__builtin_bit_cast(std::uint64_t, static_cast<double>(value)), true);
      }
      if (operand.float_bytes == 8 && !wide) {
        const auto value = static_cast<float>(__builtin_bit_cast(double, operand.bits));
        return constant(__builtin_bit_cast(std::uint32_t, value), false);
      }
      return constant(operand.bits, wide);
    case Kind::kSymbol: return symbol_row(operand, wide);
    case Kind::kSpecial: return special(operand.text, wide);
    default: break;
  }
  unsupported("operand " + std::string(operand.text));
  return 0;
}

std::uint32_t FunctionDecoder::dest(const ptx::Operand& operand, Ty type) {
  const bool wide = bytes_of(type) > 4;
  if (operand.kind == Kind::kSink) return new_row(wide);
  if (operand.kind != Kind::kRegister || is_pred(operand.reg) || is_wide(operand.reg) != wide) {
    unsupported("destination " + std::string(operand.text));
    return 0;
  }
  return register_row(operand.reg);
}

std::uint32_t FunctionDecoder::dest_pred(const ptx::Operand& operand) {
  if (operand.kind == Kind::kSink) return new_pred();
  if (operand.kind != Kind::kRegister || !is_pred(operand.reg)) {
    unsupported("predicate " + std::string(operand.text));
    return 0;
  }
  return register_row(operand.reg);
}

std::uint32_t FunctionDecoder::source_pred(const ptx::Operand& operand) {
  if (operand.kind == Kind::kImmediate) return constant(operand.bits != 0 ? ~0u : 0u, false);
  if (operand.kind != Kind::kRegister || !is_pred(operand.reg)) {
    unsupported("predicate " + std::string(operand.text));
    return 0;
  }
  const std::uint32_t at = register_row(operand.reg);
  if (!operand.negated) return at;
  Ins& ins = emit(Op::kPredNot, Ty::kPred);
  ins.a = at;
  return ins.d = new_pred();
}

namespace {

const std::unordered_map<std::string_view, Special> kNames = {
    {"tid.x", Special::kTidX},
    {"tid.y", Special::kTidY},
    {"tid.z", Special::kTidZ},
    {"ntid.x", Special::kNtidX},
    {"ntid.y", Special::kNtidY},
    {"ntid.z", Special::kNtidZ},
    {"ctaid.x", Special::kCtaidX},
    {"ctaid.y", Special::kCtaidY},
    {"ctaid.z", Special::kCtaidZ},
    {"nctaid.x", Special::kNctaidX},
    {"nctaid.y", Special::kNctaidY},
    {"nctaid.z", Special::kNctaidZ},
    {"laneid", Special::kLaneId},
    {"warpid", Special::kWarpId},
    {"nwarpid", Special::kNwarpId},
    {"smid", Special::kSmId},
    {"nsmid", Special::kNsmId},
    {"gridid", Special::kGridId},
    {"lanemask_eq", Special::kLaneMaskEq},
    {"lanemask_le", Special::kLaneMaskLe},
    {"lanemask_lt", Special::kLaneMaskLt},
    {"lanemask_ge", Special::kLaneMaskGe},
    {"lanemask_gt", Special::kLaneMaskGt},
    {"envreg1", Special::kEnvReg1},
    {"envreg2", Special::kEnvReg2},
    {"dynamic_smem_size", Special::kDynamicShared},
    {"dynamic_smem_offset", Special::kDynamicOffset},
    {"reserved_smem_offset", Special::kReservedOffset},
    {"total_smem_size", Special::kTotalShared},
    {"aggr_smem_size", Special::kTotalShared},
    // A launch without clusters has clusters of one block.
    {"clusterid.x", Special::kClusteridX},
    {"clusterid.y", Special::kClusteridY},
    {"clusterid.z", Special::kClusteridZ},
    {"nclusterid.x", Special::kNclusteridX},
    {"nclusterid.y", Special::kNclusteridY},
    {"nclusterid.z", Special::kNclusteridZ},
    {"cluster_ctaid.x", Special::kClusterCtaidX},
    {"cluster_ctaid.y", Special::kClusterCtaidY},
    {"cluster_ctaid.z", Special::kClusterCtaidZ},
    {"cluster_ctarank", Special::kClusterCtarank},
    {"cluster_nctaid.x", Special::kClusterNctaidX},
    {"cluster_nctaid.y", Special::kClusterNctaidY},
    {"cluster_nctaid.z", Special::kClusterNctaidZ},
    {"cluster_nctarank", Special::kClusterNctarank},
    {"is_explicit_cluster", Special::kIsExplicitCluster},
    {"current_graph_exec", Special::kZero},
};

// Low word, high word or both; of the cycle counter or the global timer.
const std::unordered_map<std::string_view, std::pair<unsigned, unsigned>> kClocks = {
    {"clock", {0, 0}},          {"clock_hi", {1, 0}},       {"clock64", {2, 0}},
    {"globaltimer_lo", {0, 1}}, {"globaltimer_hi", {1, 1}}, {"globaltimer", {2, 1}}};

}  // namespace

bool FunctionDecoder::is_clock(std::string_view name) { return kClocks.contains(name); }

std::uint32_t FunctionDecoder::special(std::string_view name, bool wide) {
  if (const auto clock = kClocks.find(name); clock != kClocks.end()) {
    kernel_.note_spin();
    const bool both = clock->second.first == 2;
    if (both != wide) unsupported("width of %" + std::string(name));
    Ins& ins = emit(Op::kClock, Ty::kU32);
    ins.detail = static_cast<std::uint8_t>(clock->second.first);
    ins.table = clock->second.second;
    return ins.d = new_row(both);
  }
  if (name == "reserved_smem_offset_1" || name == "reserved_smem_offset_begin") {
    kernel_.note_reserved_shared();
    name = "reserved_smem_offset";
  }
  auto found = kNames.find(name);
  if (found == kNames.end() && name.starts_with("envreg"))
    found = kNames.find("current_graph_exec");
  if (found == kNames.end()) {
    unsupported("special register %" + std::string(name));
    return 0;
  }
  const auto key = std::make_pair(found->second, wide);
  const auto known = specials_.find(key);
  if (known != specials_.end()) return known->second;
  const std::uint32_t at = new_row(wide);
  out_.specials.push_back({found->second, wide, at, 0, Ty::kU32});
  specials_[key] = at;
  return at;
}

// A symbol's value: an address within its own space. Local ones count from the frame's start.
std::uint64_t FunctionDecoder::symbol_value(const ptx::Symbol& symbol, std::int64_t offset,
                                            bool* frame_relative) {
  const auto plus = static_cast<std::uint64_t>(offset);
  *frame_relative = false;
  switch (symbol.kind) {
    case ptx::Symbol::Kind::kVariable: {
      const ptx::Variable& variable = kernel_.module().variables[symbol.index];
      if (variable.space == ptx::Space::kShared) {
        return kernel_.shared_offset(variable) + plus;
      }
      if (variable.space == ptx::Space::kGlobal || variable.space == ptx::Space::kConst) {
        return kernel_.address_of(symbol.index) + plus;
      }
      break;
    }
    case ptx::Symbol::Kind::kLocal: {
      const ptx::Variable& variable = body_.variables[symbol.index];
      if (variable.space == ptx::Space::kShared) {
        return kernel_.shared_offset(variable) + plus;
      }
      *frame_relative = true;
      return local_offsets_[symbol.index] + plus;
    }
    case ptx::Symbol::Kind::kFunction:
      // The address of a kernel is for launching it.
      if (!kernel_.module().functions[symbol.index].is_entry) kernel_.note_indirect_call();
      return kFunctionTag + 16 * std::uint64_t{symbol.index};
    case ptx::Symbol::Kind::kParam: {
      if (!function_.is_entry) {
        *frame_relative = true;
        return out_.params[symbol.index].offset + plus;
      }
      std::uint64_t at = 0;
      for (std::size_t p = 0; p <= symbol.index; ++p) {
        const ptx::Param& param = function_.params[p];
        const std::uint64_t align = param.align < 1 ? 1 : param.align;
        at = (at + align - 1) / align * align;
        if (p < symbol.index) at += param.bytes;
      }
      return at + plus;
    }
    case ptx::Symbol::Kind::kReturn:
      *frame_relative = true;
      return out_.returns[symbol.index].offset + plus;
    default: break;
  }
  unsupported("symbol");
  return 0;
}

std::uint32_t FunctionDecoder::frame_address(std::uint64_t offset, bool wide) {
  if (function_.is_entry) return constant(offset, wide);  // its frame starts at 0
  Ins& ins = emit(Op::kFrameAddress, wide ? Ty::kU64 : Ty::kU32);
  ins.imm = static_cast<std::int64_t>(offset);
  return ins.d = new_row(wide);
}

const ptx::Variable* FunctionDecoder::dynamic_shared(const ptx::Symbol& symbol) const {
  const ptx::Variable* variable = nullptr;
  if (symbol.kind == ptx::Symbol::Kind::kVariable) {
    variable = &kernel_.module().variables[symbol.index];
  } else if (symbol.kind == ptx::Symbol::Kind::kLocal) {
    variable = &body_.variables[symbol.index];
  }
  const bool dynamic = variable != nullptr && variable->space == ptx::Space::kShared &&
                       (variable->unbounded || variable->is_extern);
  return dynamic ? variable : nullptr;
}

std::uint32_t FunctionDecoder::symbol_row(const ptx::Operand& operand, bool wide) {
  if (operand.symbol.kind == ptx::Symbol::Kind::kUnresolved) {
    unsupported("unknown name " + std::string(operand.text));
    return 0;
  }
  if (const ptx::Variable* variable = dynamic_shared(operand.symbol)) {
    kernel_.note_dynamic_shared(variable->align);
    const std::uint32_t base = special("dynamic_smem_offset", wide);
    if (operand.offset == 0) return base;
    const std::uint32_t addend = constant(static_cast<std::uint64_t>(operand.offset), wide);
    Ins& ins = emit(Op::kAdd, wide ? Ty::kU64 : Ty::kU32);
    ins.a = base;
    ins.b = addend;
    return ins.d = new_row(wide);
  }
  bool frame_relative = false;
  const std::uint64_t value = symbol_value(operand.symbol, operand.offset, &frame_relative);
  return frame_relative ? frame_address(value, wide) : constant(value, wide);
}

Ty FunctionDecoder::only_type(std::size_t n) {
  const std::optional<ptx::Type> type = Mods(now_->mods).type(n);
  if (!type || *type == ptx::Type::kB128 || *type == ptx::Type::kTf32) {
    unsupported("type");
    return Ty::kU32;
  }
  return type_of(*type);
}

// Rounding, flush and saturation as written.
unsigned FunctionDecoder::float_flags() const {
  unsigned flags = 0;
  for (std::string_view mod : now_->mods) {
    if (mod == "rz" || mod == "rzi") flags |= kRoundZero;
    if (mod == "rm" || mod == "rmi") flags |= kRoundDown;
    if (mod == "rp" || mod == "rpi") flags |= kRoundUp;
    if (mod == "rni" || mod == "rzi" || mod == "rmi" || mod == "rpi") flags |= kRoundToInt;
    if (mod == "ftz") flags |= kFtz;
    if (mod == "sat" || mod == "satfinite") flags |= kSat;
    if (mod == "NaN") flags |= kNanMin;
    if (mod == "xorsign") flags |= kXorSign;
    if (mod == "relu") flags |= kRelu;
  }
  return flags;
}

}  // namespace farcall::softgpu
