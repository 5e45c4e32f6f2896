#include "gpu_server/software_gpu/ptx/operands.h"

#include <algorithm>

#include "transport/base/limits.h"

namespace farcall::softgpu::ptx {
namespace {

using Kind = Operand::Kind;

constexpr std::uint64_t kWarpThreads = 32;  // the constant WARP_SZ

Operand immediate(std::uint64_t bits) {
  Operand operand;
  operand.kind = Kind::kImmediate;
  operand.bits = bits;
  return operand;
}

// ".x" of a vector register: 0 … 3, or -1 for another selector.
int component(std::string_view selector) {
  constexpr std::string_view kXyzw = "xyzw", kRgba = "rgba";
  if (selector.size() != 1) return -1;
  std::size_t at = kXyzw.find(selector[0]);
  if (at == std::string_view::npos) at = kRgba.find(selector[0]);
  return at == std::string_view::npos ? -1 : static_cast<int>(at);
}

}  // namespace

Result<std::int32_t> OperandParser::parse_guard() {
  const std::uint32_t line = in_.peek().line;
  Result<std::string_view> name = in_.expect_name();
  if (!name.ok()) return name.status();
  const auto found = scopes_.find_register(name.value());
  if (!found) return in_.fail_at(line, "a guard that is no register");
  return found->first;
}

Result<Operand> OperandParser::parse(unsigned depth) {
  Result<Operand> first = parse_term(depth);
  if (!first.ok() || !in_.take('|')) return first;
  Result<Operand> second = parse_term(depth);
  if (!second.ok()) return second;
  Operand pair;
  pair.kind = Kind::kPair;
  pair.parts.push_back(std::move(first).value());
  pair.parts.push_back(std::move(second).value());
  return pair;
}

Result<Operand> OperandParser::parse_term(unsigned depth) {
  if (depth > limits::kPtxOperandNestingMax) return in_.fail("less deeply nested operands");
  const Token& token = in_.peek();
  switch (token.kind) {
    case Token::Kind::kWord: return parse_word();
    case Token::Kind::kInteger:
    case Token::Kind::kFloat: return parse_number();
    case Token::Kind::kMark: break;
    default: return in_.fail("an operand");
  }
  switch (token.mark) {
    case '-':
    case '~': return parse_number();
    case '[': return parse_address(depth);
    case '{': in_.take(); return parse_several(Kind::kVector, '}', depth);
    case '(': in_.take(); return parse_several(Kind::kList, ')', depth);
    case '!': break;
    default: return in_.fail("an operand");
  }
  in_.take();
  if (in_.peek().kind == Token::Kind::kInteger) {
    return immediate(in_.take().bits == 0 ? 1 : 0);
  }
  Result<Operand> negated = parse_word();
  if (!negated.ok()) return negated;
  if (negated->kind != Kind::kRegister) return in_.fail("a predicate register after '!'");
  negated->negated = true;
  return negated;
}

Operand OperandParser::register_operand(std::string_view text, RegisterName name,
                                        std::string_view selector) const {
  Operand operand;
  operand.kind = Kind::kRegister;
  operand.text = text;
  operand.reg = name.first;
  const int part = component(selector);
  if (name.width > 1 && part >= 0 && static_cast<std::uint32_t>(part) < name.width) {
    operand.reg += part;
  } else if (name.width > 1 && selector.empty()) {
    operand.kind = Kind::kVector;
    operand.reg = Operand::kNoRegister;
    for (std::uint32_t i = 0; i < name.width; ++i) {
      operand.parts.push_back(
          register_operand(text, {name.first + static_cast<std::int32_t>(i), 1}, {}));
    }
  } else {
    operand.selector = selector;
  }
  return operand;
}

Result<Operand> OperandParser::parse_word() {
  Result<std::string_view> word = in_.expect_name();
  if (!word.ok()) return word.status();
  const std::string_view text = word.value();
  Operand operand;
  if (text == "_") return operand;
  if (text == "WARP_SZ") return immediate(kWarpThreads);
  const std::size_t dot = std::min(text.find('.'), text.size());
  if (const auto found = scopes_.find_register(text.substr(0, dot))) {
    const std::size_t selector = std::min(dot + 1, text.size());
    return register_operand(text, *found, text.substr(selector));
  }
  if (text[0] == '%') {
    operand.kind = Kind::kSpecial;
    operand.text = text.substr(1);
    return operand;
  }
  operand.kind = Kind::kSymbol;
  operand.text = text;
  FARCALL_TRY(parse_offset(operand));
  return operand;
}

// Any run of "+4", "-8", "+-4".
Status OperandParser::parse_offset(Operand& operand) {
  auto sum = static_cast<std::uint64_t>(operand.offset);
  while (in_.at('+') || in_.at('-')) {
    in_.take('+');
    Result<std::uint64_t> number = in_.expect_integer();
    if (!number.ok()) return number.status();
    sum += number.value();
  }
  operand.offset = static_cast<std::int64_t>(sum);
  return {};
}

Result<Operand> OperandParser::parse_number() {
  bool negative = false;
  bool inverted = false;
  if (in_.take('-')) {
    negative = true;
  } else {
    inverted = in_.take('~');
  }
  const Token number = in_.peek();
  Operand operand;
  if (number.kind == Token::Kind::kInteger) {
    operand.kind = Kind::kImmediate;
    operand.bits = inverted ? ~number.bits : number.bits;
    if (negative) operand.bits = std::uint64_t{0} - operand.bits;
  } else if (number.kind == Token::Kind::kFloat && !inverted) {
    operand.kind = Kind::kFloatImmediate;
    operand.float_bytes = number.float_bytes;
    operand.bits = number.bits;
    if (negative) operand.bits ^= std::uint64_t{1} << (number.float_bytes * 8 - 1);
  } else {
    return in_.fail("a number");
  }
  in_.take();
  operand.text = number.text;
  return operand;
}

Result<Operand> OperandParser::parse_address(unsigned depth) {
  in_.take();
  Result<Operand> base = parse(depth + 1);
  if (!base.ok()) return base;
  Operand address;
  address.kind = Kind::kAddress;
  address.text = base->text;
  if (in_.at(',')) {
    address.text = {};
    address.parts.push_back(std::move(base).value());
    while (in_.take(',')) {
      Result<Operand> part = parse(depth + 1);
      if (!part.ok()) return part;
      address.parts.push_back(std::move(part).value());
    }
    FARCALL_TRY(in_.expect(']'));
    return address;
  }
  switch (base->kind) {
    case Kind::kRegister: address.reg = base->reg; break;
    case Kind::kSymbol: address.offset = base->offset; break;
    case Kind::kImmediate: address.offset = static_cast<std::int64_t>(base->bits); break;
    default: return in_.fail("an address of a register, a name or a number");
  }
  // Only a symbol keeps its text: that is how resolving tells [name] from [%r1] and [16].
  if (base->kind != Kind::kSymbol) address.text = {};
  FARCALL_TRY(parse_offset(address));
  FARCALL_TRY(in_.expect(']'));
  return address;
}

Result<Operand> OperandParser::parse_several(Operand::Kind kind, char close, unsigned depth) {
  Operand several;
  several.kind = kind;
  if (in_.take(close)) return several;
  do {
    Result<Operand> part = parse(depth + 1);
    if (!part.ok()) return part;
    several.parts.push_back(std::move(part).value());
  } while (in_.take(','));
  FARCALL_TRY(in_.expect(close));
  return several;
}

}  // namespace farcall::softgpu::ptx
