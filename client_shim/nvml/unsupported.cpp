// The functions that there are by name only: so that a program that links them, or looks for all of
// them before it uses any, starts, and is told the truth when it calls one.
#include "client_shim/nvml/library.h"
#include "transport/base/log.h"

namespace {

nvmlReturn_t unsupported(const char* name) {
  return farcall::nvml::answer([&](const farcall::nvml::Look&) {
    FARCALL_LOG_DEBUG("%s is not supported", name);
    return NVML_ERROR_NOT_SUPPORTED;
  });
}

}  // namespace

// Without their arguments, which nobody looks at: on this ABI the caller takes them away again.
#define UNSUPPORTED(name) \
  NVML_EXPORT nvmlReturn_t name() { return unsupported(#name); }
#include "client_shim/nvml/unsupported.def"
#undef UNSUPPORTED
