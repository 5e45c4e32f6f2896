// Keys of authorities in tokens: smart cards, HSMs, SoftHSM2; whatever has a PKCS#11 module.
//
//   Result<std::string> uri = complete_token_uri("pkcs11:token=lab;object=root", {.module = path});
//   std::shared_ptr<KeyStore> keys = token_keys(&ask_on_the_terminal);
//   Result<CaFolder> ca = CaFolder::open("ca", keys);
//
// A key is named by a URI (RFC 7512): pkcs11:token=LABEL;object=LABEL and what else tells it from
// others (id, serial, manufacturer, model), ?module-path=FILE&pin-source=file:PATH. Modules are
// loaded when a key is first asked for. The PIN comes from the file, or is asked for once; one
// that was refused is not tried again by this store, because tokens lock after a few.
// P-256 keys only, like everything here. The key's public half must lie in the token, too.
// Why PKCS#11 itself and no engine of OpenSSL: Debian 12 has no provider for it, the engine can
// make no such keys, says nothing of why a PIN was refused, and engines are on their way out.
// Owner: whoever holds the pointer.  Threads: any; each key one at a time.
#pragma once
#include <functional>
#include <memory>
#include <string>

#include "security/key_store.h"
#include "transport/base/secure_arena.h"

namespace farcall::security {

// Asks whoever sits there for the PIN of the token with that label.  Errors: kUnsupported when
// nobody does.
using PinPrompt = std::function<Result<SecureBuffer>(const std::string& label)>;

std::shared_ptr<KeyStore> token_keys(PinPrompt prompt);

// Is it of a token's key? It starts with "pkcs11:".
bool is_token_uri(const std::string& text);

// A URI as it is kept beside the certificate: checked, and with where module and PIN are.
//   module, pin_file  absolute paths, or empty: as the URI has it
// Errors: kUnsupported with what is wrong, for one with a PIN in it as well: command lines are
// seen.
struct TokenPlaces {
  std::string module{};
  std::string pin_file{};
};
Result<std::string> complete_token_uri(const std::string& uri, const TokenPlaces& places);

}  // namespace farcall::security
