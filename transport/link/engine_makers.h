// What engine.cpp builds the engines from; nobody else includes this.
//
//   Result<std::unique_ptr<Aead>> aead = make_evp_aead(key, Aead::Use::kSeal);
//
// Neither is known to answer rightly yet: make_aead() is what checks that.
// Threads: any.
#pragma once
#include "transport/link/engine.h"

namespace farcall::link {

Result<std::unique_ptr<Aead>> make_evp_aead(AeadKey key, Aead::Use use);

// Errors: kUnsupported when built without the library, or the processor has no AES instructions.
Result<std::unique_ptr<Aead>> make_ipsec_mb_aead(AeadKey key);

}  // namespace farcall::link
