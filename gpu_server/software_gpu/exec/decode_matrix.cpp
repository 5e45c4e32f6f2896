// Decoding of wmma, mma, ldmatrix, stmatrix and movmatrix, and of conversions to tf32.
#include <charconv>

#include "gpu_server/software_gpu/exec/decode.h"
#include "gpu_server/software_gpu/exec/isa/matrix_shapes.h"

namespace farcall::softgpu {

using Kind = ptx::Operand::Kind;

namespace {

struct Sizes {
  std::uint16_t m = 0, n = 0, k = 0;

  friend bool operator==(const Sizes&, const Sizes&) = default;
};

// "m16n8k16". No shape has more than 256 of anything, nor rows and columns of d that are no eights.
std::optional<Sizes> sizes_from(std::string_view word) {
  Sizes sizes;
  const char* at = word.data();
  const char* const end = at + word.size();
  const auto number = [&](char letter, std::uint16_t* value) {
    if (at == end || *at != letter) return false;
    const auto [next, error] = std::from_chars(at + 1, end, *value);
    at = next;
    return error == std::errc() && *value >= 1 && *value <= 256;
  };
  const bool good =
      number('m', &sizes.m) && number('n', &sizes.n) && number('k', &sizes.k) && at == end;
  if (!good || sizes.m > 32 || sizes.n > 32 || sizes.m % 8 != 0 || sizes.n % 8 != 0) {
    return std::nullopt;
  }
  return sizes;
}

std::optional<Sizes> sizes_of(const Mods& mods) {
  for (const std::string_view word : mods.all()) {
    if (const auto sizes = sizes_from(word)) return sizes;
  }
  return std::nullopt;
}

std::vector<Element> elements_of(const Mods& mods) {
  std::vector<Element> elements;
  for (const std::string_view word : mods.all()) {
    if (const auto element = element_from_name(word)) elements.push_back(*element);
  }
  return elements;
}

// Which products exist: of equal kinds, with sums of the kind that belongs to them.
bool goes_together(const MatrixSite& site) {
  const Element a = site.a.element, b = site.b.element, c = site.c.element, d = site.d.element;
  if (a == Element::kF64) return b == a && c == a && d == a;
  if (is_integer(a)) {
    return element_bits(a) < 32 && element_bits(a) == element_bits(b) && is_integer(b) &&
           c == Element::kS32 && d == Element::kS32;
  }
  const auto sums = [&](Element x) {
    return x == Element::kF32 || (x == Element::kF16 && a == Element::kF16);
  };
  return a == b && a != Element::kF32 && sums(c) && sums(d);
}

// The variant of kMatrixLoad for a matrix; 0 where only the general one will do.
unsigned quick_load(const Fragment& fragment, bool by_columns) {
  const std::uint32_t bits = element_bits(fragment.element);
  const bool is_split = fragment.holding == Holding::kSum && bits == 16;
  if (bits < 8 || is_split || fragment.registers != fragment.used() ||
      fragment.registers > kLoadRegistersMax) {
    return 0;
  }
  const std::uint32_t lines = by_columns ? fragment.columns : fragment.rows;
  return load_variant({bits / 8, lines, fragment.bytes() / lines, by_columns});
}

}  // namespace

// Names the registers of {a, b, …} as the fragment's.
void FunctionDecoder::hold(Fragment& fragment, const ptx::Operand& operand, bool writes) {
  const std::span<const ptx::Operand> given = operand.kind == Kind::kVector
                                                  ? std::span<const ptx::Operand>(operand.parts)
                                                  : std::span<const ptx::Operand>(&operand, 1);
  fragment.registers = static_cast<std::uint32_t>(given.size());
  if (!fragment.fits()) return unsupported("registers of a matrix");
  const Ty type = element_bits(fragment.element) == 64 ? Ty::kU64 : Ty::kU32;
  // An immediate counts in the element's own format: 0.5 in a matrix of floats is a float.
  const Ty read = fragment.element == Element::kF64   ? Ty::kF64
                  : fragment.element == Element::kF32 ? Ty::kF32
                                                      : type;
  std::vector<std::uint32_t> rows;
  for (const ptx::Operand& part : given) {
    rows.push_back(writes ? dest(part, type) : source(part, read));
  }
  fragment.first = static_cast<std::uint32_t>(out_.more_rows.size());
  out_.more_rows.insert(out_.more_rows.end(), rows.begin(), rows.end());
}

Ins& FunctionDecoder::emit_matrix(Op op, const MatrixSite& site, Ty type, unsigned variant) {
  out_.matrices.push_back(site);
  Ins& ins = emit(op, type, variant);
  ins.table = static_cast<std::uint32_t>(out_.matrices.size() - 1);
  return ins;
}

void FunctionDecoder::mma() {
  const Mods mods(now_->mods);
  const bool is_wmma = now_->opcode == "wmma";
  const std::optional<Sizes> sizes = sizes_of(mods);
  std::vector<Element> elements = elements_of(mods);
  const bool sparse = mods.has("sp") || mods.word(0).starts_with("sp::");
  // wmma names the sums only where the factors are f16.
  if (is_wmma && elements.size() == 2) {
    elements = {elements[0], Element::kF16, Element::kF16, elements[1]};
  }
  if (!sizes || sparse || elements.size() != 4 || operands() != 4) return unsupported();
  MatrixSite site;
  const Holding sum = is_wmma ? Holding::kSum : Holding::kC;
  site.d = {sizes->m, sizes->n, elements[0], sum};
  site.a = {sizes->m, sizes->k, elements[1], is_wmma ? Holding::kFactor : Holding::kA};
  site.b = {sizes->k, sizes->n, elements[2], is_wmma ? Holding::kFactor : Holding::kB};
  site.c = {sizes->m, sizes->n, elements[3], sum};
  const bool known_shape = is_wmma || ((sizes->m == 8 || sizes->m == 16) && sizes->n == 8);
  if (!known_shape || !goes_together(site)) return unsupported();
  if (!is_wmma && !(mods.has("row") && mods.has("col"))) return unsupported();
  site.saturates = mods.has("satfinite");
  site.xors = mods.has("xor");
  hold(site.d, operand(0), true);
  hold(site.a, operand(1), false);
  hold(site.b, operand(2), false);
  hold(site.c, operand(3), false);
  if (!is_wmma || site.a.element != Element::kF64 || *sizes != Sizes{8, 8, 4}) {
    emit_matrix(Op::kMatrixMultiply, site);
    return;
  }
  Ins& ins = emit_matrix(Op::kMatrixMultiply, site, Ty::kF64);
  ins.a = out_.more_rows[site.a.first];
  ins.b = out_.more_rows[site.b.first];
  ins.c = out_.more_rows[site.c.first];
  ins.e = out_.more_rows[site.c.first + 1];
  ins.d = out_.more_rows[site.d.first];
  ins.f = out_.more_rows[site.d.first + 1];
}

// wmma.load.{a,b,c} and wmma.store.d; wmma.mma is among mma's kin.
void FunctionDecoder::wmma() {
  const Mods mods(now_->mods);
  const bool loads = mods.has("load"), stores = mods.has("store");
  if (!loads && !stores) return mma();
  const std::optional<Sizes> sizes = sizes_of(mods);
  const std::vector<Element> elements = elements_of(mods);
  const std::string_view which = mods.word(1);
  if (!sizes || elements.size() != 1 || operands() < 2 || operands() > 3) return unsupported();
  if (stores && element_bits(elements[0]) < 16) return unsupported();
  MatrixSite site;
  site.d.rows = which == "b" ? sizes->k : sizes->m;
  site.d.columns = which == "a" ? sizes->k : sizes->n;
  site.d.element = elements[0];
  site.d.holding = which == "a" || which == "b" ? Holding::kFactor : Holding::kSum;
  const ptx::Operand& at = operand(loads ? 1 : 0);
  const Space space = space_of(mods, at);
  std::uint32_t row = 0;
  std::int64_t imm = 0;
  bool narrow = false;
  address(at, space, &row, &imm, &narrow);
  const bool by_columns = mods.has("col");
  const std::uint32_t length = by_columns ? site.d.rows : site.d.columns;
  const std::uint32_t stride =
      operands() == 3 ? source(operand(2), Ty::kU32) : constant(length, false);
  hold(site.d, operand(loads ? 0 : 1), loads);
  const unsigned variant = loads ? quick_load(site.d, by_columns) : 0;
  Ins& ins = emit_matrix(loads ? Op::kMatrixLoad : Op::kMatrixStore, site, Ty::kU32, variant);
  if (variant != 0) {
    std::uint32_t* const rows[] = {&ins.d, &ins.c, &ins.e, &ins.f};
    for (std::uint32_t n = 0; n < site.d.registers; ++n) {
      *rows[n] = out_.more_rows[site.d.first + n];
    }
  }
  ins.a = row;
  ins.b = stride;
  ins.imm = imm;
  ins.space = space;
  ins.slot = kernel_.next_slot();
  ins.flags = static_cast<std::uint16_t>((narrow ? kAddress32 : 0) | (by_columns ? kAnyFlag : 0));
}

// ldmatrix, stmatrix and movmatrix: 8x8 matrices of 16 bits. detail: matrices; detail2: 0 loads, 1
// stores, 2 moves between registers; kAnyFlag: transposed.
void FunctionDecoder::matrix_rows() {
  const Mods mods(now_->mods);
  const std::uint8_t how = now_->opcode == "ldmatrix" ? 0 : now_->opcode == "stmatrix" ? 1 : 2;
  if (!mods.has("m8n8") || !mods.has("b16") || operands() != 2) return unsupported();
  const std::uint32_t count = mods.has("x4") ? 4 : mods.has("x2") ? 2 : 1;
  MatrixSite site;
  site.d = {8, 8, Element::kF16, Holding::kFactor};
  const ptx::Operand& registers = operand(how == 1 ? 1 : 0);
  hold(site.d, registers, how != 1);
  if (site.d.registers != count) return unsupported("registers of a matrix");
  std::uint32_t row = 0;
  std::int64_t imm = 0;
  bool narrow = false;
  const ptx::Operand& other = operand(how == 1 ? 0 : 1);
  if (how == 2) {
    row = source(other, Ty::kU32);
  } else {
    address(other, Space::kShared, &row, &imm, &narrow);
  }
  Ins& ins = emit_matrix(Op::kMatrixTranspose, site);
  ins.a = row;
  ins.imm = imm;
  ins.space = Space::kShared;
  ins.size_log2 = 4;
  ins.detail = static_cast<std::uint8_t>(count);
  ins.detail2 = how;
  ins.flags =
      static_cast<std::uint16_t>((narrow ? kAddress32 : 0) | (mods.has("trans") ? kAnyFlag : 0));
}

// A tf32 is an f32 of which only the first ten mantissa bits count.
void FunctionDecoder::cvt_tf32() {
  const Mods mods(now_->mods);
  if (mods.type(1) != ptx::Type::kF32 || mods.has("satfinite")) return unsupported();
  const std::uint32_t a = source(operand(1), Ty::kF32), d = dest(operand(0), Ty::kU32);
  Ins& ins = emit(Op::kCvt, Ty::kF32, kToTf32);
  ins.d = d;
  ins.a = a;
  ins.flags = static_cast<std::uint16_t>(mods.has("rz") ? kRoundZero : kRoundNearest);
  // .rna: ties go away from zero.
  ins.detail = mods.has("rna") ? 1 : 0;
  ins.detail2 = mods.has("relu") ? 1 : 0;
}

}  // namespace farcall::softgpu
