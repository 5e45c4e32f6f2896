// farcall run: the program, with the shim in front of it.
#include <cstdlib>
#include <filesystem>

#include "tools/cli/check.h"
#include "tools/cli/commands.h"
#include "tools/cli/connection.h"
#include "tools/cli/keep.h"
#include "tools/cli/places.h"

namespace farcall::cli {
namespace {

// LEVEL[:FILE] with FILE from the root on: the program may go elsewhere before it logs.
std::string absolute_log(const std::string& log) {
  const std::size_t colon = log.find(':');
  if (colon == std::string::npos) return log;
  std::error_code error;
  return log.substr(0, colon + 1) +
         std::filesystem::absolute(log.substr(colon + 1), error).string();
}

}  // namespace

int run_program(const RunOptions& options) {
  Connection connection = options.connection;
  if (Status status = complete(&connection); !status.ok()) return fail(status);
  const Places places = find_places();
  if (!is_file(places.shim)) {
    return fail("the client library " + places.shim +
                " is missing: build or install Farcall whole");
  }
  if (!connection.renew_from.empty()) {
    if (Status kept = keep_renewing(connection); !kept.ok()) return fail(kept);
  }
  if (options.check) {
    if (Status status = try_connection(connection); !status.ok()) {
      return fail(status);
    }
  }
  export_environment(connection, places);
  std::error_code error;
  if (!options.stats_file.empty()) {
    ::setenv("FARCALL_STATS", std::filesystem::absolute(options.stats_file, error).c_str(), 1);
  }
  if (!options.trace_file.empty()) {
    ::setenv("FARCALL_TRACE", std::filesystem::absolute(options.trace_file, error).c_str(), 1);
  }
  if (!options.log.empty()) ::setenv("FARCALL_LOG", absolute_log(options.log).c_str(), 1);
  if (!options.off.empty()) ::setenv("FARCALL_OFF", options.off.c_str(), 1);
  if (options.strict) ::setenv("FARCALL_STRICT", "1", 1);

  return become_program(options.command);
}

}  // namespace farcall::cli
