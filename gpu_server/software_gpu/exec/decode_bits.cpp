// Decoding of logic, shifts, comparisons, selections, moves and conversions.
#include "gpu_server/software_gpu/exec/decode.h"

namespace farcall::softgpu {

using Kind = ptx::Operand::Kind;

void FunctionDecoder::logic() {
  const Ty type = only_type();
  const std::string_view name = now_->opcode;
  const Op op = name == "and"   ? Op::kAnd
                : name == "or"  ? Op::kOr
                : name == "xor" ? Op::kXor
                : name == "not" ? Op::kNot
                                : Op::kCnot;
  const bool unary = op == Op::kNot || op == Op::kCnot;
  if (type != Ty::kPred) return simple(op, unary ? 1 : 2);
  const std::uint32_t a = source_pred(operand(1));
  const std::uint32_t b = unary ? 0 : source_pred(operand(2));
  const std::uint32_t d = dest_pred(operand(0));
  const Op on_pred = op == Op::kAnd   ? Op::kPredAnd
                     : op == Op::kOr  ? Op::kPredOr
                     : op == Op::kXor ? Op::kPredXor
                                      : Op::kPredNot;
  Ins& ins = emit(on_pred, Ty::kPred);
  ins.d = d;
  ins.a = a;
  ins.b = b;
}

void FunctionDecoder::shift() {
  const Ty type = only_type();
  const std::uint32_t a = source(operand(1), type), b = source(operand(2), Ty::kU32);
  const std::uint32_t d = dest(operand(0), type);
  Ins& ins = emit(now_->opcode == "shl" ? Op::kShl : Op::kShr, type);
  ins.d = d;
  ins.a = a;
  ins.b = b;
}

void FunctionDecoder::count() {
  const std::string_view name = now_->opcode;
  if (name == "brev") return simple(Op::kBrev, 1);
  if (name == "bfind") {
    return simple(Mods(now_->mods).has("shiftamt") ? Op::kBfindShift : Op::kBfind, 1);
  }
  simple(name == "popc" ? Op::kPopc : Op::kClz, 1);
}

void FunctionDecoder::bit_field() {
  const std::string_view name = now_->opcode;
  const Ty type = only_type();
  std::uint32_t a = 0, b = 0, c = 0, e = 0;
  Op op = Op::kBfe;
  if (name == "bfe") {
    a = source(operand(1), type);
    b = source(operand(2), Ty::kU32);
    c = source(operand(3), Ty::kU32);
  } else if (name == "bfi") {
    op = Op::kBfi;
    a = source(operand(1), type);
    b = source(operand(2), type);
    c = source(operand(3), Ty::kU32);
    e = source(operand(4), Ty::kU32);
  } else if (name == "bmsk") {
    op = Op::kBmsk;
    a = source(operand(1), type);
    b = source(operand(2), type);
  } else {
    return unsupported();
  }
  const std::uint32_t d = dest(operand(0), type);
  Ins& ins = emit(op, type);
  ins.d = d;
  ins.a = a;
  ins.b = b;
  ins.c = c;
  ins.e = e;
  if (Mods(now_->mods).has("wrap")) ins.flags = kWrap;
}

void FunctionDecoder::permute() {
  static constexpr std::string_view kModes[] = {"", "f4e", "b4e", "rc8", "ecl", "ecr", "rc16"};
  const Mods mods(now_->mods);
  const std::uint32_t a = source(operand(1), Ty::kU32), b = source(operand(2), Ty::kU32);
  const std::uint32_t c = source(operand(3), Ty::kU32), d = dest(operand(0), Ty::kU32);
  Ins& ins = emit(Op::kPrmt, Ty::kU32);
  ins.d = d;
  ins.a = a;
  ins.b = b;
  ins.c = c;
  for (std::uint8_t mode = 1; mode < 7; ++mode) {
    if (mods.has(kModes[mode])) ins.detail = mode;
  }
}

void FunctionDecoder::lop3() {
  if (operands() != 5 || operand(0).kind == Kind::kPair || operand(4).kind != Kind::kImmediate) {
    return unsupported();
  }
  const std::uint32_t a = source(operand(1), Ty::kU32), b = source(operand(2), Ty::kU32);
  const std::uint32_t c = source(operand(3), Ty::kU32), d = dest(operand(0), Ty::kU32);
  Ins& ins = emit(Op::kLop3, Ty::kU32);
  ins.d = d;
  ins.a = a;
  ins.b = b;
  ins.c = c;
  ins.detail = static_cast<std::uint8_t>(now_->operands[4].bits);
}

void FunctionDecoder::funnel() {
  const Mods mods(now_->mods);
  const std::uint32_t a = source(operand(1), Ty::kU32), b = source(operand(2), Ty::kU32);
  const std::uint32_t c = source(operand(3), Ty::kU32), d = dest(operand(0), Ty::kU32);
  Ins& ins = emit(mods.has("l") ? Op::kShfL : Op::kShfR, Ty::kU32);
  ins.d = d;
  ins.a = a;
  ins.b = b;
  ins.c = c;
  ins.flags = mods.has("wrap") ? kWrap : 0;
}

void FunctionDecoder::selp() {
  const Ty type = only_type();
  const bool wide = bytes_of(type) > 4;
  const bool negated = operand(3).negated;
  std::uint32_t a = source(operand(1), type), b = source(operand(2), type);
  if (operand(3).kind != Kind::kRegister) return unsupported("predicate");
  const std::uint32_t p = register_row(operand(3).reg), d = dest(operand(0), type);
  if (negated) std::swap(a, b);
  Ins& ins = emit(Op::kSelp, wide ? Ty::kU64 : Ty::kU32);
  ins.d = d;
  ins.a = a;
  ins.b = b;
  ins.c = p;
}

// slct.type.s32 or .f32: a where c >= 0, else b.
void FunctionDecoder::slct() {
  const Ty type = only_type(0), test = only_type(1);
  const bool wide = bytes_of(type) > 4;
  const std::uint32_t a = source(operand(1), type), b = source(operand(2), type);
  const std::uint32_t c = source(operand(3), test), d = dest(operand(0), type);
  const std::uint32_t p = new_pred();
  const std::uint32_t zero = constant(0, false);
  Ins& ins = emit(Op::kSetp, test, static_cast<unsigned>(Cmp::kGe));
  ins.d = p;
  ins.a = c;
  ins.b = zero;
  Ins& select = emit(Op::kSelp, wide ? Ty::kU64 : Ty::kU32);
  select.d = d;
  select.a = a;
  select.b = b;
  select.c = p;
}

namespace {

std::optional<Cmp> cmp_of(std::string_view word) {
  static const std::unordered_map<std::string_view, Cmp> kNames = {
      {"eq", Cmp::kEq},   {"ne", Cmp::kNe},   {"lt", Cmp::kLt},   {"le", Cmp::kLe},
      {"gt", Cmp::kGt},   {"ge", Cmp::kGe},   {"lo", Cmp::kLt},   {"ls", Cmp::kLe},
      {"hi", Cmp::kGt},   {"hs", Cmp::kGe},   {"equ", Cmp::kEqu}, {"neu", Cmp::kNeu},
      {"ltu", Cmp::kLtu}, {"leu", Cmp::kLeu}, {"gtu", Cmp::kGtu}, {"geu", Cmp::kGeu},
      {"num", Cmp::kNum}, {"nan", Cmp::kNan}};
  const auto found = kNames.find(word);
  if (found == kNames.end()) return std::nullopt;
  return found->second;
}

}  // namespace

// setp.cmp[.bool][.ftz].type p[|q], a, b[, c]
void FunctionDecoder::compare() {
  const Mods mods(now_->mods);
  const std::optional<Cmp> cmp = cmp_of(mods.word(0));
  const Ty type = only_type();
  if (!cmp) return unsupported();
  const bool pair = operand(0).kind == Kind::kPair;
  const bool combines = operands() == 4;
  const std::uint32_t a = source(operand(1), type), b = source(operand(2), type);
  const std::uint32_t c = combines ? source_pred(operand(3)) : 0;
  const std::uint32_t p = dest_pred(pair ? operand(0).parts[0] : operand(0));
  const std::uint32_t found = pair || combines ? new_pred() : p;
  const unsigned ftz = type == Ty::kF32 && mods.has("ftz") ? 16u : 0u;
  Ins& ins = emit(Op::kSetp, type, static_cast<unsigned>(*cmp) + ftz);
  ins.d = found;
  ins.a = a;
  ins.b = b;
  if (is_float(type) && bytes_of(type) < 4) ins.flags = static_cast<std::uint16_t>(float_flags());
  if (!pair && !combines) return;
  const Op join = mods.has("and")   ? Op::kPredAnd
                  : mods.has("or")  ? Op::kPredOr
                  : mods.has("xor") ? Op::kPredXor
                                    : Op::kPredMov;
  const auto put = [&](std::uint32_t to, std::uint32_t from) {
    Ins& step = emit(combines ? join : Op::kPredMov, Ty::kPred);
    step.d = to;
    step.a = from;
    step.b = c;
  };
  std::uint32_t opposite = 0, q = 0;
  if (pair) {
    q = dest_pred(operand(0).parts[1]);
    opposite = new_pred();
    Ins& step = emit(Op::kPredNot, Ty::kPred);
    step.d = opposite;
    step.a = found;
  }
  put(p, found);  // c may be p itself, but not both p and q
  if (pair) put(q, opposite);
}

// set.cmp.dtype.stype d, a, b: all ones or 1.0 where the comparison holds.
void FunctionDecoder::set() {
  const Mods mods(now_->mods);
  const std::optional<Cmp> cmp = cmp_of(mods.word(0));
  const Ty to = only_type(0), type = only_type(1);
  if (!cmp) return unsupported();
  const std::uint32_t a = source(operand(1), type), b = source(operand(2), type);
  const std::uint32_t c = operands() == 4 ? source_pred(operand(3)) : 0;
  const std::uint32_t d = dest(operand(0), to);
  const std::uint32_t p = new_pred();
  const unsigned ftz = type == Ty::kF32 && mods.has("ftz") ? 16u : 0u;
  Ins& ins = emit(Op::kSetp, type, static_cast<unsigned>(*cmp) + ftz);
  ins.d = p;
  ins.a = a;
  ins.b = b;
  if (operands() == 4) {
    Ins& step = emit(mods.has("and")  ? Op::kPredAnd
                     : mods.has("or") ? Op::kPredOr
                                      : Op::kPredXor,
                     Ty::kPred);
    step.d = p;
    step.a = p;
    step.b = c;
  }
  const bool wide = bytes_of(to) > 4;
  const std::uint64_t ones = to == Ty::kF32    ? 0x3f800000u
                             : to == Ty::kF16  ? 0x3c00u
                             : to == Ty::kBf16 ? 0x3f80u
                                               : ~std::uint64_t{0};
  const std::uint32_t yes = constant(ones, wide), no = constant(0, wide);
  Ins& select = emit(Op::kSelp, wide ? Ty::kU64 : Ty::kU32);
  select.d = d;
  select.a = yes;
  select.b = no;
  select.c = p;
}

void FunctionDecoder::testp() {
  static constexpr std::string_view kTests[] = {"finite",     "infinite", "number",
                                                "notanumber", "normal",   "subnormal"};
  const Ty type = only_type();
  const std::uint32_t a = source(operand(1), type), p = dest_pred(operand(0));
  Ins& ins = emit(Op::kTestp, type);
  ins.d = p;
  ins.a = a;
  for (std::uint8_t t = 0; t < 6; ++t) {
    if (Mods(now_->mods).word(0) == kTests[t]) ins.detail = t;
  }
}

void FunctionDecoder::mov() {
  const Ty type = only_type();
  if (type == Ty::kPred) {
    const std::uint32_t a = source_pred(operand(1)), d = dest_pred(operand(0));
    Ins& ins = emit(Op::kPredMov, Ty::kPred);
    ins.d = d;
    ins.a = a;
    return;
  }
  const ptx::Operand& to = operand(0);
  const ptx::Operand& from = operand(1);
  if (to.kind == Kind::kVector || from.kind == Kind::kVector) return move_packed(to, from, type);
  if (from.kind == Kind::kAddress) return unsupported();
  if (stands_for(to, from, bytes_of(type) > 4)) return;
  const std::uint32_t a = source(from, type), d = dest(to, type);
  Ins& ins = emit(Op::kMov, bytes_of(type) > 4 ? Ty::kU64 : Ty::kU32);
  ins.d = d;
  ins.a = a;
}

// mov.b64 {lo, hi}, x and mov.b64 x, {lo, hi}, also of four parts or of halves. detail: bytes of
// a part; d e b c f hold up to four rows of parts besides the whole in a (or d).
void FunctionDecoder::move_packed(const ptx::Operand& to, const ptx::Operand& from, Ty type) {
  const bool unpack = to.kind == Kind::kVector;
  const ptx::Operand& whole = unpack ? from : to;
  const std::vector<ptx::Operand>& parts = unpack ? to.parts : from.parts;
  const std::uint32_t bytes = bytes_of(type);
  if ((parts.size() != 2 && parts.size() != 4) || bytes / parts.size() == 0) return unsupported();
  const auto part_bytes = static_cast<std::uint32_t>(bytes / parts.size());
  const Ty part = part_bytes == 4 ? Ty::kU32 : part_bytes == 2 ? Ty::kU16 : Ty::kU8;
  std::uint32_t rows[4] = {0, 0, 0, 0};
  for (std::size_t n = 0; n < parts.size(); ++n) {
    rows[n] = unpack ? dest(parts[n], part) : source(parts[n], part);
  }
  const std::uint32_t row = unpack ? source(whole, type) : dest(whole, type);
  Ins& ins = emit(unpack ? Op::kUnpack : Op::kPack, bytes > 4 ? Ty::kU64 : Ty::kU32);
  ins.f = row;
  ins.d = rows[0];
  ins.e = rows[1];
  ins.b = rows[2];
  ins.c = rows[3];
  ins.detail = static_cast<std::uint8_t>(part_bytes);
  ins.detail2 = static_cast<std::uint8_t>(parts.size());
}

void FunctionDecoder::emit_cvt(Ty to, Ty from, std::uint32_t d, std::uint32_t a, unsigned flags) {
  unsigned variant = static_cast<unsigned>(from);
  const bool to_int = !is_float(to);
  // Directed rounding, flush or saturation towards a float have handlers of their own.
  if (flags != 0 && known(Op::kCvt, to, variant + 16)) variant += 16;
  if (to_int && !is_float(from)) flags = 0;
  Ins& ins = emit(Op::kCvt, to, variant);
  ins.d = d;
  ins.a = a;
  ins.flags = static_cast<std::uint16_t>(flags);
}

void FunctionDecoder::cvt() {
  const Mods mods(now_->mods);
  if (mods.types() != 2) return unsupported();
  if (mods.type(0) == ptx::Type::kTf32) return cvt_tf32();
  const Ty to = only_type(0), from = only_type(1);
  const unsigned flags = float_flags();
  const bool packs = to == Ty::kF16x2 || to == Ty::kBf16x2;
  const std::uint32_t a = source(operand(1), from);
  if (packs) {
    const std::uint32_t b = source(operand(2), from), d = dest(operand(0), to);
    Ins& ins = emit(Op::kCvt, to, static_cast<unsigned>(from));
    ins.d = d;
    ins.a = a;
    ins.b = b;
    ins.flags = static_cast<std::uint16_t>(flags);
    return;
  }
  const ptx::Operand& target = operand(0);
  if (target.kind != Kind::kRegister || is_pred(target.reg)) return unsupported();
  const bool wide = is_wide(target.reg);
  const std::uint32_t d = register_row(target.reg);
  const bool saturates = (flags & kSat) != 0 && !is_float(to) && !is_float(from);
  // A destination wider than its type receives the extended value.
  const bool widens = wide && bytes_of(to) <= 4;
  if (!wide && bytes_of(to) > 4) return unsupported("destination too narrow");
  const std::uint32_t first = widens ? new_row(false) : d;
  if (saturates) {
    Ins& ins = emit(Op::kAddSat, to, 32 + static_cast<unsigned>(from));
    ins.d = first;
    ins.a = a;
  } else {
    emit_cvt(to, from, first, a, flags);
  }
  if (widens) {
    const bool sign = is_signed(to);
    emit_cvt(Ty::kU64,
             sign ? (bytes_of(to) == 1   ? Ty::kS8
                     : bytes_of(to) == 2 ? Ty::kS16
                                         : Ty::kS32)
                  : unsigned_twin(to),
             d, first, 0);
  }
}

// Global, constant and generic addresses are the same; shared, local and parameter ones get their
// base added, or taken away for cvta.to. detail: the space.
void FunctionDecoder::cvta() {
  const Mods mods(now_->mods);
  Space space = Space::kGlobal;
  for (std::string_view word : mods.all()) {
    if (word.starts_with("shared")) space = Space::kShared;
    if (word == "local") space = Space::kLocal;
    if (word.starts_with("param")) space = function_.is_entry ? Space::kParam : Space::kLocal;
  }
  if (mods.has("shared::cluster")) return cvta_cluster(mods.has("to"));
  if (space == Space::kGlobal && stands_for(operand(0), operand(1), true)) return;
  const std::uint32_t a = source(operand(1), Ty::kU64), d = dest(operand(0), Ty::kU64);
  Ins& ins = emit(space == Space::kGlobal ? Op::kMov : Op::kCvtaLocal, Ty::kU64);
  ins.d = d;
  ins.a = a;
  ins.space = space;
  ins.flags = mods.has("to") ? kNegated : 0;
}

void FunctionDecoder::isspacep() {
  const Mods mods(now_->mods);
  const std::uint32_t a = source(operand(1), Ty::kU64), d = dest_pred(operand(0));
  Ins& ins = emit(Op::kIsSpace, Ty::kU64);
  ins.d = d;
  ins.a = a;
  const std::string_view word = mods.word(0);
  ins.flags = word == "shared::cluster" ? kAnyFlag : 0;
  ins.space = word.starts_with("shared")  ? Space::kShared
              : word == "local"           ? Space::kLocal
              : word.starts_with("param") ? Space::kParam
                                          : Space::kGlobal;
}

}  // namespace farcall::softgpu
