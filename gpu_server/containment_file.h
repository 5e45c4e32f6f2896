// The file of `farcall-server --containment`: thresholds by zone and role, TOML.
//
//   Result<ContainmentRules> rules = load_containment("/etc/farcall/containment.toml");
//
//   window_s = 60                  # 1 … 86400
//   detail_s = 30                  # 1 … 86400, see detail_watch.h
//   [[rule]]                       # the first rule that matches a client's certificate counts
//   zone = "lab"                   # left out: any
//   role = "student"               # left out: any
//   unknown_handles = 50           # in a window; 0: no threshold; left out: the default
//   refused_calls = 1000
//   bytes_out = "20GiB"
//   action = "tell"                # or "freeze", which is the default
//
// Also: allocations, allocated_bytes, modules. Who matches no rule has the defaults
// (containment.h). A word that is not known is an error: a threshold with a typing mistake would
// guard nothing.  Threads: any.
#pragma once
#include <string>
#include <string_view>

#include "gpu_server/containment.h"
#include "transport/base/status.h"

namespace farcall::server {

// Errors: kSystem; kUnsupported with path, line and what is wrong.
Result<ContainmentRules> load_containment(const std::string& path);
// name: for errors.
Result<ContainmentRules> parse_containment(std::string_view text, const std::string& name);

// The features and their defaults, for --help.
std::string containment_help();

}  // namespace farcall::server
