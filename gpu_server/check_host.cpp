#include "gpu_server/check_host.h"

#include <dlfcn.h>
#include <unistd.h>

#include <cstdio>
#include <string_view>

#include "gpu_server/kernel_text.h"

namespace farcall::server {
namespace {

using State = HostFact::State;

constexpr const char* kTpmDevice = "/dev/tpmrm0";
// UEFI's variable: four bytes of attributes, then 1 where Secure Boot is on.
constexpr const char* kSecureBoot =
    "/sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c";

// Empty when it cannot be read.
bool exists(const std::string& path) { return ::access(path.c_str(), F_OK) == 0; }

// Whether the processor's line of flags has that word.
bool has_flag(std::string_view cpuinfo, std::string_view flag) {
  const std::size_t line = cpuinfo.find("\nflags");
  if (line == cpuinfo.npos) return false;
  std::string_view flags = cpuinfo.substr(line + 1);
  flags = flags.substr(0, flags.find('\n'));
  for (std::size_t at = flags.find(flag); at != flags.npos; at = flags.find(flag, at + 1)) {
    const std::size_t end = at + flag.size();
    if (at > 0 && flags[at - 1] == ' ' && (end == flags.size() || flags[end] == ' ')) return true;
  }
  return false;
}

// nvml.h of NVIDIA, 535 and later: nvmlConfComputeSystemState_t.
struct ConfidentialState {
  unsigned environment = 0;  // 2: production
  unsigned feature = 0;      // 1: on
  unsigned devtools = 0;     // 1: on, and nothing is confidential
};

}  // namespace

HostFact look_at_tpm(const std::string& root) {
  const std::string major = kernel_text(root + "/sys/class/tpm/tpm0/tpm_version_major");
  if (!exists(root + "/sys/class/tpm/tpm0") && !exists(root + kTpmDevice)) {
    return {"tpm", State::kMissing,
            "no TPM here: nothing but this machine itself says how it was started"};
  }
  if (!major.empty() && major.front() != '2') {
    return {"tpm", State::kMissing, "a TPM 1.2, which Farcall cannot use; a 2.0 is needed"};
  }
  if (::access((root + kTpmDevice).c_str(), R_OK | W_OK) != 0) {
    return {"tpm", State::kMissing,
            std::string("a TPM 2.0, and this user may not open ") + kTpmDevice +
                ": put it into the group tss"};
  }
  return {"tpm", State::kOk,
          std::string("a TPM 2.0: with --tpm device:") + kTpmDevice +
              " certificates are renewed against its quotes"};
}

HostFact look_at_secure_boot(const std::string& root) {
  const std::string variable = kernel_text(root + kSecureBoot);
  if (variable.size() != 5) {
    return {"secure boot", State::kUnknown,
            "cannot be told: this system shows no variables of UEFI"};
  }
  if (variable.back() == 1) {
    return {"secure boot", State::kOk, "on, as this system says; a quote's PCR 7 proves it"};
  }
  return {"secure boot", State::kMissing, "off: any boot loader and kernel may be started here"};
}

HostFact look_at_guest_memory(const std::string& root) {
  const std::string cpuinfo = kernel_text(root + "/proc/cpuinfo");
  const bool is_snp = exists(root + "/dev/sev-guest") || has_flag(cpuinfo, "sev_snp_guest");
  const bool is_tdx = exists(root + "/dev/tdx_guest") || has_flag(cpuinfo, "tdx_guest");
  if (is_snp || is_tdx) {
    return {"guest memory", State::kOk,
            std::string(is_snp ? "this is a guest of SEV-SNP" : "this is a guest of TDX") +
                ", as it says itself: Farcall checks no report of it"};
  }
  std::string meaning = "not encrypted against who runs this hardware (no SEV-SNP or TDX guest)";
  if (has_flag(cpuinfo, "sev_snp")) meaning += "; the processor could run SEV-SNP guests";
  if (has_flag(cpuinfo, "tdx_host_platform")) meaning += "; the processor could run TDX guests";
  return {"guest memory", State::kMissing, meaning};
}

HostFact look_at_gpu_memory() {
  HostFact fact{"gpu memory", State::kUnknown, "cannot be told: NVIDIA's driver is not here"};
  if (!exists("/dev/nvidiactl")) return fact;
  void* library = ::dlopen("libnvidia-ml.so.1", RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) {
    fact.meaning = "cannot be told: libnvidia-ml.so.1 is not here";
    return fact;
  }
  const auto start = reinterpret_cast<int (*)()>(::dlsym(library, "nvmlInit_v2"));
  const auto end = reinterpret_cast<int (*)()>(::dlsym(library, "nvmlShutdown"));
  const auto ask = reinterpret_cast<int (*)(ConfidentialState*)>(
      ::dlsym(library, "nvmlSystemGetConfComputeState"));
  ConfidentialState state;
  fact.meaning = "cannot be told: this driver does not say whether it computes confidentially";
  if (start != nullptr && end != nullptr && ask != nullptr && start() == 0) {
    if (ask(&state) == 0) {
      const bool is_on = state.feature == 1 && state.environment == 2 && state.devtools == 0;
      fact.state = is_on ? State::kOk : State::kMissing;
      fact.meaning = is_on ? "confidential computing is on, as the driver says: Farcall checks no "
                             "report of it"
                           : "confidential computing is off: this machine's root can read what is "
                             "in a GPU's memory";
    }
    end();
  }
  ::dlclose(library);
  return fact;
}

void print_host() {
  for (const HostFact& fact :
       {look_at_tpm(""), look_at_secure_boot(""), look_at_guest_memory(""), look_at_gpu_memory()}) {
    const char* state = fact.state == State::kOk        ? "ok     "
                        : fact.state == State::kMissing ? "missing"
                                                        : "unknown";
    std::printf("%-12s %s  %s\n", fact.what.c_str(), state, fact.meaning.c_str());
  }
}

}  // namespace farcall::server
