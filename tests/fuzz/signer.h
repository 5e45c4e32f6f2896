// What fuzzers of signed texts share: require(), and a key of their own, since no fuzzer can sign.
//
//   static const LeaseKey key = new_key();
//   require(verify_lease(bytes, keys).ok() == false);         // or the run ends here, as a find
//
// Threads: any.
#pragma once
#include <cstdlib>
#include <filesystem>
#include <string>
#include <utility>

#include "security/lease_keys.h"

namespace farcall::fuzz {

inline void require(bool holds) {
  if (!holds) std::abort();
}

inline security::LeaseKey new_key() {
  const auto pattern = std::filesystem::temp_directory_path() / "farcall-fuzz-XXXXXX";
  std::string folder = pattern.string();
  require(::mkdtemp(folder.data()) != nullptr);
  require(security::make_lease_key(folder + "/k.key", folder + "/k.pub").ok());
  Result<security::LeaseKey> key = security::LeaseKey::load(folder + "/k.key");
  std::filesystem::remove_all(folder);
  require(key.ok());
  return std::move(key).value();
}

}  // namespace farcall::fuzz
