// A member's certificate and key on disk: what comes from the authority is looked at, then put
// there while programs read them.
//
//   FARCALL_TRY(check_pair(chain_pem, key_pem, ca_pem, expected_name));
//   FARCALL_TRY(replace_pair({certificate, key, ca}, chain_pem, key_pem));
//
// Two files cannot be replaced in one step, so for a moment the key file holds both keys: whoever
// loads the pair (x509.h, key_of) finds the one that fits, before, between and after, and after a
// crash.  Threads: any; one writer at a time.
#pragma once
#include <span>
#include <string>

#include "security/identity.h"
#include "transport/base/secure_arena.h"
#include "transport/base/status.h"

namespace farcall::security {

// Is this chain good now for that name and key, by the pool's authority?
//   name  identity URI; empty: any server's
// Errors: kDenied.
Status check_pair(const std::string& chain_pem, std::span<const std::byte> key_pem,
                  const std::string& ca_pem, const std::string& name);

// key_pem: may be the one that is there.  Errors: kSystem, kDenied; then the old pair is there.
Status replace_pair(const IdentityFiles& files, const std::string& chain_pem,
                    const SecureBuffer& key_pem);

}  // namespace farcall::security
