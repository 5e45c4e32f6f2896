// Memory that is given back is overwritten where it is there, and not fetched where it is not.
#include "gpu_server/software_gpu/exec/wiped_pages.h"

#include <doctest/doctest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <array>
#include <cstring>
#include <string>

#include "transport/base/unique.h"

namespace farcall::softgpu {
namespace {

constexpr std::size_t kPage = 4096;
constexpr std::size_t kPages = 10'000;  // more than are asked for at once

}  // namespace

TEST_CASE("pages that are there are overwritten, others stay away") {
  auto* room = static_cast<char*>(
      ::mmap(nullptr, kPages * kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  REQUIRE(room != MAP_FAILED);
  ::madvise(room, kPages * kPage, MADV_NOHUGEPAGE);
  const std::array<std::size_t, 5> written = {0, 1, 4095, 4096, kPages - 1};
  for (std::size_t page : written) std::memset(room + page * kPage, 'x', kPage);
  wipe_present(reinterpret_cast<std::uint64_t>(room), kPages * kPage);
  static std::array<unsigned char, kPages> present;
  REQUIRE(::mincore(room, kPages * kPage, present.data()) == 0);
  std::size_t count = 0;
  for (unsigned char each : present) count += each & 1;
  CHECK(count == written.size());
  for (std::size_t page : written) {
    CHECK(std::string_view(room + page * kPage, kPage).find('x') == std::string_view::npos);
  }
  ::munmap(room, kPages * kPage);
}

TEST_CASE("a file in memory is overwritten") {
  Fd file(::memfd_create("test", MFD_CLOEXEC));
  REQUIRE(::ftruncate(file.get(), 100 * kPage) == 0);
  REQUIRE(::pwrite(file.get(), "canary", 6, 50 * kPage + 7) == 6);
  wipe_file(file.get(), 100 * kPage);
  std::array<char, 6> seen{};
  REQUIRE(::pread(file.get(), seen.data(), 6, 50 * kPage + 7) == 6);
  CHECK(seen == std::array<char, 6>{});
}

}  // namespace farcall::softgpu
