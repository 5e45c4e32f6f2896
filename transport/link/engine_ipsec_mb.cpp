// The engine of Intel's ipsec-mb, by its direct functions: one call seals or opens one record.
#include <algorithm>
#include <new>

#include "transport/base/secure_arena.h"
#include "transport/link/engine_makers.h"

#ifdef FARCALL_IPSEC_MB
#  include <intel-ipsec-mb.h>
#  include <openssl/crypto.h>

namespace farcall::link {
namespace {

// The direct functions for this processor. They keep nothing between calls, so all threads share
// them. They are taken from a job manager of 200 KiB, which then goes: no key and no text ever
// reaches one.
struct Functions {
  aes_gcm_pre_t prepare = nullptr;
  aes_gcm_enc_dec_t seal = nullptr;
  aes_gcm_enc_dec_t open = nullptr;
};

const Functions& functions() {
  static const Functions found = [] {
    Functions direct;
    IMB_MGR* manager = alloc_mb_mgr(0);
    if (manager == nullptr) return direct;
    init_mb_mgr_auto(manager, nullptr);
    constexpr std::uint64_t kNeeded = IMB_FEATURE_AESNI | IMB_FEATURE_PCLMULQDQ;
    if (imb_get_errno(manager) == 0 && (manager->features & kNeeded) == kNeeded) {
      direct = {manager->gcm256_pre, manager->gcm256_enc, manager->gcm256_dec};
    }
    free_mb_mgr(manager);
    return direct;
  }();
  return found;
}

// Key schedule, powers of the hash key, and the state of the record under way.
struct Secret {
  gcm_key_data key;
  gcm_context_data context;
};

class IpsecMbAead final : public Aead {
 public:
  IpsecMbAead(SecureBuffer secret, AeadKey key) : secret_(std::move(secret)) {
    new (secret_.data()) Secret;
    functions().prepare(key.data(), &at()->key);
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

  const Functions direct_ = functions();
  SecureBuffer secret_;
};

}  // namespace

Result<std::unique_ptr<Aead>> make_ipsec_mb_aead(AeadKey key) {
  if (functions().seal == nullptr) {
    return Status(Code::kUnsupported, "ipsec-mb needs a processor with AES instructions");
  }
  Result<SecureBuffer> secret = SecureBuffer::make(sizeof(Secret));
  if (!secret.ok()) return secret.status();
  return std::unique_ptr<Aead>(std::make_unique<IpsecMbAead>(std::move(secret).value(), key));
}

}  // namespace farcall::link

#else

namespace farcall::link {

Result<std::unique_ptr<Aead>> make_ipsec_mb_aead(AeadKey) {
  return Status(Code::kUnsupported, "this build has no ipsec-mb");
}

}  // namespace farcall::link
#endif
