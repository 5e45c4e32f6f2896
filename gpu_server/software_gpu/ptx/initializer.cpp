// Initialisers: numbers, nested braces, addresses of other symbols and single bytes of those.
#include <algorithm>
#include <bit>
#include <cstring>

#include "gpu_server/software_gpu/ptx/declarations.h"
#include "transport/base/limits.h"

namespace farcall::softgpu::ptx {
namespace {

constexpr std::uint64_t kPaddingFree = 4096;
constexpr std::uint64_t kPaddingPerValue = 64;

class Initializer {
 public:
  Initializer(Lexer& in, const Shape& shape, const std::vector<std::uint64_t>& dimensions,
              Variable& variable)
      : in_(in), shape_(shape), variable_(variable), element_(type_bytes(shape.type)) {
    // Bytes of one row of each brace depth: an inner '}' skips to the next row.
    rows_.assign(dimensions.size() + 1, shape.element_bytes());
    for (std::size_t depth = dimensions.size(); depth-- > 1;) {
      rows_[depth] = rows_[depth + 1] * dimensions[depth];
    }
    if (!dimensions.empty()) rows_[0] = 0;  // of an open bound: never used
  }

  Status parse() {
    if (in_.at('{')) {
      if (shape_.type == Type::kSamplerref || shape_.type == Type::kTexref) {
        return in_.skip_braces().status();  // {addr_mode_0 = …}: set by the driver API instead
      }
      FARCALL_TRY(parse_braces(0));
    } else {
      FARCALL_TRY(parse_value());
    }
    if (variable_.unbounded) {
      if (end() > limits::kPtxVariableBytesMax) return too_long();
      variable_.bytes = end();
      variable_.unbounded = false;
    }
    return {};
  }

 private:
  Status parse_braces(unsigned depth) {
    if (depth == limits::kPtxNestingMax) return in_.fail("fewer nested braces");
    FARCALL_TRY(in_.expect('{'));
    const std::uint64_t start = end();
    while (!in_.take('}')) {
      if (in_.at('{')) {
        FARCALL_TRY(parse_braces(depth + 1));
      } else {
        FARCALL_TRY(parse_value());
      }
      if (!in_.at('}')) FARCALL_TRY(in_.expect(','));
    }
    if (depth > 0 && depth < rows_.size()) {
      const std::uint64_t row_end = start + rows_[depth];
      if (row_end > variable_.bytes && !variable_.unbounded) return too_long();
      padded_to_ = std::max(padded_to_, row_end);
    }
    return {};
  }

  Status parse_value() {
    FARCALL_TRY(pad());
    const Token& token = in_.peek();
    if (token.kind == Token::Kind::kWord) return parse_address(0);
    const bool negative = in_.take('-');
    const Token number = in_.take();
    if (number.kind == Token::Kind::kInteger) {
      if (!negative && in_.at('(')) return parse_masked(number.bits);
      return put(integer_bits(negative ? std::uint64_t{0} - number.bits : number.bits));
    }
    if (number.kind == Token::Kind::kFloat) return put(float_bits(number, negative));
    return in_.fail_at(number.line, "an initialiser that is no number and no name");
  }

  // 0xFF00(generic(name)+4): the second byte of that address.
  Status parse_masked(std::uint64_t mask) {
    const int shift = std::countr_zero(mask);
    if (mask == 0 || shift % 8 != 0 || (mask >> shift) != 0xff || element_ != 1) {
      return in_.fail("a mask of one byte on a byte");
    }
    FARCALL_TRY(in_.expect('('));
    FARCALL_TRY(parse_address(static_cast<std::uint32_t>(shift)));
    return in_.expect(')');
  }

  Status parse_address(std::uint32_t shift) {
    Relocation relocation;
    relocation.offset = variable_.init.size();
    relocation.bytes = element_;
    relocation.shift = shift;
    relocation.generic = in_.take_word("generic");
    if (relocation.generic) FARCALL_TRY(in_.expect('('));
    Result<std::string_view> name = in_.expect_name();
    if (!name.ok()) return name.status();
    relocation.name = name.value();
    FARCALL_TRY(parse_addend(relocation));
    if (relocation.generic) {
      FARCALL_TRY(in_.expect(')'));
      FARCALL_TRY(parse_addend(relocation));
    }
    FARCALL_TRY(put(0));
    variable_.relocations.push_back(relocation);
    return {};
  }

  Status parse_addend(Relocation& relocation) {
    if (!in_.take('+') && !in_.at('-')) return {};
    Result<std::uint64_t> addend = in_.expect_integer();
    if (!addend.ok()) return addend.status();
    relocation.addend =
        static_cast<std::int64_t>(static_cast<std::uint64_t>(relocation.addend) + addend.value());
    return {};
  }

  // "1" for an .f32 means 1.0.
  std::uint64_t integer_bits(std::uint64_t bits) const {
    const auto value = static_cast<std::int64_t>(bits);
    if (shape_.type == Type::kF64) return std::bit_cast<std::uint64_t>(static_cast<double>(value));
    if (shape_.type == Type::kF32) return std::bit_cast<std::uint32_t>(static_cast<float>(value));
    return bits;
  }

  std::uint64_t float_bits(const Token& number, bool negative) const {
    std::uint64_t bits = number.bits;
    if (number.float_bytes == 8 && shape_.type == Type::kF32) {
      bits = std::bit_cast<std::uint32_t>(static_cast<float>(std::bit_cast<double>(bits)));
    } else if (number.float_bytes == 4 && shape_.type == Type::kF64) {
      const auto half = static_cast<std::uint32_t>(bits);
      bits = std::bit_cast<std::uint64_t>(static_cast<double>(std::bit_cast<float>(half)));
    }
    return negative ? bits ^ (std::uint64_t{1} << (std::min(element_, 8U) * 8 - 1)) : bits;
  }

  Status put(std::uint64_t bits) {
    const std::size_t at = variable_.init.size();
    if (at + element_ > variable_.bytes && !variable_.unbounded) return too_long();
    variable_.init.resize(at + element_);
    std::memcpy(variable_.init.data() + at, &bits, std::min<std::size_t>(element_, sizeof bits));
    ++values_;
    return {};
  }

  // A short row is filled with zeros only when a value follows it, and zeros stay in proportion to
  // values: a short text must not become a large allocation.
  Status pad() {
    if (padded_to_ <= variable_.init.size()) return {};
    padding_ += padded_to_ - variable_.init.size();
    if (padding_ > kPaddingFree + kPaddingPerValue * values_) return too_long();
    variable_.init.resize(padded_to_);
    return {};
  }

  // Where the next value goes.
  std::uint64_t end() const { return std::max<std::uint64_t>(padded_to_, variable_.init.size()); }

  Status too_long() const {
    return in_.fail_at(variable_.line, "an initialiser longer than '" + variable_.name + "'");
  }

  Lexer& in_;
  const Shape& shape_;
  Variable& variable_;
  const std::uint32_t element_;
  std::vector<std::uint64_t> rows_;
  std::uint64_t padded_to_ = 0;
  std::uint64_t padding_ = 0;
  std::uint64_t values_ = 0;
};

}  // namespace

Status parse_initializer(Lexer& in, const Shape& shape,
                         const std::vector<std::uint64_t>& dimensions, Variable& variable) {
  return Initializer(in, shape, dimensions, variable).parse();
}

}  // namespace farcall::softgpu::ptx
