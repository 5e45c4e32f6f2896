// Images kept on a server's disk: what is found again, what never is, and what lies there.
#include "gpu_server/module_cache.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "gpu_server/cache_folder.h"
#include "security/crypto.h"

namespace farcall::server {
namespace {

namespace fs = std::filesystem;
using Bytes = std::vector<std::byte>;

// A folder that goes with the test.
class Folder {
 public:
  Folder() {
    std::string made = (fs::temp_directory_path() / "farcall-cache-XXXXXX").string();
    REQUIRE(::mkdtemp(made.data()) != nullptr);
    path = made;
  }
  ~Folder() { fs::remove_all(path); }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  Fd open() const { return Fd(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)); }
  std::vector<fs::path> files() const {
    std::vector<fs::path> all;
    for (const auto& entry : fs::recursive_directory_iterator(path)) {
      if (entry.is_regular_file()) all.push_back(entry.path());
    }
    return all;
  }
  fs::path path;
};

ModuleCache::Name name_of(int number, std::uint64_t bytes) {
  ModuleCache::Name name{};
  name.bytes = bytes;
  name.id.fill(static_cast<std::byte>(number));
  name.key.fill(static_cast<std::byte>(number + 100));
  return name;
}

Bytes text_of(std::size_t bytes) {
  Bytes text(bytes);
  for (std::size_t i = 0; i < bytes; ++i)
    text[i] = static_cast<std::byte>("tenant's secret "[i % 16]);
  return text;
}

bool keep(ModuleCache& cache, const ModuleCache::Name& name, const Bytes& text, std::size_t step) {
  auto writer = cache.begin(name);
  if (writer == nullptr) return false;
  for (std::size_t at = 0; at < text.size(); at += step) {
    writer->add(std::span(text).subspan(at, std::min(step, text.size() - at)));
  }
  return writer->keep().ok();
}

std::string read(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}
void write(const fs::path& path, const std::string& text) {
  std::ofstream(path, std::ios::binary | std::ios::trunc) << text;
}

constexpr std::uint64_t kMuch = std::uint64_t{1} << 30;
constexpr std::size_t kPiece = ModuleCache::kPieceBytes;

TEST_CASE("an image is found again, whatever its length and however it came") {
  Folder folder;
  ModuleCache cache(folder.open(), kMuch);
  int number = 1;
  for (std::size_t bytes :
       {std::size_t{1}, std::size_t{100'000}, kPiece - 1, kPiece, kPiece + 1, 3 * kPiece}) {
    for (std::size_t step : {std::size_t{65'536}, kPiece, 4 * kPiece}) {
      const ModuleCache::Name name = name_of(number++, bytes);
      const Bytes text = text_of(bytes);
      CHECK(cache.find(name).status().code() == Code::kNotFound);
      REQUIRE(keep(cache, name, text, step));
      Result<SecureBuffer> found = cache.find(name);
      REQUIRE(found.ok());
      CHECK(std::equal(text.begin(), text.end(), found->bytes().begin(), found->bytes().end()));
    }
  }
}

TEST_CASE("nothing of an image lies on the disk in the clear, and only its owner reads it") {
  Folder folder;
  ModuleCache cache(folder.open(), kMuch);
  REQUIRE(keep(cache, name_of(1, 2 * kPiece), text_of(2 * kPiece), kPiece));
  REQUIRE(folder.files().size() == 1);
  CHECK(read(folder.files()[0]).find("tenant's") == std::string::npos);
  struct stat facts {};
  REQUIRE(::stat(folder.files()[0].c_str(), &facts) == 0);
  CHECK((facts.st_mode & 0777) == 0600);
}

TEST_CASE("another key, another length or another name finds nothing") {
  Folder folder;
  ModuleCache cache(folder.open(), kMuch);
  const ModuleCache::Name name = name_of(1, 200'000);
  REQUIRE(keep(cache, name, text_of(200'000), kPiece));
  ModuleCache::Name other = name;
  other.id[31] ^= std::byte{1};
  CHECK_FALSE(cache.find(other).ok());
  CHECK(cache.find(name).ok());
  for (std::uint64_t bytes : {std::uint64_t{0}, std::uint64_t{199'999}, ~std::uint64_t{0}}) {
    other = name;
    other.bytes = bytes;
    REQUIRE(keep(cache, name, text_of(200'000), kPiece));
    CHECK_FALSE(cache.find(other).ok());
  }
  other = name;
  other.key[0] ^= std::byte{1};
  REQUIRE(keep(cache, name, text_of(200'000), kPiece));
  CHECK_FALSE(cache.find(other).ok());
}

TEST_CASE("a file that was changed or cut anywhere is a miss, and goes") {
  Folder folder;
  ModuleCache cache(folder.open(), kMuch);
  const ModuleCache::Name name = name_of(1, kPiece + 5000);
  REQUIRE(keep(cache, name, text_of(kPiece + 5000), kPiece));
  const fs::path path = folder.files()[0];
  const std::string good = read(path);
  const std::size_t places[] = {0,  5,    8,           17,          47,
                                48, 1000, kPiece + 48, kPiece + 64, good.size() - 1};
  for (std::size_t at : places) {
    std::string bad = good;
    bad[at] = static_cast<char>(bad[at] ^ 0x10);
    write(path, bad);
    CHECK_FALSE(cache.find(name).ok());
    CHECK_FALSE(fs::exists(path));
  }
  for (std::size_t bytes : {std::size_t{0}, std::size_t{47}, good.size() - 1}) {
    write(path, good.substr(0, bytes));
    CHECK_FALSE(cache.find(name).ok());
    CHECK_FALSE(fs::exists(path));
  }
  // Two pieces of equal length exchanged: each is good, but not in this place.
  const ModuleCache::Name twin = name_of(2, 2 * kPiece);
  REQUIRE(keep(cache, twin, text_of(2 * kPiece), kPiece));
  const fs::path second = folder.files()[0];
  const std::string whole = read(second);
  const std::size_t sealed = kPiece + 16;
  write(second, whole.substr(0, 48) + whole.substr(48 + sealed, sealed) + whole.substr(48, sealed));
  CHECK_FALSE(cache.find(twin).ok());
  // A folder, and a link to a file elsewhere, in the place of the file.
  fs::create_directory(path);
  CHECK_FALSE(cache.find(name).ok());
  fs::remove(path);
  write(folder.path / "elsewhere", good);
  fs::create_symlink(folder.path / "elsewhere", path);
  CHECK_FALSE(cache.find(name).ok());
  fs::remove(path);
  write(path, good);
  CHECK(cache.find(name).ok());
}

TEST_CASE("an image that did not come whole leaves nothing behind") {
  Folder folder;
  ModuleCache cache(folder.open(), kMuch);
  const Bytes text = text_of(300'000);
  {
    auto writer = cache.begin(name_of(1, 300'000));
    REQUIRE(writer != nullptr);
    writer->add(std::span(text).first(100'000));
    CHECK(folder.files().size() == 1);
    CHECK(writer->keep().code() == Code::kMalformed);
  }
  CHECK(folder.files().empty());
  {
    auto writer = cache.begin(name_of(1, 1000));
    writer->add(text);
    CHECK(writer->keep().code() == Code::kMalformed);
  }
  CHECK(folder.files().empty());
  CHECK_FALSE(cache.find(name_of(1, 300'000)).ok());
}

TEST_CASE("what was not used for longest makes room, and the whole keeps to its size") {
  Folder folder;
  constexpr std::size_t kBytes = 100'000;
  ModuleCache cache(folder.open(), 3 * (kBytes + 64));
  auto age = [&](int number, int seconds) {
    std::string path = (folder.path / security::to_hex(name_of(number, 1).id)).string();
    timespec times[2] = {{1'700'000'000 + seconds, 0}, {1'700'000'000 + seconds, 0}};
    REQUIRE(::utimensat(AT_FDCWD, path.c_str(), times, 0) == 0);
  };
  for (int number : {1, 2, 3}) {
    REQUIRE(keep(cache, name_of(number, kBytes), text_of(kBytes), kBytes));
    age(number, number);
  }
  CHECK(cache.find(name_of(1, kBytes)).ok());  // used just now
  REQUIRE(keep(cache, name_of(4, kBytes), text_of(kBytes), kBytes));
  CHECK(folder.files().size() == 3);
  CHECK(cache.find(name_of(1, kBytes)).ok());
  CHECK_FALSE(cache.find(name_of(2, kBytes)).ok());
  CHECK(cache.find(name_of(4, kBytes)).ok());
  CHECK(cache.begin(name_of(5, 4 * kBytes)) == nullptr);
  CHECK(folder.files().size() == 3);
}

TEST_CASE("a folder that cannot be written to keeps nothing and says so") {
  ModuleCache cache(Fd(::open("/proc/self", O_RDONLY | O_DIRECTORY | O_CLOEXEC)), kMuch);
  CHECK(cache.begin(name_of(1, 1000)) == nullptr);
  CHECK(cache.find(name_of(1, 1000)).status().code() == Code::kNotFound);
}

TEST_CASE("a disk that is full is a miss, not an error") {
  Folder folder;
  ModuleCache cache(folder.open(), kMuch);
  rlimit before{};
  REQUIRE(::getrlimit(RLIMIT_FSIZE, &before) == 0);
  auto* handler = ::signal(SIGXFSZ, SIG_IGN);
  const rlimit little{kPiece, before.rlim_max};  // files end there, as on a full disk
  REQUIRE(::setrlimit(RLIMIT_FSIZE, &little) == 0);
  const bool kept = keep(cache, name_of(1, 2 * kPiece), text_of(2 * kPiece), kPiece);
  REQUIRE(::setrlimit(RLIMIT_FSIZE, &before) == 0);
  ::signal(SIGXFSZ, handler);
  CHECK_FALSE(kept);
  CHECK(folder.files().empty());
  CHECK(keep(cache, name_of(1, 2 * kPiece), text_of(2 * kPiece), kPiece));
}

TEST_CASE("each tenant has a folder of its own, whatever its name") {
  Folder folder;
  Result<CacheRoot> root = CacheRoot::open({(folder.path / "deep/er").string(), kMuch});
  REQUIRE(root.ok());
  security::PeerIdentity who;
  who.pool = "lab";
  std::vector<ino_t> seen;
  for (const char* tenant : {"acme", "..", "ACME", "."}) {
    who.tenant = tenant;
    Result<Fd> made = root->tenant(who);
    Result<Fd> again = root->tenant(who);
    REQUIRE(made.ok());
    REQUIRE(again.ok());
    struct stat one {
    }, two{};
    ::fstat(made->get(), &one);
    ::fstat(again->get(), &two);
    CHECK(one.st_ino == two.st_ino);
    CHECK((one.st_mode & 0777) == 0700);
    CHECK(std::find(seen.begin(), seen.end(), one.st_ino) == seen.end());
    seen.push_back(one.st_ino);
  }
  CHECK(std::distance(fs::directory_iterator(folder.path / "deep/er"), {}) == 4);
}

TEST_CASE("the whole cache keeps to its size across tenants") {
  Folder folder;
  Result<CacheRoot> root = CacheRoot::open({folder.path.string(), 250'000});
  REQUIRE(root.ok());
  security::PeerIdentity who;
  for (const char* tenant : {"a", "b"}) {
    who.tenant = tenant;
    ModuleCache cache(root->tenant(who).value(), root->bytes_max());
    REQUIRE(keep(cache, name_of(1, 80'000), text_of(80'000), kPiece));
    REQUIRE(keep(cache, name_of(2, 80'000), text_of(80'000), kPiece));
  }
  CHECK(folder.files().size() == 4);
  root->make_room();
  CHECK(folder.files().size() == 3);
}

TEST_CASE("a folder that others could write to is refused") {
  Folder folder;
  fs::permissions(folder.path, fs::perms(0777));
  CHECK(CacheRoot::open({folder.path.string(), kMuch}).status().code() == Code::kDenied);
  write(folder.path / "file", "");
  CHECK_FALSE(CacheRoot::open({(folder.path / "file").string(), kMuch}).ok());
}

TEST_CASE("a cache is named by its folder and its size") {
  CHECK(parse_cache("/a/b")->path == "/a/b");
  CHECK(parse_cache("/a/b")->bytes_max == limits::kModuleCacheBytes);
  CHECK(parse_cache("/a/b:512M")->bytes_max == std::uint64_t{512} << 20);
  CHECK(parse_cache("/a:1.5G")->bytes_max == std::uint64_t{3} << 29);
  CHECK(parse_cache("/a:1000000")->bytes_max == 1'000'000);
  CHECK(parse_cache("off")->path.empty());
  for (const char* bad : {"/a:", "/a:4X", "/a:-1G", "/a:0", "/a:nan", "/a:1e30T", ":4G", ""}) {
    CAPTURE(bad);
    CHECK(parse_cache(bad).status().code() == Code::kUnsupported);
  }
}

}  // namespace
}  // namespace farcall::server
