// Parsing of the head of an entry or a .func, and finding its body.
//
//   in at ".entry name(.param …) .maxntid 256, 1, 1 { … }"
//   Result<Function> function = parse_function(in, linkage);
//
// Internal to the front end.  Owner: values.  Threads: any.
#pragma once
#include "gpu_server/software_gpu/ptx/ast.h"
#include "gpu_server/software_gpu/ptx/declarations.h"
#include "gpu_server/software_gpu/ptx/lexer.h"

namespace farcall::softgpu::ptx {

// With ".entry" or ".func" next; up to and with the ';' or the body's '}'.
Result<Function> parse_function(Lexer& in, Linkage linkage);

// "name: .callprototype …;" with ".callprototype" next.
Result<Prototype> parse_prototype(Lexer& in);

}  // namespace farcall::softgpu::ptx
