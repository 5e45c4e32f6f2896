// Listener: lets RDMA connections in, each as a Pipe of its own.
//
//   Listener* listener = Listener::make(context, address, address_bytes, &error);
//   Pipe* pipe = listener->take(&error);
//
// A connection that was not taken costs no queue and no memory but its request; of those at most
// kRdmaStrangersMax wait, further ones are refused.  Threads: one at a time.
#pragma once
#include <ucp/api/ucp.h>

#include <deque>

#include "transport/link/ucx/pipe.h"
#include "transport/link/ucx/plugin.h"

namespace farcall::ucx {

class Listener {
 public:
  static Listener* make(ucp_context_h context, const sockaddr* address, socklen_t address_bytes,
                        FarcallUcxError* error);
  ~Listener();

  unsigned short port() const { return port_; }
  Pipe* take(FarcallUcxError* error);
  bool may_sleep();
  int fd() const { return fd_; }

 private:
  Listener() = default;
  static void on_request(ucp_conn_request_h request, void* self);

  ucp_context_h context_ = nullptr;
  ucp_worker_h worker_ = nullptr;
  ucp_listener_h listener_ = nullptr;
  std::deque<ucp_conn_request_h> asking_;
  unsigned short port_ = 0;
  int fd_ = -1;
};

}  // namespace farcall::ucx
