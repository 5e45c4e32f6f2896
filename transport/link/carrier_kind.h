// CarrierKind: the kinds of pipe a session's lanes can run over, and sets of them.
//
//   Result<CarrierSet> offered = parse_carriers("tcp,shm");
//   std::optional<CarrierKind> chosen = best_carrier(offered.value() & hello.carriers);
//
// The numbers are on the wire (hello.h).  Threads: plain values.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "transport/base/status.h"

namespace farcall::link {

enum class CarrierKind : std::uint8_t {
  kTcp = 0,
  kShm = 1,   // a ring in memory shared by two processes of one host
  kRdma = 2,  // verbs, through the plugin (rdma.h)
};
inline constexpr std::uint8_t kCarrierKinds = 3;

using CarrierSet = std::uint16_t;  // bit = kind
constexpr CarrierSet only(CarrierKind kind) {
  return static_cast<CarrierSet>(1u << static_cast<unsigned>(kind));
}
inline constexpr CarrierSet kAllCarriers = (1u << kCarrierKinds) - 1;

constexpr bool has(CarrierSet set, CarrierKind kind) { return (set & only(kind)) != 0; }
constexpr CarrierSet without(CarrierSet set, CarrierKind kind) {
  return static_cast<CarrierSet>(set & ~only(kind));
}

// The fastest of a set: shm, then rdma, then tcp. Nothing of an empty one.
std::optional<CarrierKind> best_carrier(CarrierSet set);

const char* name_of(CarrierKind kind);  // "tcp", "shm", "rdma"
std::string names_of(CarrierSet set);   // "tcp, shm"; "none"
std::optional<CarrierKind> carrier_named(std::string_view name);
// "tcp,shm".  Errors: kUnsupported, naming the unknown word and the known ones; empty text.
Result<CarrierSet> parse_carriers(std::string_view text);

}  // namespace farcall::link
