// Compiled by itself, without cuda.h: only names and addresses matter here, and declaring every
// function without parameters is what keeps the table one line per name.
#include "gpu_server/software_gpu/symbol_table.h"

#include <algorithm>
#include <cstring>
#include <iterator>

#include "transport/base/log.h"

extern "C" {
#define SERVED(name) __attribute__((visibility("default"))) int name(void);
#include "gpu_server/software_gpu/served.def"
#undef SERVED

#define REFUSED(name)                                    \
  __attribute__((visibility("default"))) int name(void); \
  int name(void) {                                       \
    static unsigned char told = 0;                       \
    return farcall::softgpu::refuse(#name, &told);       \
  }
#include "gpu_server/software_gpu/refused.def"
#undef REFUSED
}

namespace farcall::softgpu {
namespace {

struct Symbol {
  const char* name;
  int (*address)();
};

constexpr bool before(const char* a, const char* b) {
  while (*a != 0 && *a == *b) {
    ++a;
    ++b;
  }
  return static_cast<unsigned char>(*a) < static_cast<unsigned char>(*b);
}

constexpr Symbol kServed[] = {
#define SERVED(name) {#name, &name},
#include "gpu_server/software_gpu/served.def"
#undef SERVED
};
constexpr Symbol kRefused[] = {
#define REFUSED(name) {#name, &name},
#include "gpu_server/software_gpu/refused.def"
#undef REFUSED
};

template <std::size_t N>
constexpr bool is_sorted(const Symbol (&table)[N]) {
  for (std::size_t i = 1; i < N; ++i) {
    if (!before(table[i - 1].name, table[i].name)) return false;
  }
  return true;
}
static_assert(is_sorted(kServed), "served.def is sorted, because it is searched by halves");
static_assert(is_sorted(kRefused), "refused.def is sorted, because it is searched by halves");

template <std::size_t N>
void* find_in(const Symbol (&table)[N], const char* name) {
  const Symbol* at = std::lower_bound(
      std::begin(table), std::end(table), name,
      [](const Symbol& symbol, const char* wanted) { return before(symbol.name, wanted); });
  if (at == std::end(table) || std::strcmp(at->name, name) != 0) return nullptr;
  return reinterpret_cast<void*>(at->address);
}

}  // namespace

void* find_symbol(const char* name) {
  void* address = find_in(kServed, name);
  return address != nullptr ? address : find_in(kRefused, name);
}

int refuse(const char* name, unsigned char* told) {
  constexpr int kNotSupported = 801;  // CUDA_ERROR_NOT_SUPPORTED
  if (__atomic_exchange_n(told, 1, __ATOMIC_RELAXED) == 0) {
    FARCALL_LOG_DEBUG("%s is not supported by the software GPU", name);
  }
  return kNotSupported;
}

}  // namespace farcall::softgpu
