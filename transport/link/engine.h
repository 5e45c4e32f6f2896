// Engine: who computes AES-GCM. OpenSSL everywhere; on x86 also Intel's ipsec-mb, several times
// faster where the processor has vector AES. Both give the same bytes.
//
//   Result<std::unique_ptr<Aead>> aead = make_aead(chosen_engine(), key, Aead::Use::kSeal);
//   aead.value()->seal(nonce, associated, plain, sealed);        // sealed: text, then the tag
//
// An engine is used only after it has given the right answers to known questions in this process.
// Which one: FARCALL_ENGINE=auto|evp|ipsec-mb; auto measures all of them once, in about 1 ms.
// Owner: an Aead belongs to one sealer or opener.  Threads: an Aead one; the functions any.
#pragma once
#include <array>
#include <cstddef>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "transport/base/limits.h"
#include "transport/base/status.h"
#include "transport/link/cipher.h"

namespace farcall::link {

using AeadKey = std::span<const std::byte, 32>;
using AeadNonce = std::span<const std::byte, 12>;

// One key. Wiped when destroyed.
class Aead {
 public:
  enum class Use { kSeal, kOpen };
  virtual ~Aead() = default;

  // sealed: plain.size() + limits::kRecordTagBytes bytes; must not overlap plain.
  // False when the library refuses.
  virtual bool seal(AeadNonce nonce, std::span<const std::byte> associated,
                    std::span<const std::byte> plain, std::span<std::byte> sealed) = 0;
  // sealed: as above. plain: exactly sealed.size() - limits::kRecordTagBytes bytes.
  // False when the tag is wrong: then plain holds bytes that nobody vouches for, and the caller
  // wipes them. Tags are compared in constant time.
  virtual bool open(AeadNonce nonce, std::span<const std::byte> associated,
                    std::span<const std::byte> sealed, std::span<std::byte> plain) = 0;
};

enum class Engine { kEvp, kIpsecMb };

// "EVP", "ipsec-mb".
std::string_view to_string(Engine engine);

// key: AES-128-GCM uses its first half.
// Errors: kUnsupported when this build or this processor has no such engine, or it failed its
// known-answer test; kSystem.
Result<std::unique_ptr<Aead>> make_aead(Engine engine, AeadKey key, Aead::Use use,
                                        Cipher cipher = Cipher::kAes256Gcm);

// What it costs here, in nanoseconds: the fastest of a few tries.
struct EngineCost {
  Engine engine = Engine::kEvp;
  double small_ns = 0;  // sealing 64 bytes
  double bulk_ns = 0;   // sealing 16 KiB
};
EngineCost measure_engine(Engine engine);

// All that can be used in this process, OpenSSL first.
std::vector<Engine> usable_engines();

// The engine of this process: decided at the first call, the same ever after. An engine that is
// asked for by FARCALL_ENGINE but cannot be had is replaced by OpenSSL, with a warning.
Engine chosen_engine();

}  // namespace farcall::link
