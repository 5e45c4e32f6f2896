// Files that matter: replaced as a whole or not at all, made but never over another.
#include "security/file.h"

#include <doctest/doctest.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>
#include <iterator>

#include "tests/security/test_pool.h"

namespace farcall::security {
namespace {

using testing::TestPool;

std::string text_in(const std::string& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), {}};
}

std::ptrdiff_t names_in(const std::string& folder) {
  return std::distance(std::filesystem::directory_iterator(folder), {});
}

TEST_CASE("a file is replaced as a whole and nothing stays beside it") {
  TestPool pool;
  const std::string folder = pool.path("lists");
  std::filesystem::create_directory(folder);
  const std::string path = folder + "/list";
  REQUIRE(write_new_file(path, bytes_of("one"), 0600).ok());
  CHECK(write_new_file(path, bytes_of("two"), 0600).code() == Code::kDenied);
  CHECK(text_in(path) == "one");
  REQUIRE(replace_file(path, bytes_of("three"), 0644).ok());
  CHECK(text_in(path) == "three");
  struct stat facts {};
  REQUIRE(::stat(path.c_str(), &facts) == 0);
  CHECK((facts.st_mode & 0777) == 0644);
  CHECK(names_in(folder) == 1);
}

TEST_CASE("what cannot be replaced stays, and nothing of the attempt") {
  TestPool pool;
  const std::string folder = pool.path("lists");
  std::filesystem::create_directories(folder + "/list");
  CHECK(replace_file(folder + "/list", bytes_of("text"), 0644).code() == Code::kSystem);
  CHECK(std::filesystem::is_directory(folder + "/list"));
  CHECK(names_in(folder) == 1);
  CHECK_FALSE(replace_file(folder + "/none/list", bytes_of("text"), 0644).ok());
}

}  // namespace
}  // namespace farcall::security
