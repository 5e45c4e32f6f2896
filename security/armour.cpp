#include "security/armour.h"

#include <openssl/pem.h>

#include "security/crypto.h"
#include "security/x509.h"

namespace farcall::security {

Result<std::string> armoured(const char* label, std::span<const std::byte> bytes) {
  init_crypto();
  BioPtr bio(BIO_new(BIO_s_mem()));
  const auto* data = reinterpret_cast<const unsigned char*>(bytes.data());
  if (PEM_write_bio(bio.get(), label, "", data, static_cast<long>(bytes.size())) <= 0) {
    return Status(Code::kSystem, "write PEM: " + take_crypto_error());
  }
  char* text = nullptr;
  const long length = BIO_get_mem_data(bio.get(), &text);
  return std::string(text, static_cast<std::size_t>(length));
}

void ArmourReader::Free::operator()(bio_st* bio) const { BIO_free_all(bio); }

Result<ArmourReader> ArmourReader::open(const std::string& path, const char* label,
                                        std::size_t bytes_max) {
  Result<SecureBuffer> file = read_file(path, bytes_max);
  if (!file.ok()) return file.status();
  init_crypto();
  Text text(BIO_new(BIO_s_mem()));
  if (!text || BIO_write(text.get(), file->data(), static_cast<int>(file->size())) <= 0) {
    return Status(Code::kSystem, "read " + path + ": " + take_crypto_error());
  }
  return ArmourReader(std::move(text), label);
}

bool ArmourReader::next(std::vector<std::byte>* bytes) {
  for (;;) {
    char* name = nullptr;
    char* header = nullptr;
    unsigned char* data = nullptr;
    long length = 0;
    if (PEM_read_bio(text_.get(), &name, &header, &data, &length) != 1) {
      take_crypto_error();  // the end of the file is one, to OpenSSL
      return false;
    }
    const bool is_it = std::string_view(name) == label_ && *header == 0;
    const auto block = std::as_bytes(std::span(data, static_cast<std::size_t>(length)));
    if (is_it) bytes->assign(block.begin(), block.end());
    OPENSSL_free(name);
    OPENSSL_free(header);
    OPENSSL_free(data);
    if (is_it) return true;
  }
}

}  // namespace farcall::security
