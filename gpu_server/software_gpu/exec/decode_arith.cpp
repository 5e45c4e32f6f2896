// Decoding of arithmetic.
#include "gpu_server/software_gpu/exec/decode.h"

namespace farcall::softgpu {

// d, then as many sources of the same type.
void FunctionDecoder::simple(Op op, int sources) {
  const Ty type = only_type();
  const Mods mods(now_->mods);
  if (!is_float(type) && (mods.has("cc") || now_->opcode == "addc" || now_->opcode == "subc")) {
    return carry();
  }
  std::uint32_t rows[3] = {0, 0, 0};
  for (int n = 0; n < sources; ++n)
    rows[n] = source(operand(static_cast<std::size_t>(n) + 1), type);
  // These count in 32 bits whatever they look at.
  const bool counts =
      op == Op::kPopc || op == Op::kClz || op == Op::kBfind || op == Op::kBfindShift;
  const std::uint32_t d = dest(operand(0), counts ? Ty::kU32 : type);
  const unsigned flags = is_float(type) ? float_flags() : 0;
  unsigned variant = flags == 0 ? 0 : flags == kFtz ? 1 : 2;
  if (!known(op, type, variant)) variant = 0;
  if (!is_float(type) && mods.has("sat")) {
    op = op == Op::kAdd ? Op::kAddSat : Op::kSubSat;
    if (type != Ty::kS32) unsupported();
  }
  Ins& ins = emit(op, type, variant);
  ins.d = d;
  ins.a = rows[0];
  ins.b = rows[1];
  ins.c = rows[2];
  ins.flags = static_cast<std::uint16_t>(flags);
}

void FunctionDecoder::mul() {
  const Ty type = only_type();
  if (is_float(type)) return simple(Op::kMul, 2);
  const Mods mods(now_->mods);
  const bool wide = mods.has("wide");
  const bool is24 = now_->opcode == "mul24";
  const std::uint32_t a = source(operand(1), type), b = source(operand(2), type);
  const Ty result = !wide ? type : bytes_of(type) == 2 ? Ty::kU32 : Ty::kU64;
  const std::uint32_t d = dest(operand(0), result);
  const Op op = is24 ? Op::kMul24 : wide ? Op::kMulWide : mods.has("hi") ? Op::kMulHi : Op::kMul;
  Ins& ins = emit(op, type);
  ins.d = d;
  ins.a = a;
  ins.b = b;
  ins.flags = is24 && mods.has("hi") ? kAnyFlag : 0;
}

void FunctionDecoder::mad() {
  const Ty type = only_type();
  if (is_float(type)) return simple(Op::kFma, 3);
  const Mods mods(now_->mods);
  if (mods.has("cc") || now_->opcode == "madc") return carry();
  if (mods.has("sat")) return unsupported();
  const bool wide = mods.has("wide");
  const bool is24 = now_->opcode == "mad24";
  const Ty result = !wide ? type : bytes_of(type) == 2 ? Ty::kU32 : Ty::kU64;
  const std::uint32_t a = source(operand(1), type), b = source(operand(2), type);
  const std::uint32_t c = source(operand(3), result), d = dest(operand(0), result);
  const Op op = is24 ? Op::kMad24 : wide ? Op::kMadWide : mods.has("hi") ? Op::kMadHi : Op::kMad;
  Ins& ins = emit(op, type);
  ins.d = d;
  ins.a = a;
  ins.b = b;
  ins.c = c;
  ins.flags = is24 && mods.has("hi") ? kAnyFlag : 0;
}

// add.cc, addc, sub.cc, subc, mad.cc, madc. detail: 0 add, 1 sub, 2 mad.lo, 3 mad.hi; detail2: bit
// 0 takes the carry, bit 1 sets it. e: the carry of each lane.
void FunctionDecoder::carry() {
  const Mods mods(now_->mods);
  const Ty type = unsigned_twin(only_type());
  const Ty signed_type = only_type();
  const bool is_mad = now_->opcode.starts_with("mad");
  const bool is_sub = now_->opcode.starts_with("sub");
  const bool takes = now_->opcode.ends_with("c") && now_->opcode.size() == 4;
  if (carry_pred_ == kNoRow) carry_pred_ = new_pred();
  const std::uint32_t a = source(operand(1), type), b = source(operand(2), type);
  const std::uint32_t c = is_mad ? source(operand(3), type) : 0;
  const std::uint32_t d = dest(operand(0), type);
  Ins& ins = emit(Op::kCarry, type);
  ins.d = d;
  ins.a = a;
  ins.b = b;
  ins.c = c;
  ins.e = carry_pred_;
  ins.detail = static_cast<std::uint8_t>(is_mad ? (mods.has("hi") ? 3 : 2) : is_sub ? 1 : 0);
  ins.detail2 = static_cast<std::uint8_t>((takes ? 1 : 0) | (mods.has("cc") ? 2 : 0));
  if (is_signed(signed_type)) ins.flags = kAnyFlag;  // matters for the high half of a product
}

// dp4a and dp2a. detail: bit 0 a is signed, bit 1 b is signed, bit 2 upper half of b.
void FunctionDecoder::dot_product() {
  const Mods mods(now_->mods);
  const Ty a_type = only_type(0), b_type = only_type(1);
  const std::uint32_t a = source(operand(1), Ty::kU32), b = source(operand(2), Ty::kU32);
  const std::uint32_t c = source(operand(3), Ty::kU32), d = dest(operand(0), Ty::kU32);
  Ins& ins = emit(now_->opcode == "dp4a" ? Op::kDp4a : Op::kDp2a, Ty::kU32);
  ins.d = d;
  ins.a = a;
  ins.b = b;
  ins.c = c;
  ins.detail = static_cast<std::uint8_t>((is_signed(a_type) ? 1 : 0) | (is_signed(b_type) ? 2 : 0) |
                                         (mods.has("hi") ? 4 : 0));
}

// vadd2 … vabsdiff4: a word of two halves or four bytes, of which each is worked on alone. Only
// whole words: the masks and selectors of the manual are not written by compilers. detail: bits of
// a part; detail2: the operation; table: 1 a signed, 2 b signed, 4 d signed, 8 sum.
void FunctionDecoder::video() {
  static const std::unordered_map<std::string_view, std::uint8_t> kOps = {
      {"vadd", 0}, {"vsub", 1}, {"vavrg", 2}, {"vabsdiff", 3}, {"vmin", 4}, {"vmax", 5}};
  const Mods mods(now_->mods);
  const char parts = now_->opcode.back();
  const auto op = kOps.find(now_->opcode.substr(0, now_->opcode.size() - 1));
  for (std::size_t n = 0; n < operands(); ++n) {
    if (!operand(n).selector.empty()) return unsupported("parts of a register");
  }
  if (op == kOps.end() || mods.types() != 3 || operands() != 4) return unsupported();
  const std::uint32_t a = source(operand(1), Ty::kU32), b = source(operand(2), Ty::kU32);
  const std::uint32_t c = source(operand(3), Ty::kU32), d = dest(operand(0), Ty::kU32);
  const bool signs[3] = {is_signed(only_type(1)), is_signed(only_type(2)), is_signed(only_type(0))};
  Ins& ins = emit(Op::kVideo, Ty::kU32);
  ins.d = d;
  ins.a = a;
  ins.b = b;
  ins.c = c;
  ins.detail = parts == '4' ? 8 : 16;
  ins.detail2 = op->second;
  ins.table = (signs[0] ? 1u : 0u) | (signs[1] ? 2u : 0u) | (signs[2] ? 4u : 0u) |
              (mods.has("add") ? 8u : 0u);
  ins.flags = mods.has("sat") ? kSat : 0;
}

}  // namespace farcall::softgpu
