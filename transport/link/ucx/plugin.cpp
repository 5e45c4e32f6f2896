// What libfarcall_ucx.so exports: the table of plugin.h, each entry one call.
#include "transport/link/ucx/plugin.h"

#include "transport/link/hello.h"
#include "transport/link/ucx/context.h"
#include "transport/link/ucx/listener.h"
#include "transport/link/ucx/pipe.h"

namespace farcall::ucx {
namespace {

static_assert(kFarcallUcxHelloBytes == link::kLaneHelloBytes);

Pipe* own(FarcallUcxPipe* pipe) { return reinterpret_cast<Pipe*>(pipe); }
const Pipe* own(const FarcallUcxPipe* pipe) { return reinterpret_cast<const Pipe*>(pipe); }
Listener* own(FarcallUcxListener* listener) { return reinterpret_cast<Listener*>(listener); }
const Listener* own(const FarcallUcxListener* listener) {
  return reinterpret_cast<const Listener*>(listener);
}
ucp_context_h own(FarcallUcxContext* context) { return reinterpret_cast<ucp_context_h>(context); }

FarcallUcxContext* open(const FarcallUcxSetting* settings, std::size_t count,
                        FarcallUcxError* error) {
  SignalsBlocked quiet;
  return reinterpret_cast<FarcallUcxContext*>(open_context(settings, count, error));
}

FarcallUcxListener* listen(FarcallUcxContext* context, const sockaddr* address,
                           socklen_t address_bytes, FarcallUcxError* error) {
  return reinterpret_cast<FarcallUcxListener*>(
      Listener::make(own(context), address, address_bytes, error));
}

FarcallUcxPipe* connect(FarcallUcxContext* context, const sockaddr* address,
                        socklen_t address_bytes, const void* hello, FarcallUcxError* error) {
  ucp_ep_params_t to{};
  to.field_mask = UCP_EP_PARAM_FIELD_SOCK_ADDR | UCP_EP_PARAM_FIELD_FLAGS;
  to.flags = UCP_EP_PARAMS_FLAGS_CLIENT_SERVER;
  to.sockaddr = {address, address_bytes};
  Pipe* pipe = Pipe::make(own(context), to, error);
  if (pipe != nullptr) pipe->say_hello(hello);
  return reinterpret_cast<FarcallUcxPipe*>(pipe);
}

const FarcallUcxPlugin kPlugin = {
    .open = open,
    .listen = listen,
    .listener_port = [](const FarcallUcxListener* listener) { return own(listener)->port(); },
    .take =
        [](FarcallUcxListener* listener, FarcallUcxError* error) {
          return reinterpret_cast<FarcallUcxPipe*>(own(listener)->take(error));
        },
    .listener_may_sleep = [](FarcallUcxListener* listener) { return own(listener)->may_sleep(); },
    .listener_fd = [](const FarcallUcxListener* listener) { return own(listener)->fd(); },
    .unlisten = [](FarcallUcxListener* listener) { delete own(listener); },
    .connect = connect,
    .connected = [](FarcallUcxPipe* pipe,
                    FarcallUcxError* error) { return own(pipe)->connected(error); },
    .hello = [](FarcallUcxPipe* pipe, FarcallUcxError* error) { return own(pipe)->hello(error); },
    .reserve = [](FarcallUcxPipe* pipe, std::size_t bytes,
                  FarcallUcxError* error) { return own(pipe)->reserve(bytes, error); },
    .commit = [](FarcallUcxPipe* pipe, std::size_t bytes,
                 FarcallUcxError* error) { return own(pipe)->commit(bytes, error); },
    .left = [](FarcallUcxPipe* pipe, FarcallUcxError* error) { return own(pipe)->left(error); },
    .can_send = [](FarcallUcxPipe* pipe) { return own(pipe)->can_send(); },
    .peek = [](FarcallUcxPipe* pipe, FarcallUcxRecord* record,
               FarcallUcxError* error) { return own(pipe)->peek(record, error); },
    .release = [](FarcallUcxPipe* pipe) { own(pipe)->release(); },
    .arrived = [](FarcallUcxPipe* pipe) { return own(pipe)->arrived(); },
    .may_sleep = [](FarcallUcxPipe* pipe,
                    FarcallUcxSide side) { return own(pipe)->may_sleep(side); },
    .awake = [](FarcallUcxPipe* pipe, FarcallUcxSide side) { own(pipe)->awake(side); },
    .pipe_fd = [](const FarcallUcxPipe* pipe) { return own(pipe)->fd(); },
    .pipe_bell = [](const FarcallUcxPipe* pipe,
                    FarcallUcxSide side) { return own(pipe)->bell(side); },
    .close = [](FarcallUcxPipe* pipe) { own(pipe)->close(); },
    .abandon = [](FarcallUcxPipe* pipe) { own(pipe)->abandon(); },
    .destroy = [](FarcallUcxPipe* pipe) { delete own(pipe); },
};

}  // namespace
}  // namespace farcall::ucx

extern "C" __attribute__((visibility("default"))) const FarcallUcxPlugin* FARCALL_UCX_ENTRY() {
  return &farcall::ucx::kPlugin;
}
