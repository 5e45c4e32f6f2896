#include "transport/link/rdma.h"

namespace farcall::link {

Status rdma_available() { return {Code::kUnsupported, "this build of Farcall has no RDMA plugin"}; }

Result<std::unique_ptr<RdmaListener>> RdmaListener::open(const std::string&) {
  return rdma_available();
}

Result<std::unique_ptr<Carrier>> connect_rdma(const std::string&,
                                              std::span<const std::byte, kLaneHelloBytes>, int,
                                              Deadline) {
  return rdma_available();
}

}  // namespace farcall::link
