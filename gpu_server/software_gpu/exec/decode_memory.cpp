// Decoding of loads, stores, atomics and their relatives.
#include "gpu_server/software_gpu/exec/decode.h"

namespace farcall::softgpu {

using Kind = ptx::Operand::Kind;

Space FunctionDecoder::space_of(const Mods& mods, const ptx::Operand& address) {
  for (std::string_view word : mods.all()) {
    if (word == "global" || word == "const") return Space::kGlobal;
    if (word == "shared" || word == "shared::cta" || word == "shared::cluster") {
      return Space::kShared;
    }
    if (word == "local") return Space::kLocal;
    if (word == "param" || word == "param::entry" || word == "param::func") {
      // Call parameters, and those of a .func, live in local memory.
      const bool kernels = function_.is_entry && (address.reg != ptx::Operand::kNoRegister ||
                                                  address.symbol.kind == ptx::Symbol::Kind::kParam);
      return kernels ? Space::kParam : Space::kLocal;
    }
  }
  return Space::kGeneric;
}

void FunctionDecoder::address(const ptx::Operand& operand, Space space, std::uint32_t* row,
                              std::int64_t* imm, bool* narrow) {
  *row = 0;
  *imm = operand.offset;
  *narrow = space == Space::kShared || space == Space::kLocal || space == Space::kParam;
  if (operand.kind != Kind::kAddress || !operand.parts.empty()) return unsupported("address");
  if (operand.reg != ptx::Operand::kNoRegister) {
    if (is_pred(operand.reg)) return unsupported("address");
    *row = register_row(operand.reg);
    const bool wide = is_wide(operand.reg);
    if (!wide && !*narrow) return unsupported("32-bit address");
    *narrow = !wide;
    return;
  }
  if (operand.symbol.kind == ptx::Symbol::Kind::kUnresolved && operand.text.empty()) {
    *row = constant(0, !*narrow);
    return;
  }
  ptx::Operand base = operand;
  base.kind = Kind::kSymbol;
  base.offset = 0;
  *row = symbol_row(base, !*narrow);
}

void FunctionDecoder::memory_flags(Ins& ins, const Mods& mods) {
  if (mods.has("volatile") || mods.has("relaxed") || mods.has("acquire") || mods.has("mmio") ||
      mods.has("acq_rel")) {
    ins.flags |= kSpins;
    kernel_.note_spin();
  }
  if (mods.has("acquire") || mods.has("acq_rel")) ins.flags |= kAcquire;
  if (mods.has("release") || mods.has("acq_rel")) ins.flags |= kRelease;
}

namespace {

// What checks want to know of a load or store.
std::uint16_t check_flags(const Mods& mods, Space space) {
  unsigned flags = 0;
  for (const std::string_view word : {"volatile", "relaxed", "acquire", "release", "mmio"}) {
    if (mods.has(word)) flags |= kStrong;
  }
  const bool param = mods.has("param") || mods.has("param::entry") || mods.has("param::func");
  if (param && space == Space::kLocal) flags |= kCallSlot;
  return static_cast<std::uint16_t>(flags);
}

}  // namespace

namespace {

std::uint8_t log2_of(std::uint32_t bytes) {
  return static_cast<std::uint8_t>(__builtin_ctz(bytes));
}

// Elements of one access, log2: 0, 1 or 2.
unsigned vector_log2(const Mods& mods) { return mods.has("v4") ? 2u : mods.has("v2") ? 1u : 0u; }

// The elements of {a, b, …}, or the operand itself.
std::span<const ptx::Operand> elements_of(const ptx::Operand& operand) {
  if (operand.kind == Kind::kVector) return operand.parts;
  return {&operand, 1};
}

// The type memory sees: floats are bits.
Ty memory_type(Ty type) { return is_float(type) ? unsigned_twin(type) : type; }

}  // namespace

// A kernel parameter at a fixed offset; the same for all lanes.
bool FunctionDecoder::param_load(const ptx::Operand& to, const ptx::Operand& from, Ty type) {
  if (from.symbol.kind != ptx::Symbol::Kind::kParam || to.kind != Kind::kRegister) return false;
  bool relative = false;
  const std::uint64_t at = symbol_value(from.symbol, from.offset, &relative);
  if (at % bytes_of(type) != 0 || at + bytes_of(type) > function_.param_bytes) return false;
  const bool wide = is_wide(to.reg);
  if (bytes_of(type) > 4 && !wide) return false;
  if (stands_for_param(to, static_cast<std::uint32_t>(at), type)) return true;
  const std::uint32_t d = register_row(to.reg);
  Ins& ins = emit(Op::kParamLoad, wide && bytes_of(type) > 4 ? Ty::kU64 : type, wide ? 4 : 0);
  ins.d = d;
  ins.imm = static_cast<std::int64_t>(at);
  return true;
}

void FunctionDecoder::ld() {
  const Mods mods(now_->mods);
  const Ty type = memory_type(only_type());
  const ptx::Operand& from = operand(1);
  const Space space = space_of(mods, from);
  const unsigned count_log2 = vector_log2(mods);
  if (mods.has("v8")) return unsupported();
  if (space == Space::kParam && count_log2 == 0 && param_load(operand(0), from, type)) return;
  const Target target = target_of(mods, from);
  const ptx::Operand& to = operand(0);
  const std::size_t count = std::size_t{1} << count_log2;
  const bool is_vector = to.kind == Kind::kVector;
  if (is_vector != (count > 1) || (is_vector && to.parts.size() != count)) return unsupported();
  bool wide = bytes_of(type) > 4;
  for (std::size_t n = 0; n < count; ++n) {
    const ptx::Operand& part = is_vector ? to.parts[n] : to;
    if (part.kind == Kind::kRegister && !is_pred(part.reg)) wide = wide || is_wide(part.reg);
  }
  std::uint32_t rows[4] = {0, 0, 0, 0};
  for (std::size_t n = 0; n < count; ++n) {
    rows[n] = dest(is_vector ? to.parts[n] : to, wide ? Ty::kU64 : Ty::kU32);
  }
  Ins& ins = emit(Op::kLoad, type, count_log2 | (wide ? 4u : 0u));
  ins.d = rows[0];
  ins.e = rows[1];
  ins.b = rows[2];
  ins.c = rows[3];
  ins.a = target.row;
  ins.imm = target.imm;
  ins.space = target.space;
  ins.size_log2 = static_cast<std::uint8_t>(log2_of(bytes_of(type)) + count_log2);
  ins.slot = kernel_.next_slot();
  ins.flags = check_flags(mods, space) | target.flags;
  memory_flags(ins, mods);
}

void FunctionDecoder::st() {
  const Mods mods(now_->mods);
  const Ty type = unsigned_twin(only_type());
  const ptx::Operand& to = operand(0);
  const ptx::Operand& from = operand(1);
  const unsigned count_log2 = vector_log2(mods);
  const std::size_t count = std::size_t{1} << count_log2;
  const bool is_vector = from.kind == Kind::kVector;
  if (mods.has("v8") || is_vector != (count > 1) || (is_vector && from.parts.size() != count)) {
    return unsupported();
  }
  const Target target = target_of(mods, to);
  const bool wide = bytes_of(type) > 4;
  std::uint32_t rows[4] = {0, 0, 0, 0};
  for (std::size_t n = 0; n < count; ++n) {
    // An immediate's bits are taken as they are; a wide register gives its low part.
    rows[n] = source(is_vector ? from.parts[n] : from, wide ? only_type() : Ty::kU32);
  }
  Ins& ins = emit(Op::kStore, type, count_log2 | (wide ? 4u : 0u));
  ins.d = rows[0];
  ins.e = rows[1];
  ins.b = rows[2];
  ins.c = rows[3];
  ins.a = target.row;
  ins.imm = target.imm;
  ins.space = target.space;
  ins.size_log2 = static_cast<std::uint8_t>(log2_of(bytes_of(type)) + count_log2);
  ins.slot = kernel_.next_slot();
  ins.flags = check_flags(mods, target.space) | target.flags;
  if (mods.has("release")) ins.flags |= kRelease;
  if (mods.has("async")) complete_bytes(operand(2), 1u << ins.size_log2);
}

namespace {

constexpr std::uint8_t kAtomMin = 1, kAtomMax = 2, kAtomInc = 3, kAtomDec = 4, kAtomCas = 6;

std::optional<std::uint8_t> atomic_operation(const Mods& mods) {
  static const std::unordered_map<std::string_view, std::uint8_t> kOps = {
      {"add", 0},  {"min", kAtomMin}, {"max", kAtomMax}, {"inc", kAtomInc}, {"dec", kAtomDec},
      {"exch", 5}, {"cas", kAtomCas}, {"and", 7},        {"or", 8},         {"xor", 9}};
  std::optional<std::uint8_t> op;
  for (std::string_view word : mods.all()) {
    const auto found = kOps.find(word);
    if (found != kOps.end()) op = found->second;
  }
  return op;
}

bool atomic_exists(std::uint8_t op, Ty type, std::size_t elements) {
  const bool smallest_or_largest = op == kAtomMin || op == kAtomMax;
  if (elements > 1) {
    const bool halves = is_float(type) && type != Ty::kF32 && type != Ty::kF64;
    return elements * bytes_of(type) <= 16 &&
           ((op == 0 && type == Ty::kF32) || (halves && (op == 0 || smallest_or_largest)));
  }
  if (is_float(type)) return op == 0;
  return (op != kAtomInc && op != kAtomDec) || type == Ty::kU32;
}

}  // namespace

// An atomic on a vector is one on each of its elements: the manual promises no more.
void FunctionDecoder::atom() {
  const Mods mods(now_->mods);
  const std::optional<std::uint8_t> op = atomic_operation(mods);
  const Ty type = only_type();
  const bool returns = now_->opcode == "atom";
  const std::size_t first = returns ? 1 : 0;
  const std::size_t count = mods.has("v8") ? 8 : mods.has("v4") ? 4 : mods.has("v2") ? 2 : 1;
  if (!op || !atomic_exists(*op, type, count)) return unsupported();
  const Space space = space_of(mods, operand(first));
  if (count > 1 && space != Space::kGlobal && space != Space::kGeneric) return unsupported();
  const Target target = target_of(mods, operand(first));
  const std::span<const ptx::Operand> from = elements_of(operand(first + 1));
  const std::span<const ptx::Operand> to = elements_of(operand(0));
  if (from.size() != count || (returns && to.size() != count)) return unsupported("elements");
  std::vector<std::uint32_t> old_rows;  // of vectors: a register may be read after it is written
  for (std::size_t n = 0; n < count; ++n) {
    const std::uint32_t b = source(from[n], type);
    const std::uint32_t c = *op == kAtomCas ? source(operand(first + 2), type) : 0;
    const bool direct = returns && count == 1;
    const std::uint32_t d = direct ? dest(to[n], type) : new_row(bytes_of(type) > 4);
    old_rows.push_back(d);
    Ins& ins = emit(Op::kAtom, type);
    ins.d = d;
    ins.a = target.row;
    ins.b = b;
    ins.c = c;
    ins.imm = target.imm + static_cast<std::int64_t>(n * bytes_of(type));
    ins.detail = *op;
    ins.detail2 = n == 0 ? log2_of(static_cast<std::uint32_t>(count * bytes_of(type))) : 0;
    ins.space = target.space;
    ins.size_log2 = log2_of(bytes_of(type));
    ins.slot = kernel_.next_slot();
    ins.flags = static_cast<std::uint16_t>(target.flags | (returns ? kSpins : 0));
  }
  // A reduction returns nothing, so no loop can wait for it.
  if (mods.has("async")) complete_bytes(operand(2), bytes_of(type));
  if (!returns) return;
  kernel_.note_spin();
  for (std::size_t n = 0; count > 1 && n < count; ++n) {
    const std::uint32_t d = dest(to[n], type);
    Ins& ins = emit(Op::kMov, Ty::kU32);
    ins.d = d;
    ins.a = old_rows[n];
  }
}

void FunctionDecoder::fence() { emit(Op::kFence, Ty::kU32); }

// cp.async is done at once, so that waiting for it is nothing.
void FunctionDecoder::cp() {
  const Mods mods(now_->mods);
  if (mods.has("tensor") || mods.has("reduce")) return unsupported();
  if (mods.has("bulk")) return bulk_copy();
  if (!mods.has("async") || mods.has("mbarrier")) return unsupported();
  if (mods.has("commit_group") || mods.has("wait_group") || mods.has("wait_all")) return nop();
  std::uint32_t to = 0, from = 0;
  std::int64_t to_imm = 0, from_imm = 0;
  bool to_narrow = false, from_narrow = false;
  address(operand(0), Space::kShared, &to, &to_imm, &to_narrow);
  address(operand(1), Space::kGlobal, &from, &from_imm, &from_narrow);
  if (operand(2).kind != Kind::kImmediate) return unsupported();
  const std::uint64_t bytes = operand(2).bits;
  const bool partial = operands() > 3 && !mods.has("L2::cache_hint");
  if (operands() > 4 || (bytes != 4 && bytes != 8 && bytes != 16)) return unsupported();
  const std::uint32_t used = partial ? source(operand(3), Ty::kU32) : constant(bytes, false);
  Ins& ins = emit(Op::kCopyAsync, Ty::kU32);
  ins.a = to;
  ins.b = from;
  ins.c = used;
  ins.imm = to_imm;
  ins.table = static_cast<std::uint32_t>(from_imm);
  ins.size_log2 = log2_of(static_cast<std::uint32_t>(bytes));
  ins.space = Space::kShared;
  ins.slot = kernel_.next_slot();
  ins.flags = to_narrow ? kAddress32 : 0;
}

void FunctionDecoder::prefetch() { nop(); }

}  // namespace farcall::softgpu
