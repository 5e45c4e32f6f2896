// Which handler runs a decoded instruction, per instruction set.
#include <unordered_map>

#include "gpu_server/software_gpu/exec/isa/fill.h"
#include "gpu_server/software_gpu/exec/runtime.h"

FARCALL_HANDLER_LISTS(baseline)
#if defined(FARCALL_ISA_AVX2)
FARCALL_HANDLER_LISTS(avx2)
#endif
#if defined(FARCALL_ISA_AVX512)
FARCALL_HANDLER_LISTS(avx512)
#endif

namespace farcall::softgpu {
namespace {

using Table = std::unordered_map<std::uint32_t, HandlerEntry>;

void add(Table& table, HandlerList list) {
  for (std::size_t k = 0; k < list.count; ++k) table[list.entries[k].key] = list.entries[k];
}

#define FARCALL_ADD_ISA(table, isa)        \
  add(table, isa::integer_handlers());     \
  add(table, isa::float_handlers());       \
  add(table, isa::compare_handlers());     \
  add(table, isa::convert_handlers());     \
  add(table, isa::access_handlers());      \
  add(table, isa::exchange_handlers());    \
  add(table, isa::matrix_move_handlers()); \
  add(table, isa::async_copy_handlers())

Table make_table(Isa isa) {
  Table table;
  for (HandlerList list :
       {control_handlers(), warp_handlers(), atomic_handlers(), scalar_handlers(),
        function_handlers(), half_handlers(), library_handlers(), image_handlers(),
        matrix_handlers(), mbarrier_handlers(), cluster_handlers()}) {
    add(table, list);
  }
  switch (isa) {
#if defined(FARCALL_ISA_AVX2)
    case Isa::kAvx2: FARCALL_ADD_ISA(table, avx2); break;
#endif
#if defined(FARCALL_ISA_AVX512)
    case Isa::kAvx512: FARCALL_ADD_ISA(table, avx512); break;
#endif
    default: FARCALL_ADD_ISA(table, baseline); break;
  }
  return table;
}

// Leaked on purpose: streams may still run while a host process destroys its statics.
const Table& table_of(Isa isa) {
  static const Table* const baseline = new Table(make_table(Isa::kBaseline));
  static const Table* const avx2 = new Table(make_table(Isa::kAvx2));
  static const Table* const avx512 = new Table(make_table(Isa::kAvx512));
  return isa == Isa::kAvx512 ? *avx512 : isa == Isa::kAvx2 ? *avx2 : *baseline;
}

}  // namespace

const HandlerEntry* find_handler(Isa isa, std::uint32_t key) {
  const Table& table = table_of(isa);
  const auto found = table.find(key);
  return found == table.end() ? nullptr : &found->second;
}

#if defined(FARCALL_ISA_AVX2)
#  define FARCALL_IF_AVX2(x) \
    if (isa == Isa::kAvx2) return avx2::x
#else
#  define FARCALL_IF_AVX2(x) static_cast<void>(isa)
#endif
#if defined(FARCALL_ISA_AVX512)
#  define FARCALL_IF_AVX512(x) \
    if (isa == Isa::kAvx512) return avx512::x
#else
#  define FARCALL_IF_AVX512(x) static_cast<void>(isa)
#endif

const MatrixMath& matrix_math(Isa isa) {
  FARCALL_IF_AVX512(matrix_math());
  FARCALL_IF_AVX2(matrix_math());
  return baseline::matrix_math();
}

const TexelMath& texel_math(Isa isa) {
  FARCALL_IF_AVX512(texel_math());
  FARCALL_IF_AVX2(texel_math());
  return baseline::texel_math();
}

Isa best_isa(Isa wanted) {
  Isa best = Isa::kBaseline;
#if defined(FARCALL_ISA_AVX2)
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
      __builtin_cpu_supports("bmi2")) {
    best = Isa::kAvx2;
  }
#endif
#if defined(FARCALL_ISA_AVX512)
  if (best == Isa::kAvx2 && __builtin_cpu_supports("avx512f") &&
      __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
      __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512cd")) {
    best = Isa::kAvx512;
  }
#endif
  return wanted == Isa::kBest || wanted > best ? best : wanted;
}

const Ins* FunctionBody::bound(Isa isa) const {
  const auto k = static_cast<std::size_t>(isa);
  if (const Ins* ready = ready_[k].load(std::memory_order_acquire)) return ready;
  std::call_once(once_[k], [&] {
    bound_[k] = code;
    for (std::size_t n = 0; n < code.size(); ++n) {
      const HandlerEntry* entry = find_handler(isa, keys[n]);
      bound_[k][n].full = entry->full;
      bound_[k][n].part = entry->part;
    }
    ready_[k].store(bound_[k].data(), std::memory_order_release);
  });
  return bound_[k].data();
}

}  // namespace farcall::softgpu
