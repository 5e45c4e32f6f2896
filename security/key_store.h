// KeyStore: where the key of an authority lies that lies in no file, a token for instance.
//
//   Result<std::shared_ptr<HeldKey>> key = store.open("pkcs11:token=lab;object=issuing");
//   IssuedIdentity authority{.certificate_pem = text, .held = key.value()};
//
// Such a key signs and is never seen: what is made with it goes through ca.h as with a key from a
// file. token_keys.h is the one there is; it is no part of this library, because the shim links
// this one.
// Owner: whoever holds the pointer; a key outlives its store.  Threads: any.
#pragma once
#include <memory>
#include <string>

#include "transport/base/status.h"

namespace farcall::security {

class HeldKey;  // ca_parts.h, which knows OpenSSL

class KeyStore {
 public:
  virtual ~KeyStore() = default;
  // uri: names one key, as this store understands it. May ask for a PIN.
  // Errors: kUnsupported (no such URI), kNotFound, kDenied (PIN), kSystem; each with what to do.
  virtual Result<std::shared_ptr<HeldKey>> open(const std::string& uri) = 0;
  // A new P-256 key of that name.  Errors: also kDenied when there is one.
  virtual Result<std::shared_ptr<HeldKey>> make(const std::string& uri) = 0;
};

}  // namespace farcall::security
