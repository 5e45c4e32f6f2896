// Parsing of one operand.
//
//   OperandParser operands(in, scopes);
//   Result<Operand> operand = operands.parse();          // at "[%rd1+4]", "{%f1, %f2}", "%p1|%p2"
//
// Plain names that are no register come back as Symbol::Kind::kUnresolved: they may be labels that
// follow later; the body parser resolves them at its end.
// Internal to the front end.  Owner: borrows both.  Threads: one.
#pragma once
#include "gpu_server/software_gpu/ptx/ast.h"
#include "gpu_server/software_gpu/ptx/lexer.h"
#include "gpu_server/software_gpu/ptx/scopes.h"

namespace farcall::softgpu::ptx {

class OperandParser {
 public:
  OperandParser(Lexer& in, const Scopes& scopes) : in_(in), scopes_(scopes) {}

  Result<Operand> parse() { return parse(0); }
  // The register after '@' or '@!'.
  Result<std::int32_t> parse_guard();

 private:
  Result<Operand> parse(unsigned depth);
  Result<Operand> parse_term(unsigned depth);
  Result<Operand> parse_word();
  Result<Operand> parse_number();
  Result<Operand> parse_address(unsigned depth);
  Result<Operand> parse_several(Operand::Kind kind, char close, unsigned depth);
  Status parse_offset(Operand& operand);
  Operand register_operand(std::string_view text, RegisterName name,
                           std::string_view selector) const;

  Lexer& in_;
  const Scopes& scopes_;
};

}  // namespace farcall::softgpu::ptx
