#include "security/audit_file.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <filesystem>

#include "security/file.h"
#include "transport/base/limits_audit.h"

namespace farcall::security {
namespace {

constexpr std::string_view kPrefix = "audit-";
constexpr std::string_view kSuffix = ".log";
constexpr std::size_t kNumberDigits = 6;

struct flock whole_file(short kind) {
  struct flock range {};
  range.l_type = kind;
  range.l_whence = SEEK_SET;
  return range;
}

class PosixFile final : public AuditFile {
 public:
  PosixFile(Fd file, std::string path) : file_(std::move(file)), path_(std::move(path)) {}
  Status append(std::string_view bytes) override {
    return write_all(file_, bytes_of(bytes), path_);
  }
  Status sync() override {
    return ::fdatasync(file_.get()) == 0 ? ok() : Status::system("write " + path_);
  }
  Status cut(std::uint64_t bytes) override {
    if (::ftruncate(file_.get(), static_cast<off_t>(bytes)) == 0) return ok();
    return Status::system("shorten " + path_);
  }

 private:
  Fd file_;
  std::string path_;
};

}  // namespace

Result<std::unique_ptr<AuditFile>> open_audit_file(const std::string& path) {
  Fd file(::open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!file) return Status::system("open " + path);
  if (Status kept = sync_folder_of(path); !kept.ok()) return kept;
  return std::unique_ptr<AuditFile>(new PosixFile(std::move(file), path));
}

std::string audit_file_name(std::uint64_t number) {
  char text[32];
  std::snprintf(text, sizeof text, "audit-%06llu.log", static_cast<unsigned long long>(number));
  return text;
}

std::uint64_t audit_file_number(std::string_view name) {
  if (name.size() != kPrefix.size() + kNumberDigits + kSuffix.size() ||
      !name.starts_with(kPrefix) || !name.ends_with(kSuffix)) {
    return 0;
  }
  const std::string_view digits = name.substr(kPrefix.size(), kNumberDigits);
  std::uint64_t number = 0;
  const auto parsed = std::from_chars(digits.data(), digits.data() + digits.size(), number);
  return parsed.ptr == digits.data() + digits.size() ? number : 0;
}

Result<std::vector<std::uint64_t>> audit_files(const std::string& folder) {
  std::unique_ptr<DIR, int (*)(DIR*)> listing(::opendir(folder.c_str()), &::closedir);
  if (!listing) {
    const int error = errno;
    Status why = Status::system("read " + folder, error);
    if (error == ENOENT || error == ENOTDIR) why = Status(Code::kNotFound, why.text());
    if (error == EACCES) why = Status(Code::kDenied, why.text());
    return why;
  }
  std::vector<std::uint64_t> numbers;
  while (const dirent* entry = ::readdir(listing.get())) {
    if (std::uint64_t number = audit_file_number(entry->d_name)) numbers.push_back(number);
  }
  std::sort(numbers.begin(), numbers.end());
  return numbers;
}

Result<Fd> take_audit_folder(const std::string& folder) {
  std::error_code failed;
  const std::filesystem::path path(folder);
  if (path.has_parent_path()) std::filesystem::create_directories(path.parent_path(), failed);
  if (::mkdir(folder.c_str(), 0700) != 0 && errno != EEXIST) {
    return Status::system("make " + folder);
  }
  struct stat facts {};
  if (::stat(folder.c_str(), &facts) != 0) return Status::system("open " + folder);
  if (!S_ISDIR(facts.st_mode)) return Status(Code::kDenied, folder + " is no folder");
  if (facts.st_uid != ::geteuid() || (facts.st_mode & 022) != 0) {
    return Status(Code::kDenied, folder + " is not this server's alone: others can write to it");
  }
  const std::string lock = folder + "/lock";
  Fd taken(::open(lock.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!taken) return Status::system("open " + lock);
  struct flock whole = whole_file(F_WRLCK);
  if (::fcntl(taken.get(), F_OFD_SETLK, &whole) != 0) {
    if (errno != EAGAIN && errno != EACCES) return Status::system("lock " + lock);
    return Status(Code::kBusy, "another server writes the audit log in " + folder +
                                   ": give each a folder of its own with --audit DIR");
  }
  return taken;
}

bool is_audit_folder_taken(const std::string& folder) {
  Fd lock(::open((folder + "/lock").c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
  struct flock other = whole_file(F_RDLCK);
  return lock && ::fcntl(lock.get(), F_OFD_GETLK, &other) == 0 && other.l_type != F_UNLCK;
}

}  // namespace farcall::security
