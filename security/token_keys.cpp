#include "security/token_keys.h"

#include <openssl/ec.h>
#include <openssl/err.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <optional>
#include <utility>

#include "security/ca_parts.h"
#include "security/crypto.h"
#include "security/file.h"
#include "security/token_module.h"
#include "security/token_uri.h"
#include "transport/base/guarded.h"
#include "transport/base/key_memory.h"

namespace farcall::security {
namespace {

constexpr std::string_view kScheme = "pkcs11:";
constexpr std::size_t kPinBytesMax = 256;
constexpr std::size_t kIdBytes = 16;
constexpr std::size_t kHalfBytes = 32;  // of a signature, and of a point on P-256
constexpr std::size_t kPointBytes = 1 + 2 * kHalfBytes;

using EcKeyPtr = std::unique_ptr<EC_KEY, FreeWith<&EC_KEY_free>>;
using SignaturePtr = std::unique_ptr<ECDSA_SIG, FreeWith<&ECDSA_SIG_free>>;

// A P-256 key of a token, as OpenSSL signs with it: by a method of EC_KEY, which OpenSSL 3 has
// deprecated (OPENSSL_SUPPRESS_DEPRECATED) and keeps. It would have a whole provider instead.
class TokenKey : public HeldKey {
 public:
  // point: X9.62, uncompressed.
  static Result<std::shared_ptr<HeldKey>> make(std::unique_ptr<TokenSession> session,
                                               CK_OBJECT_HANDLE key,
                                               std::span<const std::byte> point);
  EVP_PKEY* get() const override { return key_.get(); }
  Status failure() const override { return failure_; }

 private:
  TokenKey(std::unique_ptr<TokenSession> session, CK_OBJECT_HANDLE key)
      : session_(std::move(session)), handle_(key) {}
  static const EC_KEY_METHOD* method();
  static int place();  // of the TokenKey in its EC_KEY
  static ECDSA_SIG* sign(const unsigned char* digest, int bytes, const BIGNUM*, const BIGNUM*,
                         EC_KEY* key);
  ECDSA_SIG* sign(std::span<const std::byte> digest, EC_KEY* key);

  std::unique_ptr<TokenSession> session_;
  const CK_OBJECT_HANDLE handle_;
  KeyPtr key_;
  Status failure_;
};

int TokenKey::place() {
  static const int index = EC_KEY_get_ex_new_index(0, nullptr, nullptr, nullptr, nullptr);
  return index;
}

const EC_KEY_METHOD* TokenKey::method() {
  static const EC_KEY_METHOD* const ours = [] {
    EC_KEY_METHOD* made = EC_KEY_METHOD_new(EC_KEY_OpenSSL());
    int (*whole)(int, const unsigned char*, int, unsigned char*, unsigned*, const BIGNUM*,
                 const BIGNUM*, EC_KEY*) = nullptr;
    EC_KEY_METHOD_get_sign(made, &whole, nullptr, nullptr);
    EC_KEY_METHOD_set_sign(made, whole, nullptr, &TokenKey::sign);
    return made;
  }();
  return ours;
}

ECDSA_SIG* TokenKey::sign(const unsigned char* digest, int bytes, const BIGNUM*, const BIGNUM*,
                          EC_KEY* key) {
  auto* self = static_cast<TokenKey*>(EC_KEY_get_ex_data(key, place()));
  if (self == nullptr || bytes < 0) return nullptr;
  return self->sign(std::as_bytes(std::span(digest, static_cast<std::size_t>(bytes))), key);
}

ECDSA_SIG* TokenKey::sign(std::span<const std::byte> digest, EC_KEY* key) {
  Result<std::array<std::byte, 64>> made = session_->sign(handle_, digest);
  if (!made.ok()) {
    failure_ = made.status();
    return nullptr;
  }
  const auto* bytes = reinterpret_cast<const unsigned char*>(made->data());
  SignaturePtr signature(ECDSA_SIG_new());
  BIGNUM* r = BN_bin2bn(bytes, kHalfBytes, nullptr);
  BIGNUM* s = BN_bin2bn(bytes + kHalfBytes, kHalfBytes, nullptr);
  if (signature == nullptr || ECDSA_SIG_set0(signature.get(), r, s) != 1) {
    BN_free(r);
    BN_free(s);
    return nullptr;
  }
  // A certificate that nobody can verify must not get as far as its holder.
  if (ECDSA_do_verify(reinterpret_cast<const unsigned char*>(digest.data()),
                      static_cast<int>(digest.size()), signature.get(), key) != 1) {
    failure_ = {Code::kDenied, "token " + session_->token().label +
                                   ": what it signed does not fit the public key beside the "
                                   "private one (another pair with the same id?)"};
    return nullptr;
  }
  return signature.release();
}

Result<std::shared_ptr<HeldKey>> TokenKey::make(std::unique_ptr<TokenSession> session,
                                                CK_OBJECT_HANDLE key,
                                                std::span<const std::byte> point) {
  std::shared_ptr<TokenKey> made(new TokenKey(std::move(session), key));
  EcKeyPtr ec(EC_KEY_new_by_curve_name(NID_X9_62_prime256v1));
  made->key_.reset(EVP_PKEY_new());
  const auto* at = reinterpret_cast<const unsigned char*>(point.data());
  if (ec == nullptr || made->key_ == nullptr || method() == nullptr ||
      EC_KEY_oct2key(ec.get(), at, point.size(), nullptr) != 1 ||
      EC_KEY_set_method(ec.get(), method()) != 1 ||
      EC_KEY_set_ex_data(ec.get(), place(), made.get()) != 1 ||
      EVP_PKEY_assign_EC_KEY(made->key_.get(), ec.get()) != 1) {
    return library_failure("use a token's key");
  }
  static_cast<void>(ec.release());
  return std::shared_ptr<HeldKey>(std::move(made));
}

// CKA_EC_POINT is an ASN.1 octet string, or what is in one: tokens differ.
std::optional<std::vector<std::byte>> point_in(std::vector<std::byte> value) {
  constexpr std::byte kOctetString{0x04};
  if (value.size() == kPointBytes + 2 && value[0] == kOctetString &&
      value[1] == std::byte{kPointBytes}) {
    value.erase(value.begin(), value.begin() + 2);
  }
  if (value.size() == kPointBytes && value[0] == std::byte{0x04}) return value;
  return std::nullopt;
}

// Without the line feed that an editor puts there.
Result<SecureBuffer> pin_in(const std::string& path) {
  Result<SecureBuffer> file = read_file(path, kPinBytesMax);
  if (!file.ok()) {
    return Status(file.status().code(), "the PIN: " + file.status().text());
  }
  std::size_t bytes = file->size();
  while (bytes > 0 && (file->data()[bytes - 1] == std::byte{'\n'} ||
                       file->data()[bytes - 1] == std::byte{'\r'})) {
    --bytes;
  }
  if (bytes == 0) return Status(Code::kDenied, "the PIN: " + path + " is empty");
  Result<SecureBuffer> pin = make_key_buffer(bytes);
  if (pin.ok()) std::memcpy(pin->data(), file->data(), bytes);
  return pin;
}

class TokenKeys : public KeyStore {
 public:
  explicit TokenKeys(PinPrompt prompt) : prompt_(std::move(prompt)) {}
  Result<std::shared_ptr<HeldKey>> open(const std::string& uri) override;
  Result<std::shared_ptr<HeldKey>> make(const std::string& uri) override;

