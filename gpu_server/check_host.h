// What this machine's hardware can vouch for: a TPM, Secure Boot, memory that is encrypted against
// who runs the hardware. Reported, not required, and only what can be known: that a device is there
// says nothing of whether the software that reads it is what it should be.
//
//   print_host();                         // lines of farcall-server --check
//
// Threads: any.
#pragma once
#include <string>
#include <vector>

namespace farcall::server {

struct HostFact {
  enum class State { kOk, kMissing, kUnknown };
  std::string what;  // at most 12 characters
  State state = State::kUnknown;
  std::string meaning;  // what it means, or what to do
};

// root: a folder with sys, dev and proc in it; "" for this machine's
HostFact look_at_tpm(const std::string& root);
HostFact look_at_secure_boot(const std::string& root);
HostFact look_at_guest_memory(const std::string& root);
// As NVIDIA's own library says.
HostFact look_at_gpu_memory();

// All of them, to standard output.
void print_host();

}  // namespace farcall::server
