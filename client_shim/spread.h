// Spread: a program's devices dealt out over its servers, so that none of them gets more than its
// share of the program's work.
//
//   Result<link::Spread> spread = spread_from_environment();          // FARCALL_SPREAD
//   VisibleDevices visible = number_devices(known, visible, order, spread.value());
//   FARCALL_TRY(check_share(visible, {"gpu1:7717", "gpu2:7717"}, spread.value()));
//
// A program that uses its first n devices then uses ⌈n/m⌉ of any of m servers at most (while they
// have as many), and one that deals its batches out over its devices puts that share of them on any
// server. More cannot be done here: what goes to which device is the program's to choose, and a
// program with one device has all its work on one server. What really went where is counted
// (shares_of_bytes), and said at the end where it is more than was allowed.
// Owner: plain values.  Threads: any.
#pragma once
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "client_shim/visible_devices.h"
#include "transport/base/status.h"
#include "transport/link/server_list.h"

namespace farcall::shim {

// Errors: kUnsupported: FARCALL_SPREAD is none of what link::parse_spread takes.
Result<link::Spread> spread_from_environment();

// The program's numbers. With a spread: the first device of each server, then the second of each,
// and so on; `order` (as in VisibleDevices) is that of the devices of one server, and `visible`
// counts what was dealt out.
VisibleDevices number_devices(std::span<const VisibleDevices::Known> known,
                              const std::optional<std::string>& visible,
                              const std::optional<std::string>& order, const link::Spread& spread);

// servers: their names, by DevicePlace::server.
// Errors: kDenied where one server has a larger share of the visible devices than is allowed; the
// text says which, and what to do.
Status check_share(const VisibleDevices& visible, std::span<const std::string> servers,
                   const link::Spread& spread);

// Each server's part of all bytes that were sent, 0 to 1; even parts where nothing was.
std::vector<double> shares_of_bytes(std::span<const std::uint64_t> sent);

}  // namespace farcall::shim
