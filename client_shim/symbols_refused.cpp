#include "client_shim/symbols.h"

#define REFUSE(F, WHY) extern "C" int F();
#include "transport/api/table.inc"

namespace farcall::shim {

std::span<const Symbol> refused_symbols() {
  static const Symbol kSymbols[] = {
#define REFUSE(F, WHY) {#F, reinterpret_cast<void (*)()>(&::F)},
#include "transport/api/table.inc"
  };
  return kSymbols;
}

}  // namespace farcall::shim
