// LoadedDriver: the software GPU, loaded once more, with state of its own.
//
//   const LoadedDriver one, other;
//   World world(one);
//   other.table().cuInit(0);
//
// Owner: the test; the library stays loaded.  Threads: any.
#pragma once
#include <dlfcn.h>
#include <doctest/doctest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <string>

#include "client_shim/symbols.h"
#include "transport/api/driver.h"

namespace farcall::shim {

class LoadedDriver {
 public:
  LoadedDriver() {
    ::setenv("FARCALL_SOFTGPU_MEMORY", "64M", 1);
    ::setenv("FARCALL_SOFTGPU_THREADS", "1", 1);
    // The loader takes a file it knows for the same library, so each gets a copy.
    char path[] = "./farcall-driver-XXXXXX";
    const int file = ::mkstemp(path);
    REQUIRE(file >= 0);
    ::close(file);
    std::filesystem::copy_file(FARCALL_BAD_INPUT_GPU, path,
                               std::filesystem::copy_options::overwrite_existing);
    library_ = ::dlopen(path, RTLD_NOW | RTLD_LOCAL);
    std::filesystem::remove(path);
    REQUIRE_MESSAGE(library_ != nullptr, ::dlerror());
  }
  void* find(const char* name) const { return ::dlsym(library_, name); }
  api::Driver table() const {
    api::Driver driver;
    api::load_driver(driver, [this](const char* name) { return find(name); });
    return driver;
  }

 private:
  void* library_ = nullptr;
};

// The shim's own functions, as a table.
inline api::Driver shim_table() {
  api::Driver driver;
  api::load_driver(driver, [](const char* name) { return find_symbol(name); });
  return driver;
}

}  // namespace farcall::shim
