#include <cstdio>

#include "tools/cli/commands.h"

namespace farcall::cli {

int fail(const std::string& what) {
  std::fprintf(stderr, "farcall: %s\n", what.c_str());
  return kExitFarcall;
}

int fail(const Status& status) {
  return fail(status.text().empty() ? status.to_string() : status.text());
}

}  // namespace farcall::cli
