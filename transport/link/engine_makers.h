// What engine.cpp builds the engines from; nobody else but its test includes this.
//
//   Result<std::unique_ptr<Aead>> aead = make_evp_aead(key, Aead::Use::kSeal, cipher);
//
// Neither is known to answer rightly yet: make_aead() is what checks that.
// Threads: any.
#pragma once
#include "transport/link/engine.h"

namespace farcall::link {

Result<std::unique_ptr<Aead>> make_evp_aead(AeadKey key, Aead::Use use, Cipher cipher);

// slower: 0 for the fastest code this processor can run, 1 for the next, as on older processors …
// Errors: kUnsupported when built without the library, or the processor has no more, e.g. no AES
// instructions.
Result<std::unique_ptr<Aead>> make_ipsec_mb_aead(AeadKey key, Cipher cipher,
                                                 std::size_t slower = 0);

}  // namespace farcall::link
