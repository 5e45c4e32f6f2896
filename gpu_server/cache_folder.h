// Where images are kept between sessions: one folder per tenant below the one the operator names.
//
//   Result<CacheRoot> root = CacheRoot::open({"/var/cache/farcall/modules", 4 << 30});
//   Result<Fd> folder = root->tenant(peer);   // for that tenant's worker, which gets no path
//   root->make_room();                        // after a session: the whole keeps to its size
//
// The supervisor opens folders and removes files; it has no key to any of them. A worker reaches
// its own tenant's folder only, by descriptor (module_cache.h).
// Owner: the supervisor.  Threads: any.
#pragma once
#include <cstdint>
#include <string>

#include "security/identity.h"
#include "transport/base/status.h"
#include "transport/base/unique.h"

namespace farcall::server {

struct CacheSettings {
  std::string path;  // empty: nothing is kept
  std::uint64_t bytes_max = 0;
};
// "DIR", "DIR:SIZE" (K, M, G, T allowed) or "off".  Errors: kUnsupported, with what is wrong.
Result<CacheSettings> parse_cache(const std::string& words);
// /var/cache/farcall/modules for root, else below XDG_CACHE_HOME or HOME; 4 GiB. Nothing is kept
// where neither is known.
CacheSettings default_cache();

class CacheRoot {
 public:
  // Makes the folder, for its owner only.
  // Errors: kSystem; kDenied for one that others could write to.
  static Result<CacheRoot> open(CacheSettings settings);

  // The tenant's folder, made at the first call. Its name is a digest: a tenant's name may not be a
  // file's, and whose images these are is nobody's business.
  Result<Fd> tenant(const security::PeerIdentity& who) const;
  std::uint64_t bytes_max() const { return settings_.bytes_max; }
  const std::string& path() const { return settings_.path; }
  // Removes what was not used for longest, whosever it is, until the rest fits.
  void make_room() const;

 private:
  CacheRoot(CacheSettings settings, Fd folder)
      : settings_(std::move(settings)), folder_(std::move(folder)) {}
  CacheSettings settings_;
  Fd folder_;
};

// Removes the files of one folder that were not used for longest, until `wanted` bytes more fit
// into bytes_max.  Errors: kOverQuota when they never will; kSystem.
Status make_room(int folder, std::uint64_t bytes_max, std::uint64_t wanted);

}  // namespace farcall::server
