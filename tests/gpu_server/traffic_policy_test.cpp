// What records are sealed with at least, by a server's file and a lease.
#include "gpu_server/traffic_policy.h"

#include <doctest/doctest.h>

namespace farcall::server {
namespace {

using link::Cipher;
using link::LaneFloor;
constexpr std::uint8_t kMost = limits::kRekeyLog2Max;

TrafficPolicy policy_of(std::string_view text) {
  Result<TrafficPolicy> policy = parse_traffic(text, "x.toml");
  REQUIRE_MESSAGE(policy.ok(), policy.status().text());
  return policy.value();
}

TEST_CASE("without a file everything is sealed with the strongest") {
  CHECK(floors_of(TrafficPolicy{}, nullptr) == link::LaneFloors{});
  CHECK(floors_of(policy_of(""), nullptr) == link::LaneFloors{});
}

TEST_CASE("a lane is sealed as the strictest of what it carries") {
  const TrafficPolicy mixed = policy_of(R"(
[control]
cipher = "aes-128-gcm"
[activations]
cipher = "aes-128-gcm"
rekey = "1GiB"
[bulk]
cipher = "aes-128-gcm"
rekey = "3GiB"
)");
  CHECK(mixed[Traffic::kBulk].rekey_log2 == 31);  // the next power of two below
  // Parameters are not in the file.
  CHECK(floors_of(mixed, nullptr) ==
        link::LaneFloors{LaneFloor{Cipher::kAes128Gcm, kMost}, LaneFloor{Cipher::kAes256Gcm, 30}});
}

TEST_CASE("a lease with its floor and its class of data has a say, and only to be stricter") {
  const TrafficPolicy loose = policy_of(
      "control.cipher = 'aes-128-gcm'\nparameters.cipher = 'aes-128-gcm'\n"
      "activations.cipher = 'aes-128-gcm'\nbulk.cipher = 'aes-128-gcm'\n");
  const LaneFloor weak{Cipher::kAes128Gcm, kMost};
  CHECK(floors_of(loose, nullptr) == link::LaneFloors{weak, weak});
  for (const auto floor : {security::CipherFloor::kAes128Gcm, security::CipherFloor::kAes256Gcm}) {
    for (const auto data : {security::DataClass::kPublic, security::DataClass::kInternal,
                            security::DataClass::kConfidential, security::DataClass::kRestricted}) {
      security::LeaseToken token;
      token.cipher_floor = floor;
      token.data_class = data;
      const bool may_be_weak =
          floor == security::CipherFloor::kAes128Gcm && data < security::DataClass::kConfidential;
      CHECK(floors_of(loose, &token) ==
            (may_be_weak ? link::LaneFloors{weak, weak} : link::LaneFloors{}));
      CHECK(floors_of(TrafficPolicy{}, &token) == link::LaneFloors{});
    }
  }
}

TEST_CASE("a file with a mistake is refused, with its line") {
  const std::pair<const char*, const char*> wrong[] = {
      {"[weights]\ncipher = 'aes-256-gcm'", "line 1: there are [control]"},
      {"bulk = 3", "line 1: there are [control]"},
      {"[bulk]\ncipher = 'none'", "line 2: cipher is"},
      {"[bulk]\ncipher = 128", "line 2: cipher is"},
      {"[bulk]\nrekey = '1MiB'", "line 2: rekey is a size"},
      {"[bulk]\nrekey = '128GiB'", "line 2: rekey is a size"},
      {"[bulk]\nrekey = '0'", "line 2: rekey is a size"},
      {"[bulk]\nciper = 'aes-256-gcm'", "no 'ciper'"},
      {"[bulk", "x.toml line 1"},
  };
  for (const auto& [text, what] : wrong) {
    const Status said = parse_traffic(text, "x.toml").status();
    CHECK_MESSAGE(said.text().find(what) != std::string::npos, said.text());
  }
  CHECK_FALSE(load_traffic("/nowhere/at/all").ok());
}

}  // namespace
}  // namespace farcall::server
