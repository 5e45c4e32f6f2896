// The keys of authorities that lie in tokens, for the commands of `farcall ca`.
//
//   auto ca = security::CaFolder::open(folder, authority_keys());
//
// A PIN that no file has is asked for on the terminal, unseen; without one, that is an error.
// Nothing is loaded before a key is asked for.  Threads: one asks.
#pragma once
#include <memory>

#include "security/key_store.h"

namespace farcall::cli {

std::shared_ptr<security::KeyStore> authority_keys();

}  // namespace farcall::cli
