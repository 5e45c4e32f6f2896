// Parsing of what modules and bodies share: variables with initialisers, parameters.
//
//   in at ".align 4 .b8 table[64] = {1, 2};"
//   Result<std::vector<Variable>> variables = parse_variables(in, Space::kConst, linkage);
//
// Internal to the front end.  Owner: values.  Threads: any.
#pragma once
#include <vector>

#include "gpu_server/software_gpu/ptx/ast.h"
#include "gpu_server/software_gpu/ptx/lexer.h"

namespace farcall::softgpu::ptx {

struct Linkage {
  bool is_extern = false;
  bool is_visible = false;
  bool is_weak = false;
};
// Any run of .extern .visible .weak .common; nothing at all is fine.
Linkage parse_linkage(Lexer& in);

// .pragma "…", "…";  with ".pragma" next. They are hints to an optimiser.
Status skip_pragma(Lexer& in);

// kConst for ".const" and the like; kNone for a word that is no state space.
Space space_from_directive(std::string_view word);

// What stands between the state space and the name: alignment, vector width, type, attributes.
struct Shape {
  Type type = Type::kNone;
  std::uint32_t vector = 1;  // .v2, .v4
  std::uint32_t align = 0;   // 0: not said
  bool is_managed = false;
  bool is_pointer = false;  // .ptr
  std::uint32_t element_bytes() const { return type_bytes(type) * vector; }
};
Result<Shape> parse_shape(Lexer& in);

// After the state space, up to and with the ';'.
Result<std::vector<Variable>> parse_variables(Lexer& in, Space space, Linkage linkage);

// "= …" of a variable; `dimensions` are its array bounds, outermost first. Leaves
// Relocation::symbol unresolved.
Status parse_initializer(Lexer& in, const Shape& shape,
                         const std::vector<std::uint64_t>& dimensions, Variable& variable);

// "(…)" of a function, an entry or a prototype.  `bytes` receives the end of the last parameter.
Result<std::vector<Param>> parse_params(Lexer& in, std::uint32_t* bytes);

}  // namespace farcall::softgpu::ptx
