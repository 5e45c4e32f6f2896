// DriverLibrary: a libcuda.so.1, loaded by path, as a table of functions.
//
//   Result<std::unique_ptr<DriverLibrary>> cuda = DriverLibrary::open("libcuda.so.1");
//   cuda.value()->driver().cuInit(0);
//
// NVIDIA's driver and the software GPU are the same to this program: neither is named anywhere
// here. Loaded with RTLD_LOCAL, so that nothing in this process binds to it by accident. Owner:
// main; stays loaded until the process ends, because drivers do not survive being unloaded.
// Threads: any, once open.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "transport/api/driver.h"
#include "transport/base/status.h"

namespace farcall::server {

class DriverLibrary {
 public:
  // Errors: kNotFound with the loader's reason and what to do; kUnsupported for a library that is
  // no CUDA driver.
  static Result<std::unique_ptr<DriverLibrary>> open(const std::string& path);

  const api::Driver& driver() const { return driver_; }
  const std::string& path() const { return path_; }  // as resolved by the loader
  int functions() const { return functions_; }

 private:
  DriverLibrary() = default;
  api::Driver driver_;
  std::string path_;
  int functions_ = 0;
};

struct DeviceFacts {
  std::string name;
  std::size_t bytes = 0;
  int major = 0;
  int minor = 0;
};
struct DriverFacts {
  int version = 0;  // 13000 is CUDA 13.0
  std::vector<DeviceFacts> devices;
};
// Initialises the driver and looks at its devices.  Errors: kDriver.
Result<DriverFacts> look_at(const api::Driver& driver);

}  // namespace farcall::server
