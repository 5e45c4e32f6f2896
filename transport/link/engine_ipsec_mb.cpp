// The engine of Intel's ipsec-mb, by its direct functions: one call seals or opens one record.
//
// They are named here one by one, not taken from the library's job manager: making one runs the
// known-answer tests of everything the library can, which brings megabytes of code into memory, and
// linking one brings all of that into the shim. What is used here is tested by engine.cpp.
#include <algorithm>
#include <array>
#include <new>

#include "transport/base/key_memory.h"
#include "transport/base/secure_arena.h"
#include "transport/link/engine_makers.h"

#ifdef FARCALL_IPSEC_MB
#  include <cpuid.h>
#  include <intel-ipsec-mb.h>
#  include <openssl/crypto.h>

// intel-ipsec-mb.h declares those for processors without AVX-512; the others have the same shape.
extern "C" {
#  define FARCALL_DIRECT(bits, kind)                                                       \
    void aes_gcm_pre_##bits##_##kind(const void* key, gcm_key_data* prepared);             \
    void aes_gcm_enc_##bits##_##kind(                                                      \
        const gcm_key_data*, gcm_context_data*, std::uint8_t* out, const std::uint8_t* in, \
        std::uint64_t bytes, const std::uint8_t* nonce, const std::uint8_t* associated,    \
        std::uint64_t associated_bytes, std::uint8_t* tag, std::uint64_t tag_bytes);       \
    void aes_gcm_dec_##bits##_##kind(                                                      \
        const gcm_key_data*, gcm_context_data*, std::uint8_t* out, const std::uint8_t* in, \
        std::uint64_t bytes, const std::uint8_t* nonce, const std::uint8_t* associated,    \
        std::uint64_t associated_bytes, std::uint8_t* tag, std::uint64_t tag_bytes)
FARCALL_DIRECT(128, avx512);
FARCALL_DIRECT(128, vaes_avx512);
FARCALL_DIRECT(256, avx512);
FARCALL_DIRECT(256, vaes_avx512);
#  undef FARCALL_DIRECT
}

namespace farcall::link {
namespace {

// The functions for one kind of processor. They keep nothing between calls, so all threads share
// them.
struct Functions {
  bool fits = false;  // this processor
  aes_gcm_pre_t prepare = nullptr;
  aes_gcm_enc_dec_t seal = nullptr;
  aes_gcm_enc_dec_t open = nullptr;
};

// What this processor has, and the system saves for its threads.
struct Processor {
  bool aes = false;  // with SSE4.2 and carry-less multiplication
  bool avx = false;
  bool avx2 = false;    // with BMI2
  bool avx512 = false;  // F, CD, DQ, BW, VL
  bool vaes = false;    // with VPCLMULQDQ and GFNI

