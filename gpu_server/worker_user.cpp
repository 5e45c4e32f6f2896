#include "gpu_server/worker_user.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <memory>

#include "security/hmac.h"
#include "security/sandbox.h"
#include "transport/base/unique.h"

namespace farcall::server {

std::uint32_t worker_uid(const security::PeerIdentity& who) {
  constexpr std::string_view kLabel = "farcall worker user";
  if (::geteuid() != 0) return 0;
  Result<security::Hmac> digest = security::Hmac::make(std::as_bytes(std::span(kLabel)));
  if (!digest.ok()) return 0;
  digest->add(std::as_bytes(std::span(who.pool)));
  digest->add(std::as_bytes(std::span("/", 1)));
  digest->add(std::as_bytes(std::span(who.tenant)));
  std::array<std::byte, security::Hmac::kBytes> bytes;
  if (!digest->finish(bytes).ok()) return 0;
  std::uint32_t number = 0;
  for (std::size_t i = 0; i < 4; ++i) number = number << 8 | static_cast<std::uint32_t>(bytes[i]);
  constexpr std::uint32_t kCount = security::kWorkerUidLast - security::kWorkerUidFirst + 1;
  return security::kWorkerUidFirst + number % kCount;
}

Status give_folder(int folder, std::uint32_t uid) {
  struct stat facts {};
  if (::fstat(folder, &facts) != 0) return Status::system("look at a tenant's folder");
  if (facts.st_uid == uid) return ok();
  const int again = ::openat(folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  std::unique_ptr<DIR, int (*)(DIR*)> files(again < 0 ? nullptr : ::fdopendir(again), &::closedir);
  if (!files) return Status::system("list a tenant's folder");
  while (const dirent* file = ::readdir(files.get())) {
    if (file->d_name[0] == '.') continue;
    (void)::fchownat(folder, file->d_name, uid, uid, AT_SYMLINK_NOFOLLOW);
  }
  if (::fchown(folder, uid, uid) != 0) return Status::system("give a tenant's folder away");
  return ok();
}

}  // namespace farcall::server
