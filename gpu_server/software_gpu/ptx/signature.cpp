#include "gpu_server/software_gpu/ptx/signature.h"

namespace farcall::softgpu::ptx {
namespace {

// "256", "256, 1" or "256, 1, 1".
Status parse_extents(Lexer& in, std::uint32_t (&extents)[3]) {
  extents[1] = extents[2] = 1;
  for (std::size_t i = 0; i < 3; ++i) {
    if (i > 0 && !in.take(',')) break;
    Result<std::uint32_t> extent = in.expect_u32();
    if (!extent.ok()) return extent.status();
    extents[i] = extent.value();
  }
  return {};
}

Status parse_number(Lexer& in, std::uint32_t& number) {
  Result<std::uint32_t> parsed = in.expect_u32();
  if (!parsed.ok()) return parsed.status();
  number = parsed.value();
  return {};
}

// A performance hint or a directive of a later PTX version: its arguments say nothing about
// meaning, so they are passed over.
void skip_arguments(Lexer& in) {
  while (!in.at_end() && !in.at('{') && !in.at(';') && !in.at_directive()) in.take();
}

Status parse_directives(Lexer& in, Function& function) {
  while (in.at_directive()) {
    if (in.at_word(".pragma")) {
      FARCALL_TRY(skip_pragma(in));
      continue;
    }
    const std::string_view word = in.take().text;
    if (word == ".maxntid") {
      FARCALL_TRY(parse_extents(in, function.max_threads));
    } else if (word == ".reqntid") {
      FARCALL_TRY(parse_extents(in, function.required_threads));
    } else if (word == ".reqnctapercluster") {
      FARCALL_TRY(parse_extents(in, function.required_cluster));
    } else if (word == ".explicitcluster") {
      function.explicit_cluster = true;
    } else if (word == ".minnctapersm") {
      FARCALL_TRY(parse_number(in, function.min_blocks));
    } else if (word == ".maxnreg") {
      FARCALL_TRY(parse_number(in, function.max_registers));
    } else if (word == ".noreturn") {
      function.no_return = true;
    } else {
      skip_arguments(in);
    }
  }
  return {};
}

}  // namespace

Result<Function> parse_function(Lexer& in, Linkage linkage) {
  Function function;
  function.is_entry = in.take().text == ".entry";
  function.is_extern = linkage.is_extern;
  function.is_visible = linkage.is_visible;
  function.is_weak = linkage.is_weak;
  if (!function.is_entry && in.at('(')) {
    Result<std::vector<Param>> returns = parse_params(in, nullptr);
    if (!returns.ok()) return returns.status();
    function.returns = std::move(returns).value();
  }
  function.line = in.peek().line;
  Result<std::string_view> name = in.expect_name();
  if (!name.ok()) return name.status();
  function.name = name.value();
  if (in.at('(')) {
    Result<std::vector<Param>> params = parse_params(in, &function.param_bytes);
    if (!params.ok()) return params.status();
    function.params = std::move(params).value();
  }
  FARCALL_TRY(parse_directives(in, function));
  if (in.take(';')) return function;
  function.body_line = in.peek().line;
  Result<std::string_view> body = in.skip_braces();
  if (!body.ok()) return body.status();
  function.body_text = body.value();
  function.has_body = true;
  return function;
}

Result<Prototype> parse_prototype(Lexer& in) {
  Prototype prototype;
  in.take();
  if (in.at('(')) {
    Result<std::vector<Param>> returns = parse_params(in, nullptr);
    if (!returns.ok()) return returns.status();
    prototype.returns = std::move(returns).value();
  }
  Result<std::string_view> placeholder = in.expect_name();
  if (!placeholder.ok()) return placeholder.status();
  if (in.at('(')) {
    Result<std::vector<Param>> params = parse_params(in, nullptr);
    if (!params.ok()) return params.status();
    prototype.params = std::move(params).value();
  }
  while (!in.at_end() && !in.at(';')) {
    if (in.take().text == ".noreturn") prototype.no_return = true;
  }
  FARCALL_TRY(in.expect(';'));
  return prototype;
}

}  // namespace farcall::softgpu::ptx