  static Processor look() {
    Processor seen;
    unsigned a = 0, b = 0, c = 0, d = 0;
    const auto has = [](unsigned word, unsigned bits) { return (word & bits) == bits; };
    if (__get_cpuid_count(1, 0, &a, &b, &c, &d) == 0) return seen;
    seen.aes = has(c, bit_AES | bit_PCLMUL | bit_SSE4_2);
    if (!seen.aes || !has(c, bit_OSXSAVE | bit_AVX)) return seen;
    // XCR0: which registers the system saves; 1, 2: SSE and AVX, 5…7: AVX-512.
    unsigned saved = 0;
    asm("xgetbv" : "=a"(saved), "=d"(d) : "c"(0));
    seen.avx = has(saved, 0x06);
    if (!seen.avx || __get_cpuid_count(7, 0, &a, &b, &c, &d) == 0) return seen;
    seen.avx2 = has(b, bit_AVX2 | bit_BMI2);
    seen.avx512 = seen.avx2 && has(saved, 0xe6) &&
                  has(b, bit_AVX512F | bit_AVX512CD | bit_AVX512DQ | bit_AVX512BW | bit_AVX512VL);
    seen.vaes = has(c, bit_VAES | bit_VPCLMULQDQ | bit_GFNI);
    return seen;
  }
};

using Kinds = std::array<Functions, 5>;

// Fastest first.
const Kinds& kinds(Cipher cipher) {
  static const Processor has = Processor::look();
#  define FARCALL_KIND(fits, bits, kind) \
    { fits, aes_gcm_pre_##bits##_##kind, aes_gcm_enc_##bits##_##kind, aes_gcm_dec_##bits##_##kind }
#  define FARCALL_KINDS(bits)                                                               \
    {                                                                                       \
      {                                                                                     \
        FARCALL_KIND(has.avx512&& has.vaes, bits, vaes_avx512),                             \
            FARCALL_KIND(has.avx512, bits, avx512), FARCALL_KIND(has.avx2, bits, avx_gen4), \
            FARCALL_KIND(has.avx, bits, avx_gen2), FARCALL_KIND(has.aes, bits, sse)         \
      }                                                                                     \
    }
  static const std::array<Kinds, kCiphers> all = {{FARCALL_KINDS(256), FARCALL_KINDS(128)}};
#  undef FARCALL_KINDS
#  undef FARCALL_KIND
  return all[static_cast<std::size_t>(cipher)];
}

// Null when there are no more.
const Functions* functions(Cipher cipher, std::size_t slower) {
  for (const Functions& each : kinds(cipher)) {
    if (each.fits && slower-- == 0) return &each;
  }
  return nullptr;
}

// Key schedule, powers of the hash key, and the state of the record under way.
struct Secret {
  gcm_key_data key;
  gcm_context_data context;
};

class IpsecMbAead final : public Aead {
 public:
  IpsecMbAead(const Functions& direct, SecureBuffer secret, AeadKey key)
      : direct_(direct), secret_(std::move(secret)) {
    new (secret_.data()) Secret;
    direct_.prepare(key.data(), &at()->key);
  }

  bool seal(AeadNonce nonce, std::span<const std::byte> associated,
            std::span<const std::byte> plain, std::span<std::byte> sealed) override {
    direct_.seal(&at()->key, &at()->context, bytes(sealed.data()), bytes(plain.data()),
                 plain.size(), bytes(nonce.data()), bytes(associated.data()), associated.size(),
                 bytes(sealed.data()) + plain.size(), limits::kRecordTagBytes);
    return true;
  }

  bool open(AeadNonce nonce, std::span<const std::byte> associated,
            std::span<const std::byte> sealed, std::span<std::byte> plain) override {
    // The tag is read once: sealed may be memory that the peer can still write to.
    std::array<std::byte, limits::kRecordTagBytes> claimed;
    std::copy_n(sealed.data() + plain.size(), claimed.size(), claimed.data());
    std::array<std::byte, limits::kRecordTagBytes> computed;
    direct_.open(&at()->key, &at()->context, bytes(plain.data()), bytes(sealed.data()),
                 plain.size(), bytes(nonce.data()), bytes(associated.data()), associated.size(),
                 bytes(computed.data()), computed.size());
    // The library leaves the comparison to its caller.
    const bool right = CRYPTO_memcmp(computed.data(), claimed.data(), claimed.size()) == 0;
    wipe(computed);  // the right tag of a forged record is worth having
    return right;
  }

 private:
  static std::uint8_t* bytes(std::byte* at) { return reinterpret_cast<std::uint8_t*>(at); }
  // An empty span may have no address, which the library refuses even for no bytes.
  static const std::uint8_t* bytes(const std::byte* at) {
    static constexpr std::uint8_t kNothing = 0;
    return at == nullptr ? &kNothing : reinterpret_cast<const std::uint8_t*>(at);
  }
  Secret* at() { return reinterpret_cast<Secret*>(secret_.data()); }

  const Functions direct_;
  SecureBuffer secret_;
};

}  // namespace

Result<std::unique_ptr<Aead>> make_ipsec_mb_aead(AeadKey key, Cipher cipher, std::size_t slower) {
  const Functions* direct = functions(cipher, slower);
  if (direct == nullptr) {
    return Status(Code::kUnsupported, "ipsec-mb needs a processor with AES instructions");
  }
  Result<SecureBuffer> secret = make_key_buffer(sizeof(Secret));
  if (!secret.ok()) return secret.status();
  return std::unique_ptr<Aead>(
      std::make_unique<IpsecMbAead>(*direct, std::move(secret).value(), key));
}

}  // namespace farcall::link

#else

namespace farcall::link {

Result<std::unique_ptr<Aead>> make_ipsec_mb_aead(AeadKey, Cipher, std::size_t) {
  return Status(Code::kUnsupported, "this build has no ipsec-mb");
}

}  // namespace farcall::link
#endif
