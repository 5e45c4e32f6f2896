// The RDMA carrier: a plugin's pipe with the waiting of every other carrier.
//
//   std::unique_ptr<Carrier> lane = make_rdma_carrier(plugin, pipe, control_fd, "10.0.0.2:41234");
//
// Owner of the pipe.  Threads: as carrier.h says.
#pragma once
#include <memory>
#include <span>
#include <string>

#include "transport/link/carrier.h"
#include "transport/link/hello.h"
#include "transport/link/rdma_address.h"
#include "transport/link/rdma_plugin.h"

namespace farcall::link {

std::unique_ptr<Carrier> make_rdma_carrier(const RdmaPlugin& plugin, FarcallUcxPipe* pipe,
                                           int watch_fd, const std::string& peer);

// Connects, and returns when the hello has left.  Errors: kTimeout, kClosed, kSystem.
Result<std::unique_ptr<Carrier>> connect_by(const RdmaPlugin& plugin, const RdmaAddress& peer,
                                            std::span<const std::byte, kLaneHelloBytes> hello,
                                            int watch_fd, Deadline deadline);

}  // namespace farcall::link
