#include "gpu_server/software_gpu/ptx/declarations.h"

#include <bit>

#include "transport/base/limits.h"

namespace farcall::softgpu::ptx {
namespace {

constexpr std::uint32_t kAlignMax = 1 << 16;

Result<std::uint32_t> parse_align(Lexer& in) {
  const std::uint32_t line = in.peek().line;
  Result<std::uint32_t> align = in.expect_u32();
  if (align.ok() && (!std::has_single_bit(align.value()) || align.value() > kAlignMax)) {
    return in.fail_at(line, "an alignment that is no power of two up to 65536");
  }
  return align;
}

// .attribute(.managed), .attribute(.unified(1, 2), …)
Status parse_attributes(Lexer& in, Shape& shape) {
  FARCALL_TRY(in.expect('('));
  int depth = 1;
  while (depth > 0) {
    if (in.at_end()) return in.fail("')'");
    if (in.at('(')) ++depth;
    if (in.at(')')) --depth;
    if (in.at_word(".managed")) shape.is_managed = true;
    in.take();
  }
  return {};
}

// [4][8] or [] (only the outermost may be empty, and is then 0 here).
Result<std::vector<std::uint64_t>> parse_dimensions(Lexer& in, bool* unbounded) {
  std::vector<std::uint64_t> dimensions;
  while (in.take('[')) {
    if (dimensions.size() == limits::kPtxNestingMax) return in.fail("fewer dimensions");
    if (dimensions.empty() && in.take(']')) {
      *unbounded = true;
      dimensions.push_back(0);
      continue;
    }
    Result<std::uint64_t> bound = in.expect_integer();
    if (!bound.ok()) return bound.status();
    FARCALL_TRY(in.expect(']'));
    dimensions.push_back(bound.value());
  }
  return dimensions;
}

// Multiplies without overflow; false beyond the limit.
bool grow(std::uint64_t* bytes, std::uint64_t times, std::uint64_t limit) {
  if (times != 0 && *bytes > limit / times) return false;
  *bytes *= times;
  return true;
}

Status over_limit(const Lexer& in, std::uint32_t line, std::string_view what) {
  return {Code::kOverQuota, in.fail_at(line, what).text()};
}

Result<Variable> parse_variable(Lexer& in, const Shape& shape) {
  Variable variable;
  variable.line = in.peek().line;
  Result<std::string_view> name = in.expect_name();
  if (!name.ok()) return name.status();
  variable.name = name.value();
  Result<std::vector<std::uint64_t>> dimensions = parse_dimensions(in, &variable.unbounded);
  if (!dimensions.ok()) return dimensions.status();
  variable.type = shape.type;
  variable.is_managed = shape.is_managed;
  variable.align = shape.align != 0 ? shape.align : shape.element_bytes();
  variable.bytes = shape.element_bytes();
  for (std::uint64_t bound : dimensions.value()) {
    if (!grow(&variable.bytes, bound, limits::kPtxVariableBytesMax)) {
      return over_limit(in, variable.line, "a variable of more than 1 TiB");
    }
  }
  if (in.take('=')) FARCALL_TRY(parse_initializer(in, shape, dimensions.value(), variable));
  return variable;
}

// One parameter, with its ".param" or ".reg" next.
Result<Param> parse_param(Lexer& in) {
  Param param;
  if (in.take_word(".reg")) {
    param.space = Space::kReg;
  } else if (!in.take_word(".param")) {
    return in.fail("'.param'");
  }
  const std::uint32_t line = in.peek().line;
  Result<Shape> shape = parse_shape(in);
  if (!shape.ok()) return shape.status();
  Result<std::string_view> name = in.expect_name();
  if (!name.ok()) return name.status();
  bool unbounded = false;
  Result<std::vector<std::uint64_t>> dimensions = parse_dimensions(in, &unbounded);
  if (!dimensions.ok()) return dimensions.status();
  std::uint64_t bytes = shape->element_bytes();
  for (std::uint64_t bound : dimensions.value()) {
    if (!grow(&bytes, bound, limits::kPtxParamBytesMax)) {
      return over_limit(in, line, "a parameter of more than 1 MiB");
    }
  }
  param.name = name.value();
  param.type = shape->type;
  param.align = shape->align != 0 ? shape->align : shape->element_bytes();
  param.bytes = static_cast<std::uint32_t>(bytes);
  param.is_pointer = shape->is_pointer;
  return param;
}

}  // namespace

Linkage parse_linkage(Lexer& in) {
  Linkage linkage;
  for (;;) {
    if (in.take_word(".extern")) {
      linkage.is_extern = true;
    } else if (in.take_word(".visible")) {
      linkage.is_visible = true;
    } else if (in.take_word(".weak") || in.take_word(".common")) {
      linkage.is_visible = linkage.is_weak = true;
    } else {
      return linkage;
    }
  }
}

Status skip_pragma(Lexer& in) {
  in.take();
  do {
    if (in.peek().kind != Token::Kind::kString) return in.fail("a string");
    in.take();
  } while (in.take(','));
  return in.expect(';');
}

Space space_from_directive(std::string_view word) {
  if (word == ".reg") return Space::kReg;
  if (word == ".const") return Space::kConst;
  if (word == ".global") return Space::kGlobal;
  if (word == ".local") return Space::kLocal;
  if (word == ".param") return Space::kParam;
  if (word == ".shared") return Space::kShared;
  return Space::kNone;
}

Result<Shape> parse_shape(Lexer& in) {
  Shape shape;
  while (in.at_directive()) {
    const Token word = in.take();
    if (word.text == ".align") {
      Result<std::uint32_t> align = parse_align(in);
      if (!align.ok()) return align.status();
      // After .ptr it is the alignment of what the pointer points to.
      if (!shape.is_pointer) shape.align = align.value();
    } else if (word.text == ".attribute") {
      FARCALL_TRY(parse_attributes(in, shape));
    } else if (word.text == ".ptr") {
      shape.is_pointer = true;
    } else if (word.text == ".v2" || word.text == ".v4" || word.text == ".v8") {
      shape.vector = static_cast<std::uint32_t>(word.text[2] - '0');
    } else if (const auto type = type_from_name(word.text.substr(1))) {
      shape.type = *type;
    } else if (!shape.is_pointer || space_from_directive(word.text) == Space::kNone) {
      return in.fail_at(word.line, "unknown type '" + std::string(word.text.substr(0, 64)) + "'");
    }
  }
  if (shape.type == Type::kNone) return in.fail("a type");
  return shape;
}

Result<std::vector<Variable>> parse_variables(Lexer& in, Space space, Linkage linkage) {
  std::vector<Variable> variables;
  if (space == Space::kConst && in.take('[')) {  // a numbered bank: all are one to us
    Result<std::uint32_t> bank = in.expect_u32();
    if (!bank.ok()) return bank.status();
    FARCALL_TRY(in.expect(']'));
  }
  Result<Shape> shape = parse_shape(in);
  if (!shape.ok()) return shape.status();
  do {
    Result<Variable> variable = parse_variable(in, shape.value());
    if (!variable.ok()) return variable.status();
    variable->space = space;
    variable->is_extern = linkage.is_extern;
    variable->is_visible = linkage.is_visible;
    variable->is_weak = linkage.is_weak;
    variables.push_back(std::move(variable).value());
  } while (in.take(','));
  FARCALL_TRY(in.expect(';'));
  return variables;
}

Result<std::vector<Param>> parse_params(Lexer& in, std::uint32_t* bytes) {
  std::vector<Param> params;
  std::uint64_t end = 0;
  FARCALL_TRY(in.expect('('));
  if (!in.take(')')) {
    do {
      const std::uint32_t line = in.peek().line;
      Result<Param> param = parse_param(in);
      if (!param.ok()) return param.status();
      const std::uint64_t align = param->align;
      end = (end + align - 1) / align * align + param->bytes;
      if (end > limits::kPtxParamBytesMax) {
        return over_limit(in, line, "parameters of more than 1 MiB");
      }
      params.push_back(std::move(param).value());
    } while (in.take(','));
    FARCALL_TRY(in.expect(')'));
  }
  if (bytes != nullptr) *bytes = static_cast<std::uint32_t>(end);
  return params;
}

}  // namespace farcall::softgpu::ptx
