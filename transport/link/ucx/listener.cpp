#include "transport/link/ucx/listener.h"

#include <netinet/in.h>

#include <cstring>

#include "transport/link/ucx/context.h"

namespace farcall::ucx {

Listener* Listener::make(ucp_context_h context, const sockaddr* address, socklen_t address_bytes,
                         FarcallUcxError* error) {
  SignalsBlocked quiet;
  auto* made = new Listener;
  made->context_ = context;
  made->worker_ = make_worker(context, error);
  if (made->worker_ != nullptr) {
    made->fd_ = worker_fd(made->worker_);
    ucp_listener_params_t params{};
    params.field_mask = UCP_LISTENER_PARAM_FIELD_SOCK_ADDR | UCP_LISTENER_PARAM_FIELD_CONN_HANDLER;
    params.sockaddr = {address, address_bytes};
    params.conn_handler = {on_request, made};
    const ucs_status_t status = ucp_listener_create(made->worker_, &params, &made->listener_);
    ucp_listener_attr_t attr{};
    attr.field_mask = UCP_LISTENER_ATTR_FIELD_SOCKADDR;
    if (status == UCS_OK && ucp_listener_query(made->listener_, &attr) == UCS_OK) {
      // The port stands at the same place for both families.
      made->port_ = ntohs(reinterpret_cast<const sockaddr_in&>(attr.sockaddr).sin_port);
      return made;
    }
    if (status != UCS_OK) made->listener_ = nullptr;
    set_error(error, "listen by RDMA (does an RDMA device have this address?)", status);
  }
  delete made;
  return nullptr;
}

Listener::~Listener() {
  SignalsBlocked quiet;
  for (ucp_conn_request_h request : asking_) ucp_listener_reject(listener_, request);
  if (listener_ != nullptr) ucp_listener_destroy(listener_);
  if (worker_ != nullptr) ucp_worker_destroy(worker_);
}

void Listener::on_request(ucp_conn_request_h request, void* self) {
  auto& listener = *static_cast<Listener*>(self);
  if (listener.asking_.size() < limits::kRdmaStrangersMax) {
    listener.asking_.push_back(request);
  } else {
    ucp_listener_reject(listener.listener_, request);
  }
}

Pipe* Listener::take(FarcallUcxError* error) {
  error->code = 0;
  while (ucp_worker_progress(worker_) != 0) {
  }
  if (asking_.empty()) return nullptr;
  ucp_ep_params_t from{};
  from.field_mask = UCP_EP_PARAM_FIELD_CONN_REQUEST;
  from.conn_request = asking_.front();
  asking_.pop_front();
  return Pipe::make(context_, from, error);
}

bool Listener::may_sleep() { return asking_.empty() && arm(worker_) && asking_.empty(); }

}  // namespace farcall::ucx
