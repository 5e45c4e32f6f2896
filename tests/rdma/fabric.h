// What the tests of the RDMA carrier run over: verbs where FARCALL_TEST_RDMA names the address of
// an RDMA interface (as in the emulated guest), else UCX's own TCP, which only a test may use.
//
//   Ends ends = joined();  ends.a->tx_reserve(…);
//
// Threads: one.
#pragma once
#include <doctest/doctest.h>

#include <cstdlib>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "transport/base/clock.h"
#include "transport/link/rdma.h"
#include "transport/link/rdma_address.h"
#include "transport/link/rdma_carrier.h"
#include "transport/link/rdma_listener.h"
#include "transport/link/rdma_plugin.h"

namespace farcall::link {

inline Deadline soon() { return Deadline::after(system_clock(), 20'000); }

inline const char* verbs_address() { return std::getenv("FARCALL_TEST_RDMA"); }

inline RdmaPlugin plugin() {
  static constexpr FarcallUcxSetting kTcp[] = {{"TLS", "tcp"},
                                               {"NET_DEVICES", "lo"},
                                               {"SOCKADDR_TLS_PRIORITY", "tcp"},
                                               {"RNDV_THRESH", "inf"},
                                               {"ZCOPY_THRESH", "inf"}};
  Result<RdmaPlugin> loaded = RdmaPlugin::load(
      verbs_address() != nullptr ? RdmaPlugin::settings_for_rdma() : std::span(kTcp));
  INFO(loaded.status().to_string());
  REQUIRE(loaded.ok());
  return loaded.value();
}

inline std::unique_ptr<RdmaListener> listener() {
  Result<RdmaAddress> address =
      RdmaAddress::parse(verbs_address() != nullptr ? verbs_address() : "127.0.0.1");
  REQUIRE(address.ok());
  Result<std::unique_ptr<RdmaListener>> listening = listen_by(plugin(), address.value());
  INFO(listening.status().to_string());
  REQUIRE(listening.ok());
  return std::move(listening).value();
}

using Hello = std::array<std::byte, kLaneHelloBytes>;

struct Ends {
  std::unique_ptr<Carrier> a;  // connected
  std::unique_ptr<Carrier> b;  // was accepted
  Hello hello;                 // as it arrived
};

inline Ends join(RdmaListener& listening, const Hello& hello) {
  Ends ends;
  Result<RdmaLane> accepted = Status(Code::kTimeout, "");
  std::thread accepting([&] { accepted = listening.accept(soon()); });
  Result<std::unique_ptr<Carrier>> connected =
      connect_by(plugin(), RdmaAddress::parse(listening.place()).value(), hello, -1, soon());
  accepting.join();
  INFO(connected.status().to_string(), " / ", accepted.status().to_string());
  REQUIRE(connected.ok());
  REQUIRE(accepted.ok());
  ends.a = std::move(connected).value();
  ends.b = std::move(accepted.value().carrier);
  ends.hello = accepted.value().hello;
  return ends;
}

inline Ends joined() {
  std::unique_ptr<RdmaListener> listening = listener();
  return join(*listening, Hello{});
}

}  // namespace farcall::link
