#include "client_shim/jit_options.h"

#include <algorithm>
#include <cstring>

#include "transport/api/hand.h"
#include "transport/api/jit_options.h"

namespace farcall::shim {
namespace {

std::uint64_t number(const void* value) { return reinterpret_cast<std::uintptr_t>(value); }

void give_log(wire::Reader& in, const JitOptions::Log& log) {
  auto text = in.bytes(in.get<std::uint32_t>());
  if (log.at == nullptr || log.bytes == 0) return;
  std::size_t bytes = std::min(text.size(), log.bytes - 1);
  if (bytes != 0) std::memcpy(log.at, text.data(), bytes);
  log.at[bytes] = 0;
  if (log.size_slot != nullptr) {
    *log.size_slot = reinterpret_cast<void*>(static_cast<std::uintptr_t>(bytes + 1));
  }
}

}  // namespace

CUresult JitOptions::read(unsigned count, const CUjit_option* options, void** values,
                          JitOptions* out) {
  if (count != 0 && (options == nullptr || values == nullptr)) return CUDA_ERROR_INVALID_VALUE;
  if (count > api::hand::kLoadOptionsMax) return CUDA_ERROR_INVALID_VALUE;
  for (unsigned i = 0; i < count; ++i) {
    switch (options[i]) {
      case CU_JIT_WALL_TIME: break;  // an output we leave as it is
      case CU_JIT_INFO_LOG_BUFFER: out->info.at = static_cast<char*>(values[i]); break;
      case CU_JIT_ERROR_LOG_BUFFER: out->error.at = static_cast<char*>(values[i]); break;
      case CU_JIT_INFO_LOG_BUFFER_SIZE_BYTES:
        out->info.bytes = number(values[i]);
        out->info.size_slot = &values[i];
        out->plain.push_back({static_cast<std::uint32_t>(options[i]), number(values[i])});
        break;
      case CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES:
        out->error.bytes = number(values[i]);
        out->error.size_slot = &values[i];
        out->plain.push_back({static_cast<std::uint32_t>(options[i]), number(values[i])});
        break;
      default:
        if (!api::is_plain_jit_option(options[i])) return CUDA_ERROR_NOT_SUPPORTED;
        out->plain.push_back({static_cast<std::uint32_t>(options[i]), number(values[i])});
    }
  }
  return CUDA_SUCCESS;
}

void JitOptions::put(wire::Writer& out) const {
  for (const Plain& one : plain) out.put(api::hand::LoadOption{one.option, 0, one.value});
}

void take_logs(wire::Reader& in, const JitOptions& jit) {
  give_log(in, jit.info);
  give_log(in, jit.error);
}

}  // namespace farcall::shim
