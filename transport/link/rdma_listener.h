// What RdmaListener::open gives: a plugin's listener and the strangers it has let in.
//
//   Result<std::unique_ptr<RdmaListener>> listener = listen_by(plugin, address);
//
// Threads: one.
#pragma once
#include <memory>

#include "transport/link/rdma.h"
#include "transport/link/rdma_address.h"
#include "transport/link/rdma_plugin.h"

namespace farcall::link {

// Errors: kNotFound (0.0.0.0: an RDMA listener is one interface's), kSystem.
Result<std::unique_ptr<RdmaListener>> listen_by(const RdmaPlugin& plugin,
                                                const RdmaAddress& address);

}  // namespace farcall::link
