// RDMA lanes, as the rest of link/ sees them: found, listened for, dialled. What moves the bytes is
// a plugin that is loaded only when an RDMA link is chosen, because merely loading UCX installs
// signal handlers and patches mmap in its process.
//
//   worker:  Result<std::unique_ptr<RdmaListener>> listener = RdmaListener::open("10.0.0.2");
//            Result<RdmaLane> lane = listener.value()->accept(deadline);
//   client:  Result<std::unique_ptr<Carrier>> lane =
//                connect_rdma(place, hello, control_fd, deadline);
//
// Threads: rdma_available and connect_rdma any; a listener one.
#pragma once
#include <array>
#include <cstddef>
#include <memory>
#include <span>
#include <string>

#include "transport/base/clock.h"
#include "transport/base/status.h"
#include "transport/link/carrier.h"
#include "transport/link/hello.h"

namespace farcall::link {

// ok when an RDMA link could be tried here: the plugin's file is found and there is a verbs device.
// Looks at files only; loads and starts nothing.  Errors: kUnsupported, with what is missing.
Status rdma_available();

// A connection whose first message, its lane's hello, has arrived. The hello is unchecked.
struct RdmaLane {
  std::array<std::byte, kLaneHelloBytes> hello{};
  std::unique_ptr<Carrier> carrier;
};

class RdmaListener {
 public:
  // address: host or IP of an RDMA interface, with ":port" or without (the kernel chooses then).
  // Loads the plugin.  Errors: kUnsupported (no plugin, no device), kNotFound (no such
  // address), kSystem.
  static Result<std::unique_ptr<RdmaListener>> open(const std::string& address);
  virtual ~RdmaListener() = default;             // stops listening; lanes already accepted live on
  virtual const std::string& place() const = 0;  // "10.0.0.2:41234", ≤ kPlaceBytesMax
  // A stranger that connects and says nothing holds nobody up.
  // Errors: kTimeout, kClosed, kSystem.
  virtual Result<RdmaLane> accept(Deadline deadline) = 0;
};

// Loads the plugin.
//   hello     sent as the connection's first message
//   watch_fd  as for make_socket_carrier
// Errors: kUnsupported, kTimeout, kClosed, kSystem.
Result<std::unique_ptr<Carrier>> connect_rdma(const std::string& place,
                                              std::span<const std::byte, kLaneHelloBytes> hello,
                                              int watch_fd, Deadline deadline);

}  // namespace farcall::link
