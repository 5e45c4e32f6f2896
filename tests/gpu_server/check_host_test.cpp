// What a machine's hardware can vouch for, by the files that its kernel shows.
#include "gpu_server/check_host.h"

#include <doctest/doctest.h>

#include <filesystem>
#include <fstream>

#include "tests/support/temporary_folder.h"

namespace farcall::server {
namespace {

using State = HostFact::State;

// A folder with the files of a machine.
class Machine {
 public:
  void put(const std::string& path, const std::string& text) const {
    const std::filesystem::path whole = root + path;
    std::filesystem::create_directories(whole.parent_path());
    std::ofstream(whole) << text;
  }
  const testing::TemporaryFolder folder;
  const std::string& root = folder.path();
};

}  // namespace

TEST_CASE("a TPM is told with what can be done with it") {
  const Machine machine;
  CHECK(look_at_tpm(machine.root).state == State::kMissing);
  machine.put("/sys/class/tpm/tpm0/tpm_version_major", "2\n");
  CHECK(look_at_tpm(machine.root).meaning.find("group tss") != std::string::npos);
  machine.put("/dev/tpmrm0", "");
  CHECK(look_at_tpm(machine.root).state == State::kOk);
  machine.put("/sys/class/tpm/tpm0/tpm_version_major", "1\n");
  CHECK(look_at_tpm(machine.root).state == State::kMissing);
}

TEST_CASE("Secure Boot is on, off, or cannot be told") {
  const std::string name =
      "/sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c";
  const Machine machine;
  CHECK(look_at_secure_boot(machine.root).state == State::kUnknown);
  machine.put(name, std::string("\6\0\0\0\1", 5));
  CHECK(look_at_secure_boot(machine.root).state == State::kOk);
  machine.put(name, std::string("\6\0\0\0\0", 5));
  CHECK(look_at_secure_boot(machine.root).state == State::kMissing);
}

TEST_CASE("a guest with encrypted memory is told from a host that could have some") {
  const Machine machine;
  machine.put("/proc/cpuinfo", "processor\t: 0\nflags\t\t: fpu sev sev_es sev_snp\nbugs\t\t:\n");
  HostFact fact = look_at_guest_memory(machine.root);
  CHECK(fact.state == State::kMissing);
  CHECK(fact.meaning.find("could run SEV-SNP") != std::string::npos);
  CHECK(fact.meaning.find("TDX guests") == std::string::npos);
  machine.put("/proc/cpuinfo", "processor\t: 0\nflags\t\t: fpu not_tdx_guest tdx_guest\n");
  fact = look_at_guest_memory(machine.root);
  CHECK(fact.state == State::kOk);
  CHECK(fact.meaning.find("TDX") != std::string::npos);
}

}  // namespace farcall::server
