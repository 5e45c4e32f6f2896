// ImageNames: what an image is called in the cache of a server's host, and the key it lies there
// under.
//
//   ImageNames names;
//   Result<api::hand::ImageName> name = names.of(packed, client.settings());
//   if (name.ok()) …ask for it by name…
//
// Both are made of secrets that never leave this process: id = HMAC-SHA-256(id secret, image), key
// = HKDF(key secret, id); both secrets = HKDF(the client's private key, server's name). So a server
// keeps ciphertext under a name that tells nothing, nobody without the private key can find out
// whether an image is there, and a server learns the keys of those images only that a session
// loads. With another private key (a renewed certificate) the old entries are out of reach and age
// away.
// Owner: one per client.  Threads: any.
#pragma once
#include <atomic>
#include <optional>

#include "client_shim/settings.h"
#include "transport/api/hand.h"
#include "transport/base/guarded.h"
#include "transport/base/secure_arena.h"
#include "transport/cuda/image.h"

namespace farcall::shim {

class ImageNames {
 public:
  // Errors: kUnsupported when images are not to be named here (small, switched off, the server has
  // no cache); kSystem or kOverQuota (over 64 KiB) when the private key
  // cannot be read, which is logged once.
  Result<api::hand::ImageName> of(const cuda::PackedImage& image, const Settings& settings);
  // The server said that it keeps nothing: no image is named from here on.
  void give_up() { given_up_.store(true, std::memory_order_relaxed); }

 private:
  struct Secrets {
    SecureBuffer text;  // id secret, key secret
    std::optional<Status> failed;
  };
  Status load(Secrets& secrets, const Settings& settings);
  Guarded<Secrets> secrets_;
  std::atomic<bool> given_up_{false};
};

}  // namespace farcall::shim
