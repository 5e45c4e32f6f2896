// The engine of OpenSSL's EVP.
#include <openssl/evp.h>

#include <algorithm>
#include <string>

#include "security/crypto.h"
#include "transport/link/engine_makers.h"

namespace farcall::link {
namespace {

const unsigned char* in(const std::byte* at) { return reinterpret_cast<const unsigned char*>(at); }
unsigned char* out_of(std::byte* at) { return reinterpret_cast<unsigned char*>(at); }

class EvpAead final : public Aead {
 public:
  explicit EvpAead(EVP_CIPHER_CTX* context) : context_(context) {}
  EvpAead(const EvpAead&) = delete;
  EvpAead& operator=(const EvpAead&) = delete;
  ~EvpAead() override { EVP_CIPHER_CTX_free(context_); }  // OpenSSL wipes the key schedule

  bool seal(AeadNonce nonce, std::span<const std::byte> associated,
            std::span<const std::byte> plain, std::span<std::byte> sealed) override {
    const int bytes = static_cast<int>(plain.size());
    unsigned char* text = out_of(sealed.data());
    int done = 0;
    return EVP_EncryptInit_ex2(context_, nullptr, nullptr, in(nonce.data()), nullptr) == 1 &&
           EVP_EncryptUpdate(context_, nullptr, &done, in(associated.data()),
                             static_cast<int>(associated.size())) == 1 &&
           (bytes == 0 || EVP_EncryptUpdate(context_, text, &done, in(plain.data()), bytes) == 1) &&
           EVP_EncryptFinal_ex(context_, text + bytes, &done) == 1 &&
           EVP_CIPHER_CTX_ctrl(context_, EVP_CTRL_AEAD_GET_TAG, limits::kRecordTagBytes,
                               text + bytes) == 1;
  }

  bool open(AeadNonce nonce, std::span<const std::byte> associated,
            std::span<const std::byte> sealed, std::span<std::byte> plain) override {
    const int bytes = static_cast<int>(plain.size());
    std::array<unsigned char, limits::kRecordTagBytes> tag;
    std::copy_n(in(sealed.data()) + bytes, tag.size(), tag.data());
    unsigned char end[limits::kRecordTagBytes];
    int done = 0;
    return EVP_DecryptInit_ex2(context_, nullptr, nullptr, in(nonce.data()), nullptr) == 1 &&
           EVP_DecryptUpdate(context_, nullptr, &done, in(associated.data()),
                             static_cast<int>(associated.size())) == 1 &&
           (bytes == 0 || EVP_DecryptUpdate(context_, out_of(plain.data()), &done,
                                            in(sealed.data()), bytes) == 1) &&
           EVP_CIPHER_CTX_ctrl(context_, EVP_CTRL_AEAD_SET_TAG, limits::kRecordTagBytes,
                               tag.data()) == 1 &&
           EVP_DecryptFinal_ex(context_, end, &done) == 1;  // compares in constant time
  }

 private:
  EVP_CIPHER_CTX* context_;
};

}  // namespace

Result<std::unique_ptr<Aead>> make_evp_aead(AeadKey key, Aead::Use use, Cipher cipher_wanted) {
  security::init_crypto();
  // Fetched by name each time: an Aead lives for 64 GiB, so this is not worth keeping.
  EVP_CIPHER* cipher = EVP_CIPHER_fetch(nullptr, to_string(cipher_wanted), nullptr);
  EVP_CIPHER_CTX* context = EVP_CIPHER_CTX_new();
  const int loaded = cipher == nullptr || context == nullptr
                         ? 0
                         : EVP_CipherInit_ex2(context, cipher, in(key.data()), nullptr,
                                              use == Aead::Use::kSeal ? 1 : 0, nullptr);
  EVP_CIPHER_free(cipher);
  auto aead = std::make_unique<EvpAead>(context);
  if (loaded != 1)
    return Status(Code::kSystem,
                  std::string(to_string(cipher_wanted)) + ": " + security::take_crypto_error());
  return std::unique_ptr<Aead>(std::move(aead));
}

}  // namespace farcall::link
