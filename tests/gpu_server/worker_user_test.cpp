// Whom a tenant's workers are, and whose its folder of images is.
#include "gpu_server/worker_user.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fstream>
#include <set>

#include "security/sandbox.h"
#include "tests/support/temporary_folder.h"
#include "transport/base/unique.h"

namespace farcall::server {
namespace {

security::PeerIdentity client(const char* pool, const char* tenant, const char* user) {
  security::PeerIdentity who;
  who.pool = pool;
  who.tenant = tenant;
  who.user = user;
  return who;
}

TEST_CASE("a tenant's workers are one user, others' are others, and none is a person's") {
  if (::geteuid() != 0) {
    CHECK(worker_uid(client("lab", "acme", "ann")) == 0);  // only root can start another's
    return;
  }
  CHECK(worker_uid(client("lab", "acme", "ann")) == worker_uid(client("lab", "acme", "bob")));
  std::set<std::uint32_t> seen;
  for (int i = 0; i < 100; ++i) {
    seen.insert(worker_uid(client("lab", ("tenant" + std::to_string(i)).c_str(), "ann")));
    seen.insert(worker_uid(client("den", ("tenant" + std::to_string(i)).c_str(), "ann")));
  }
  CHECK(seen.size() == 200);
  CHECK(*seen.begin() >= security::kWorkerUidFirst);
  CHECK(*seen.rbegin() <= security::kWorkerUidLast);
}

TEST_CASE("a tenant's folder goes to its workers with what is in it, and comes back") {
  const testing::TemporaryFolder own;
  const std::string& path = own.path();
  std::ofstream(path + "/image") << "x";
  Fd folder(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  auto owner = [&path](const char* name) {
    struct stat facts {};
    return ::stat((path + name).c_str(), &facts) == 0 ? facts.st_uid : 0xffffffff;
  };
  CHECK(give_folder(folder.get(), ::geteuid()).ok());
  CHECK(owner("/image") == ::geteuid());
  if (::geteuid() == 0) {
    for (std::uint32_t uid : {security::kWorkerUidFirst + 3, 0U}) {
      CHECK(give_folder(folder.get(), uid).ok());
      CHECK(owner("") == uid);
      CHECK(owner("/image") == uid);
    }
  } else {
    CHECK_FALSE(give_folder(folder.get(), security::kWorkerUidFirst).ok());
  }
}

}  // namespace
}  // namespace farcall::server
