// Pool: a throw-away pool on this machine: an authority of its own, one GPU server on a free
// loopback port, one client certificate and its lease, all in a private folder that goes with the
// object.
//
//   Result<std::unique_ptr<Pool>> pool = Pool::start({.driver = path, .gpus = 1});
//   export_environment(pool.value()->connection(), places);
//
// Owner: the object; its destructor ends the server and removes the folder.  Threads: one.
#pragma once
#include <memory>
#include <optional>
#include <string>

#include "tools/cli/child.h"
#include "tools/cli/commands.h"
#include "tools/cli/places.h"
#include "transport/base/status.h"

namespace farcall::cli {

struct PoolOptions {
  std::string driver;  // a libcuda.so.1; the software GPU when empty
  int gpus = 1;        // of the software GPU, or of NVIDIA's driver that the server may see
  bool keep = false;   // leave the folder behind
};

class Pool {
 public:
  // Errors: kNotFound (a part of Farcall is missing), kSystem, kTimeout or kClosed (the server did
  // not come up; the text ends with what it said).
  static Result<std::unique_ptr<Pool>> start(const PoolOptions& options);
  ~Pool();

  const Connection& connection() const { return connection_; }
  const std::string& folder() const { return folder_; }
  std::string stats_file() const { return folder_ + "/stats.json"; }
  std::string server_log() const { return folder_ + "/server.log"; }

 private:
  Pool() = default;
  Status make_certificates();
  Status make_lease();
  Status start_server(const PoolOptions& options, const Places& places);
  std::string folder_;
  bool keep_ = false;
  Connection connection_;
  std::optional<Child> server_;
};

}  // namespace farcall::cli
