// Device memory that the variables of a PTX text take, found without parsing its functions.
//
//   ptx_variable_bytes(".global .align 4 .b32 a[100], b;") == 404
//
// A declaration begins with .global or .const as a word of its own, outside of parentheses: in an
// instruction such as ld.global they are part of a longer word. What looks like a declaration and
// is none counts too much, never too little. Owner: nothing.  Threads: any. The text is hostile:
// one pass, no recursion, no memory. Source: PTX ISA 9.0, sections 4 (syntax) and 5.4 (variables).
#pragma once
#include <cstdint>
#include <string_view>

namespace farcall::server {

// UINT64_MAX when a length is not a plain number, or the sum does not fit.
std::uint64_t ptx_variable_bytes(std::string_view text);

}  // namespace farcall::server
