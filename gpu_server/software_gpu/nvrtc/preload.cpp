// libfarcall_nvrtc.so: asks NVRTC to leave the PTX in the machine code that it makes.
//
//   LD_PRELOAD=<build>/lib/software_gpu/libfarcall_nvrtc.so:…/libcuda.so.1 ./program
//
// Many programs ask NVRTC for machine code of the very device (`--gpu-architecture=sm_90`), which a
// software GPU cannot run. With --generate-line-info the same machine code carries the PTX that it
// was made of, and module_image.cpp finds it there. NVRTC takes no options from the environment, so
// this stands in front of it and adds that one, nothing else. It is loaded by `farcall check` and
// by `farcall demo`, where the device is known to be a software GPU; on any other it would be of no
// use.
//
// Only a program that is linked with NVRTC comes by here, not one that looks its functions up in a
// handle of its own (dlopen, dlsym).  Threads: any; no state.
// Source: NVRTC 13.0, nvrtcCompileProgram.
#include <dlfcn.h>

#include <cstring>
#include <span>
#include <vector>

namespace {

constexpr int kInternalError = 11;  // NVRTC_ERROR_INTERNAL_ERROR; nvrtc.h is not always installed
constexpr const char* kKeepPtx = "--generate-line-info";

using Compile = int (*)(void* program, int option_count, const char* const* options);

bool begins_with(const char* text, const char* start) {
  return text != nullptr && std::strncmp(text, start, std::strlen(start)) == 0;
}

// Whether machine code is wanted: sm_90, not compute_90. "-arch sm_90" may be two options.
bool wants_machine_code(std::span<const char* const> options) {
  for (const char* option : options) {
    if (begins_with(option, "sm_")) return true;
    if (begins_with(option, "--gpu-architecture=sm_") || begins_with(option, "-arch=sm_")) {
      return true;
    }
  }
  return false;
}

}  // namespace

extern "C" __attribute__((visibility("default"))) int nvrtcCompileProgram(
    void* program, int option_count, const char* const* options) {
  static const auto next = reinterpret_cast<Compile>(::dlsym(RTLD_NEXT, "nvrtcCompileProgram"));
  if (next == nullptr) return kInternalError;
  if (option_count <= 0 || options == nullptr) return next(program, option_count, options);
  const std::span<const char* const> asked(options, static_cast<std::size_t>(option_count));
  if (!wants_machine_code(asked)) return next(program, option_count, options);
  std::vector<const char*> with_ptx(asked.begin(), asked.end());
  with_ptx.push_back(kKeepPtx);
  return next(program, option_count + 1, with_ptx.data());
}
