#include "transport/link/rdma.h"

#include <dirent.h>
#include <unistd.h>

#include "transport/link/rdma_address.h"
#include "transport/link/rdma_carrier.h"
#include "transport/link/rdma_listener.h"
#include "transport/link/rdma_plugin.h"

namespace farcall::link {
namespace {

bool has_verbs_device() {
  DIR* folder = ::opendir("/sys/class/infiniband");
  if (folder == nullptr) return false;
  bool found = false;
  while (const dirent* entry = ::readdir(folder)) found = found || entry->d_name[0] != '.';
  ::closedir(folder);
  return found && ::access("/dev/infiniband/rdma_cm", R_OK | W_OK) == 0;
}

Result<RdmaPlugin> load() {
  if (Status available = rdma_available(); !available.ok()) return available;
  return RdmaPlugin::load(RdmaPlugin::settings_for_rdma());
}

}  // namespace

Status rdma_available() {
  if (RdmaPlugin::find().empty()) {
    return {Code::kUnsupported, "libfarcall_ucx.so is not installed beside this program"};
  }
  if (!has_verbs_device()) {
    return {Code::kUnsupported, "there is no RDMA device here (/dev/infiniband)"};
  }
  return ok();
}

Result<std::unique_ptr<RdmaListener>> RdmaListener::open(const std::string& address) {
  Result<RdmaPlugin> plugin = load();
  if (!plugin.ok()) return plugin.status();
  Result<RdmaAddress> local = RdmaAddress::resolve(address);
  if (!local.ok()) return local.status();
  return listen_by(plugin.value(), local.value());
}

Result<std::unique_ptr<Carrier>> connect_rdma(const std::string& place,
                                              std::span<const std::byte, kLaneHelloBytes> hello,
                                              int watch_fd, Deadline deadline) {
  Result<RdmaPlugin> plugin = load();
  if (!plugin.ok()) return plugin.status();
  Result<RdmaAddress> peer = RdmaAddress::parse(place);
  if (!peer.ok()) return peer.status();
  return connect_by(plugin.value(), peer.value(), hello, watch_fd, deadline);
}

}  // namespace farcall::link