 private:
  using Pin = std::shared_ptr<const SecureBuffer>;
  struct State {
    std::map<std::string, Pin> asked;       // what a prompt answered, by token
    std::map<std::string, Status> refused;  // by token
  };
  using SessionPtr = std::unique_ptr<TokenSession>;
  Result<SessionPtr> session(const TokenUri& uri, bool writes);
  Status log_in(TokenSession& session, const TokenUri& uri);
  Result<Pin> pin_of(const Token& token, CK_FLAGS flags, const std::string& file);

  const PinPrompt prompt_;
  Guarded<State> state_;
};

// Modules are started for each use: that is how they see tokens that come and go. Those that
// another key still uses p11-kit counts.
Result<TokenKeys::SessionPtr> TokenKeys::session(const TokenUri& uri, bool writes) {
  init_crypto();
  Result<std::shared_ptr<TokenModules>> modules = TokenModules::load(uri.module_path());
  if (!modules.ok()) return modules.status();
  Result<Token> token = find_token(modules.value(), uri.get());
  if (!token.ok()) return token.status();
  Result<SessionPtr> session = TokenSession::open(token.value(), writes);
  if (!session.ok()) return session;
  if (Status in = log_in(*session.value(), uri); !in.ok()) return in;
  return session;
}

Status TokenKeys::log_in(TokenSession& session, const TokenUri& uri) {
  const Token& token = session.token();
  Result<CK_FLAGS> flags = token.flags();
  if (!flags.ok()) return flags.status();
  if ((flags.value() & CKF_LOGIN_REQUIRED) == 0) return ok();
  {
    auto state = state_.lock();
    if (const auto at = state->refused.find(token.name()); at != state->refused.end()) {
      return {Code::kDenied, at->second.text() +
                                 "; it is not tried again by this program: start it anew with the "
                                 "right one"};
    }
  }
  const bool has_keypad = (flags.value() & CKF_PROTECTED_AUTHENTICATION_PATH) != 0;
  Result<Pin> pin = Pin();
  if (!has_keypad) pin = pin_of(token, flags.value(), uri.pin_file());
  if (!pin.ok()) return pin.status();
  Status in = session.login(pin->get());
  if (in.code() == Code::kDenied) state_.lock()->refused.emplace(token.name(), in);
  return in;
}

Result<TokenKeys::Pin> TokenKeys::pin_of(const Token& token, CK_FLAGS flags,
                                         const std::string& file) {
  if (!file.empty()) {
    if ((flags & CKF_USER_PIN_FINAL_TRY) != 0) {
      return Status(Code::kDenied, "token " + token.label +
                                       " has one try left before it locks, which is not spent on "
                                       "the PIN in " +
                                       file + ": log in once with its own tool");
    }
    Result<SecureBuffer> pin = pin_in(file);
    if (!pin.ok()) return pin.status();
    return std::make_shared<const SecureBuffer>(std::move(pin).value());
  }
  if (auto state = state_.lock(); state->asked.contains(token.name())) {
    return state->asked.at(token.name());
  }
  Result<SecureBuffer> pin = prompt_(token.label);
  if (!pin.ok()) return pin.status();
  auto kept = std::make_shared<const SecureBuffer>(std::move(pin).value());
  state_.lock()->asked.emplace(token.name(), kept);
  return Pin(std::move(kept));
}

std::vector<CK_ATTRIBUTE> of_class(CK_OBJECT_CLASS* kind, std::vector<CK_ATTRIBUTE> more) {
  more.push_back({CKA_CLASS, kind, sizeof *kind});
  return more;
}

// The key that the URI names, in a token that one is logged in to.
Result<std::shared_ptr<HeldKey>> key_in(std::unique_ptr<TokenSession> session,
                                        const TokenUri& uri) {
  const std::string& token = session->token().label;
  CK_OBJECT_CLASS secret = CKO_PRIVATE_KEY;
  auto keys = session->find(of_class(&secret, uri.attributes()));
  if (!keys.ok()) return keys.status();
  if (keys->size() != 1) {
    const bool none = keys->empty();
    return Status(none ? Code::kNotFound : Code::kDenied,
                  "token " + token + " has " + (none ? "no" : "more than one") +
                      " private key as the URI says (object=, id=); pkcs11-tool "
                      "--list-objects --login shows what it has");
  }
  auto id = session->attribute(keys->front(), CKA_ID);
  if (!id.ok()) return id.status();
  CK_OBJECT_CLASS open = CKO_PUBLIC_KEY;
  auto publics =
      session->find(of_class(&open, {{CKA_ID, id->data(), static_cast<CK_ULONG>(id->size())}}));
  if (!publics.ok()) return publics.status();
  if (publics->size() != 1) {
    return Status(Code::kNotFound, "token " + token +
                                       " has no public key beside the private one, of the same "
                                       "id, to know it by");
  }
  Status none = {Code::kUnsupported,
                 "the key in token " + token + " is no P-256 key, which all keys here are"};
  auto value = session->attribute(publics->front(), CKA_EC_POINT);
  if (!value.ok()) return none;
  std::optional<std::vector<std::byte>> point = point_in(std::move(value).value());
  if (!point) return none;
  const CK_OBJECT_HANDLE key = keys->front();
  return TokenKey::make(std::move(session), key, *point);
}

Result<std::shared_ptr<HeldKey>> TokenKeys::open(const std::string& uri) {
  Result<TokenUri> parsed = TokenUri::parse(uri);
  if (!parsed.ok()) return parsed.status();
  Result<SessionPtr> opened = session(parsed.value(), false);
  if (!opened.ok()) return opened.status();
  return key_in(std::move(opened).value(), parsed.value());
}

Result<std::shared_ptr<HeldKey>> TokenKeys::make(const std::string& uri) {
  Result<TokenUri> parsed = TokenUri::parse(uri);
  if (!parsed.ok()) return parsed.status();
  if (parsed->object().empty()) {
    return Status(Code::kUnsupported, "a key that is made needs a name: object= in its URI");
  }
  Result<SessionPtr> opened = session(parsed.value(), true);
  if (!opened.ok()) return opened.status();
  TokenSession& in = *opened.value();
  CK_OBJECT_CLASS secret = CKO_PRIVATE_KEY;
  auto there = in.find(of_class(&secret, parsed->attributes()));
  if (!there.ok()) return there.status();
  if (!there->empty()) {
    return Status(Code::kDenied, "token " + in.token().label + " has a key \"" + parsed->object() +
                                     "\" already: give another name, or use that one with "
                                     "--existing-keys");
  }
  std::vector<std::byte> id = parsed->id();
  if (id.empty()) {
    id.resize(kIdBytes);
    fill_random(id);
  }
  if (Status made = in.make_pair(parsed->object(), id); !made.ok()) return made;
  return key_in(std::move(opened).value(), parsed.value());
}

}  // namespace

std::shared_ptr<KeyStore> token_keys(PinPrompt prompt) {
  return std::make_shared<TokenKeys>(std::move(prompt));
}

bool is_token_uri(const std::string& text) { return text.starts_with(kScheme); }

Result<std::string> complete_token_uri(const std::string& uri, const TokenPlaces& places) {
  Result<TokenUri> parsed = TokenUri::parse(uri);
  if (!parsed.ok()) return parsed.status();
  for (const std::string* path : {&places.module, &places.pin_file}) {
    if (!path->empty() && path->front() != '/') {
      return Status(Code::kUnsupported, *path + " is kept for later: give its whole path");
    }
  }
  if (!places.module.empty()) parsed->set_module_path(places.module);
  if (!places.pin_file.empty()) parsed->set_pin_file(places.pin_file);
  return parsed->text();
}

}  // namespace farcall::security
