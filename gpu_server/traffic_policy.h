// TrafficPolicy: how a server has its sessions' records sealed at least, by what they carry; from
// the file of `farcall-server --traffic`, and from a session's lease.
//
//   Result<TrafficPolicy> policy = load_traffic("/etc/farcall/traffic.toml");
//   offer.floors = stricter(hello.floors, floors_of(policy.value(), lease.token()));
//
//   [activations]                  # control, parameters, activations, bulk
//   cipher = "aes-128-gcm"         # at least; left out: aes-256-gcm, and there is nothing stronger
//   rekey = "16GiB"                # at most under one key: 16MiB … 64GiB, a power of two, or the
//                                  # next below
//
// A lane is sealed as the strictest of what it carries. Control is the lane of calls: launches,
// answers, copies up to 32 KiB. The other three share the lane of payloads: a copy has an address
// and a length, and nothing says whether it is weights, activations or a batch; a guess by how
// often memory is read would come after the bytes have left. They are told apart in the file, so
// that it says what is meant; the strictest of them holds for all.
// A weaker cipher takes all who have a say: this file, the lease (its cipher floor, and a data
// class below confidential), and the client. Without leases the file and the client. Threads: plain
// values.
#pragma once
#include <array>
#include <cstdint>
#include <string>
#include <string_view>

#include "security/lease_token.h"
#include "transport/base/status.h"
#include "transport/link/cipher.h"

namespace farcall::server {

enum class Traffic : std::uint8_t { kControl, kParameters, kActivations, kBulk, kEnd_ };
inline constexpr std::size_t kTraffics = static_cast<std::size_t>(Traffic::kEnd_);
std::string_view name_of(Traffic traffic);  // "control"; as in the file

struct TrafficPolicy {
  std::array<link::LaneFloor, kTraffics> least{};
  const link::LaneFloor& operator[](Traffic what) const {
    return least[static_cast<std::size_t>(what)];
  }
};

// token: of the session's lease; may be null.
link::LaneFloors floors_of(const TrafficPolicy& policy, const security::LeaseToken* token);

// Errors: kSystem; kUnsupported with path, line and what is wrong.
Result<TrafficPolicy> load_traffic(const std::string& path);
// name: for errors.
Result<TrafficPolicy> parse_traffic(std::string_view text, const std::string& name);

}  // namespace farcall::server
