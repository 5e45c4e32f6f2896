// Whether the kernel clears freed pages, from its command line and configuration.
#include "gpu_server/check_memory.h"

#include <doctest/doctest.h>

namespace farcall::server {

TEST_CASE("the kernel's command line says whether freed pages are cleared, its last word holds") {
  CHECK(clears_freed_pages("quiet init_on_free=1\n", ""));
  CHECK(clears_freed_pages("init_on_free=0 init_on_free=1", ""));
  CHECK(!clears_freed_pages("init_on_free=1 init_on_free=0\n", ""));
  CHECK(!clears_freed_pages("quiet my_init_on_free=1\n", ""));
  CHECK(!clears_freed_pages("", ""));
}

TEST_CASE("without a word the kernel's configuration holds") {
  constexpr auto kOn = "CONFIG_A=y\nCONFIG_INIT_ON_FREE_DEFAULT_ON=y\n";
  CHECK(clears_freed_pages("quiet\n", kOn));
  CHECK(!clears_freed_pages("init_on_free=0\n", kOn));
  CHECK(!clears_freed_pages("quiet\n", "# CONFIG_INIT_ON_FREE_DEFAULT_ON is not set\n"));
}

}  // namespace farcall::server
