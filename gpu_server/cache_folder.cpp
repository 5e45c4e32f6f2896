#include "gpu_server/cache_folder.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <vector>

#include "security/crypto.h"
#include "security/hmac.h"
#include "transport/base/limits.h"
#include "transport/base/log.h"

namespace farcall::server {
namespace {

struct Stored {
  int folder = -1;
  std::string name;
  std::uint64_t bytes = 0;
  timespec used{};
};

bool is_older(const Stored& a, const Stored& b) {
  if (a.used.tv_sec != b.used.tv_sec) return a.used.tv_sec < b.used.tv_sec;
  return a.used.tv_nsec < b.used.tv_nsec;
}

std::vector<std::string> names_in(int folder) {
  std::vector<std::string> names;
  // fdopendir takes the descriptor over, and reading moves its place.
  int again = ::openat(folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  std::unique_ptr<DIR, int (*)(DIR*)> listing(again < 0 ? nullptr : ::fdopendir(again),
                                              &::closedir);
  if (!listing) {
    if (again >= 0) ::close(again);
    return names;
  }
  while (const dirent* entry = ::readdir(listing.get())) {
    if (entry->d_name[0] == '.') continue;
    names.emplace_back(entry->d_name);
    if (names.size() == limits::kCachedImagesMax) break;
  }
  return names;
}

void list(int folder, std::vector<Stored>* all) {
  for (std::string& name : names_in(folder)) {
    struct stat facts {};
    if (::fstatat(folder, name.c_str(), &facts, AT_SYMLINK_NOFOLLOW) != 0) continue;
    if (!S_ISREG(facts.st_mode)) continue;
    all->push_back(
        {folder, std::move(name), static_cast<std::uint64_t>(facts.st_size), facts.st_mtim});
  }
}

void remove_oldest(std::vector<Stored> all, std::uint64_t bytes_left, std::size_t files_left) {
  std::uint64_t bytes = 0;
  for (const Stored& each : all) bytes += each.bytes;
  std::sort(all.begin(), all.end(), is_older);
  std::size_t files = all.size();
  for (const Stored& each : all) {
    if (bytes <= bytes_left && files <= files_left) return;
    if (::unlinkat(each.folder, each.name.c_str(), 0) != 0) continue;
    bytes -= each.bytes;
    --files;
  }
}

Result<std::uint64_t> parse_size(const std::string& word) {
  constexpr std::string_view kUnits = "KMGT";
  char* end = nullptr;
  double number = std::strtod(word.c_str(), &end);
  const std::string_view unit(end);
  bool is_size = end != word.c_str() && unit.size() <= 1;
  if (is_size && !unit.empty()) {
    std::size_t step = kUnits.find(unit[0]);
    is_size = step != std::string_view::npos;
    if (is_size) number *= static_cast<double>(std::uint64_t{1024} << (10 * step));
  }
  if (!is_size || !(number >= 1) || number > 1e15) {
    return Status(Code::kUnsupported, "\"" + word + "\" is no size: 512M, 4G, …");
  }
  return static_cast<std::uint64_t>(number);
}

}  // namespace

Result<CacheSettings> parse_cache(const std::string& words) {
  if (words == "off") return CacheSettings{};
  CacheSettings settings{words, limits::kModuleCacheBytes};
  if (std::size_t colon = words.rfind(':'); colon != std::string::npos) {
    Result<std::uint64_t> bytes = parse_size(words.substr(colon + 1));
    if (!bytes.ok()) return bytes.status();
    settings = {words.substr(0, colon), bytes.value()};
  }
  if (settings.path.empty()) {
    return Status(Code::kUnsupported, "a module cache needs a folder, or \"off\"");
  }
  return settings;
}

CacheSettings default_cache() {
  const char* xdg = std::getenv("XDG_CACHE_HOME");
  const char* home = std::getenv("HOME");
  std::string base;
  if (::geteuid() == 0) {
    base = "/var/cache";
  } else if (xdg != nullptr && *xdg == '/') {
    base = xdg;
  } else if (home != nullptr && *home == '/') {
    base = std::string(home) + "/.cache";
  } else {
    return {};
  }
  return {base + "/farcall/modules", limits::kModuleCacheBytes};
}

Result<CacheRoot> CacheRoot::open(CacheSettings settings) {
  std::error_code failed;
  std::filesystem::path path(settings.path);
  if (path.has_parent_path()) std::filesystem::create_directories(path.parent_path(), failed);
  if (::mkdir(path.c_str(), 0700) != 0 && errno != EEXIST) {
    return Status::system("make " + settings.path);
  }
  Fd folder(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  struct stat facts {};
  if (!folder || ::fstat(folder.get(), &facts) != 0) return Status::system("open " + settings.path);
  if (facts.st_uid != ::geteuid() || (facts.st_mode & 022) != 0) {
    return Status(Code::kDenied, settings.path + " is not this server's alone: others can write");
  }
  return CacheRoot(std::move(settings), std::move(folder));
}

Result<Fd> CacheRoot::tenant(const security::PeerIdentity& who) const {
  constexpr std::string_view kLabel = "farcall module cache folder";
  Result<security::Hmac> digest = security::Hmac::make(std::as_bytes(std::span(kLabel)));
  if (!digest.ok()) return digest.status();
  digest->add(std::as_bytes(std::span(who.pool)));
  digest->add(std::as_bytes(std::span("/", 1)));
  digest->add(std::as_bytes(std::span(who.tenant)));
  std::array<std::byte, security::Hmac::kBytes> name;
  FARCALL_TRY(digest->finish(name));
  std::string word = security::to_hex(std::span(name).first(16));
  if (::mkdirat(folder_.get(), word.c_str(), 0700) != 0 && errno != EEXIST) {
    return Status::system("make a tenant's folder in " + settings_.path);
  }
  Fd folder(::openat(folder_.get(), word.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW));
  if (!folder) return Status::system("open a tenant's folder in " + settings_.path);
  return folder;
}

void CacheRoot::make_room() const {
  std::vector<Stored> all;
  std::vector<Fd> folders;
  for (const std::string& name : names_in(folder_.get())) {
    Fd folder(
        ::openat(folder_.get(), name.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW));
    if (!folder) continue;
    list(folder.get(), &all);
    folders.push_back(std::move(folder));
  }
  remove_oldest(std::move(all), settings_.bytes_max, limits::kCachedImagesMax);
}

Status make_room(int folder, std::uint64_t bytes_max, std::uint64_t wanted) {
  if (wanted > bytes_max) {
    return {Code::kOverQuota, "an image is larger than the whole module cache"};
  }
  std::vector<Stored> all;
  list(folder, &all);
  remove_oldest(std::move(all), bytes_max - wanted, limits::kCachedImagesMax - 1);
  return ok();
}

}  // namespace farcall::server
