// The main() of every doctest program. FARCALL_OFF holds for tests as it does for programs: the
// whole suite is run with optimisations turned off (tools/test --switches).
#define DOCTEST_CONFIG_IMPLEMENT
#include <doctest/doctest.h>

#include <cstdio>

#include "transport/base/switches.h"

int main(int argc, char** argv) {
  if (const farcall::Status off = farcall::turn_off_from_environment(); !off.ok()) {
    std::fprintf(stderr, "FARCALL_OFF: %s\n", off.to_string().c_str());
    return 2;
  }
  return doctest::Context(argc, argv).run();
}
