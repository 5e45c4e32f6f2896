// Every function this library exports, by name: what cuGetProcAddress hands out.
//
//   void* function = find_symbol("cuMemAlloc_v2");       // null: no such export
//
// Owner: constant data.  Threads: any.  Looked up in our own table and not with dlsym, so that a
// program's own symbol of the same name never gets in between.
#pragma once
#include <span>

namespace farcall::shim {

void* find_symbol(const char* name);

struct Symbol {
  const char* name;
  void (*function)();
};
// The refused ones. They have a table of their own because they are defined without prototypes, see
// transport/api/refusals.inc.
std::span<const Symbol> refused_symbols();

}  // namespace farcall::shim
