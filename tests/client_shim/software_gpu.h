// SoftwareGpu: a whole driver behind the session, for what a fake device would be too simple for.
//
//   SoftwareGpu device;
//   World world(device);
//
// Where FARCALL_TEST_SOFTWARE_GPU is defined.  Threads: any.
#pragma once
#include "gpu_server/driver_library.h"
#include "tests/client_shim/world.h"

namespace farcall::shim {

struct SoftwareGpu {
  api::Driver table() {
    static const auto library = server::DriverLibrary::open(FARCALL_TEST_SOFTWARE_GPU);
    REQUIRE(library.ok());
    return library.value()->driver();
  }
};

}  // namespace farcall::shim
