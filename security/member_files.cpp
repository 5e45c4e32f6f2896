#include "security/member_files.h"

#include <algorithm>
#include <cstring>

#include "security/ca_parts.h"
#include "security/crypto.h"
#include "security/file.h"
#include "transport/base/key_memory.h"

namespace farcall::security {
namespace {

Status no_good(const std::string& why) {
  return {Code::kDenied, "what the authority sent is no good: " + why};
}

Status verify(X509* leaf, const std::vector<X509Ptr>& chain, const std::string& ca_pem) {
  std::vector<X509Ptr> roots = certificates_in(bytes_of(ca_pem));
  StorePtr store(X509_STORE_new());
  StoreContextPtr verification(X509_STORE_CTX_new());
  STACK_OF(X509)* between = sk_X509_new_null();
  for (const X509Ptr& root : roots) X509_STORE_add_cert(store.get(), root.get());
  for (std::size_t i = 1; i < chain.size(); ++i) sk_X509_push(between, chain[i].get());
  X509_STORE_CTX_init(verification.get(), store.get(), leaf, between);
  const bool good = X509_verify_cert(verification.get()) == 1;
  const int error = X509_STORE_CTX_get_error(verification.get());
  sk_X509_free(between);
  take_crypto_error();
  if (good) return ok();
  return no_good(explain_verification(error, unix_seconds(X509_get0_notAfter(leaf)), "it"));
}

}  // namespace

Status check_pair(const std::string& chain_pem, std::span<const std::byte> key_pem,
                  const std::string& ca_pem, const std::string& name) {
  const std::vector<X509Ptr> chain = certificates_in(bytes_of(chain_pem));
  if (chain.empty()) return no_good("there is no certificate in it");
  X509* leaf = chain.front().get();
  Result<PeerIdentity> who = identity_of(leaf);
  if (!who.ok()) return no_good(who.status().text());
  const bool is_named =
      name.empty() ? who->kind == IdentityKind::kServer : identity_uri(who.value()) == name;
  if (!is_named) return no_good("it is for " + identity_uri(who.value()));
  if (Result<KeyPtr> key = key_of(leaf, key_pem, "the new key"); !key.ok()) {
    return no_good("it is for another key");
  }
  return verify(leaf, chain, ca_pem);
}

Status replace_pair(const IdentityFiles& files, const std::string& chain_pem,
                    const SecureBuffer& key_pem) {
  Result<SecureBuffer> before = read_file(files.key_path);
  if (!before.ok()) return before.status();
  const bool is_same = before->size() == key_pem.size() &&
                       std::memcmp(before->data(), key_pem.data(), key_pem.size()) == 0;
  if (!is_same) {
    Result<SecureBuffer> both = make_key_buffer(before->size() + key_pem.size());
    if (!both.ok()) return both.status();
    std::memcpy(both->data(), before->data(), before->size());
    std::memcpy(both->data() + before->size(), key_pem.data(), key_pem.size());
    FARCALL_TRY(replace_file(files.key_path, both->bytes(), 0600));
  }
  FARCALL_TRY(replace_file(files.certificate_path, bytes_of(chain_pem), 0644));
  return is_same ? ok() : replace_file(files.key_path, key_pem.bytes(), 0600);
}

}  // namespace farcall::security
