#include "security/token_module.h"

#include <algorithm>

namespace farcall::security {
namespace {

constexpr CK_ULONG kSlotsMax = 256;
constexpr std::size_t kAttributeBytesMax = 4096;
// DER of the object identifier of P-256, 1.2.840.10045.3.1.7.
constexpr std::array<std::uint8_t, 10> kP256 = {0x06, 0x08, 0x2a, 0x86, 0x48,
                                                0xce, 0x3d, 0x03, 0x01, 0x07};

// Of a fixed field that is filled up with blanks.
template <std::size_t kBytes>
std::string text_of(const CK_UTF8CHAR (&field)[kBytes]) {
  std::string text(reinterpret_cast<const char*>(field), kBytes);
  text.erase(text.find_last_not_of(std::string(" \0", 2)) + 1);
  return text;
}

std::string words_for(CK_RV why) {
  const char* text = p11_kit_strerror(why);
  return text != nullptr ? text : "error " + std::to_string(why);
}

Result<std::vector<CK_SLOT_ID>> slots_of(CK_FUNCTION_LIST* calls) {
  CK_ULONG count = 0;
  CK_RV done = calls->C_GetSlotList(CK_TRUE, nullptr, &count);
  std::vector<CK_SLOT_ID> slots(std::min(count, kSlotsMax));
  count = static_cast<CK_ULONG>(slots.size());
  if (done == CKR_OK && count != 0) done = calls->C_GetSlotList(CK_TRUE, slots.data(), &count);
  if (done != CKR_OK) return Status(Code::kSystem, "list its tokens: " + words_for(done));
  slots.resize(std::min<std::size_t>(slots.size(), count));
  return slots;
}

std::string said_of(const std::vector<std::string>& names) {
  if (names.empty()) return "there is none";
  std::string all = "there is";
  for (const std::string& name : names)
    all += (&name == &names.front() ? " \"" : ", \"") + name + "\"";
  return all;
}

CK_ATTRIBUTE flag(CK_ATTRIBUTE_TYPE type, CK_BBOOL* value) { return {type, value, sizeof *value}; }
// PKCS #11 takes what it only reads by pointers that are not const.
CK_ATTRIBUTE bytes(CK_ATTRIBUTE_TYPE type, std::span<const std::byte> value) {
  return {type, const_cast<std::byte*>(value.data()), static_cast<CK_ULONG>(value.size())};
}

// What the token says about PINs, after one was refused.
std::string tries_left(const Result<CK_FLAGS>& flags) {
  if (!flags.ok()) return "how many tries are left it does not say";
  if ((flags.value() & CKF_USER_PIN_LOCKED) != 0) return "it is locked now: its officer unlocks it";
  if ((flags.value() & CKF_USER_PIN_FINAL_TRY) != 0) return "one try is left, then it locks";
  if ((flags.value() & CKF_USER_PIN_COUNT_LOW) != 0) {
    return "it counts wrong ones, and few tries may be left before it locks";
  }
  return "it does not say how many tries are left";
}

}  // namespace

Result<std::shared_ptr<TokenModules>> TokenModules::load(const std::string& path) {
  std::shared_ptr<TokenModules> modules(new TokenModules);
  p11_kit_be_quiet();  // what it would print, the errors here say
  if (path.empty()) {
    modules->registered_ = p11_kit_modules_load_and_initialize(0);
    for (CK_FUNCTION_LIST** at = modules->registered_; at != nullptr && *at != nullptr; ++at) {
      modules->modules_.push_back(*at);
    }
    if (!modules->modules_.empty()) return modules;
    return Status(Code::kNotFound,
                  "no PKCS#11 module is registered here (p11-kit list-modules): name the one of "
                  "your token, --pkcs11-module /usr/lib/softhsm/libsofthsm2.so for SoftHSM2");
  }
  if (path.front() != '/') {
    return Status(Code::kUnsupported, "a PKCS#11 module is named by its whole path, not " + path);
  }
  modules->single_ = p11_kit_module_load(path.c_str(), 0);
  if (modules->single_ == nullptr) {
    const char* why = p11_kit_message();
    return Status(Code::kNotFound, "cannot load the PKCS#11 module " + path + ": " +
                                       (why != nullptr ? why : "no reason given"));
  }
  if (const CK_RV done = p11_kit_module_initialize(modules->single_); done != CKR_OK) {
    p11_kit_module_release(modules->single_);
    modules->single_ = nullptr;
    return Status(Code::kSystem,
                  "the PKCS#11 module " + path + " does not start: " + words_for(done));
  }
  modules->modules_.push_back(modules->single_);
  return modules;
}

TokenModules::~TokenModules() {
  if (registered_ != nullptr) p11_kit_modules_finalize_and_release(registered_);
  if (single_ == nullptr) return;
  p11_kit_module_finalize(single_);
  p11_kit_module_release(single_);
}

Result<CK_FLAGS> Token::flags() const {
  CK_TOKEN_INFO info{};
  const CK_RV done = calls->C_GetTokenInfo(slot, &info);
  if (done != CKR_OK) return Status(Code::kSystem, "token " + label + ": " + words_for(done));
  return info.flags;
}

Result<Token> find_token(const std::shared_ptr<TokenModules>& modules, P11KitUri* uri) {
  std::vector<Token> found;
  std::vector<std::string> seen;
  std::string trouble;
  for (CK_FUNCTION_LIST* calls : modules->all()) {
    Result<std::vector<CK_SLOT_ID>> slots = slots_of(calls);
    if (!slots.ok()) {
      trouble += "; a module could not " + slots.status().text();
      continue;
    }
    for (const CK_SLOT_ID slot : slots.value()) {
      CK_TOKEN_INFO info{};
      if (calls->C_GetTokenInfo(slot, &info) != CKR_OK) continue;
      if ((info.flags & CKF_TOKEN_INITIALIZED) == 0) continue;
      seen.push_back(text_of(info.label));
      if (p11_kit_uri_match_token_info(uri, &info) != 1) continue;
      found.push_back({modules, calls, slot, seen.back(), text_of(info.serialNumber)});
    }
  }
  if (found.size() == 1) return found.front();
  if (found.empty()) {
    return Status(Code::kNotFound, "no token is as the key's URI says: " + said_of(seen) + trouble);
  }
  return Status(Code::kDenied, std::to_string(found.size()) +
                                   " tokens are as the key's URI says: name one with token= or "
                                   "serial=; " +
                                   said_of(seen));
}

Result<std::unique_ptr<TokenSession>> TokenSession::open(const Token& token, bool writes) {
  CK_SESSION_HANDLE handle = 0;
  const CK_FLAGS how = CKF_SERIAL_SESSION | (writes ? CKF_RW_SESSION : CK_FLAGS{0});
  const CK_RV done = token.calls->C_OpenSession(token.slot, how, nullptr, nullptr, &handle);
  if (done != CKR_OK) {
    return Status(Code::kSystem, "token " + token.label +
                                     " cannot be talked to (was it removed?): " + words_for(done));
  }
  return std::unique_ptr<TokenSession>(new TokenSession(token, handle));
}

TokenSession::~TokenSession() { token_.calls->C_CloseSession(handle_); }

Status TokenSession::failure(const std::string& doing, CK_RV why) const {
  const bool gone = why == CKR_DEVICE_REMOVED || why == CKR_TOKEN_NOT_PRESENT ||
                    why == CKR_SESSION_HANDLE_INVALID || why == CKR_SESSION_CLOSED;
  return {Code::kSystem, "token " + token_.label + ": " + doing + ": " + words_for(why) +
                             (gone ? ": it was removed; put it back" : "")};
}

Status TokenSession::login(const SecureBuffer* pin) {
  auto* at = pin == nullptr ? nullptr : reinterpret_cast<CK_UTF8CHAR*>(pin->data());
  const auto length = pin == nullptr ? CK_ULONG{0} : static_cast<CK_ULONG>(pin->size());
  const CK_RV done = token_.calls->C_Login(handle_, CKU_USER, at, length);
  if (done == CKR_OK || done == CKR_USER_ALREADY_LOGGED_IN) return ok();
  if (done == CKR_PIN_INCORRECT || done == CKR_PIN_LEN_RANGE || done == CKR_PIN_INVALID) {
    return {Code::kDenied,
            "token " + token_.label + " refuses the PIN; " + tries_left(token_.flags())};
  }
  if (done == CKR_PIN_LOCKED) {
    return {Code::kDenied, "the PIN of token " + token_.label +
                               " is locked after wrong ones: its officer unlocks it"};
  }
  return failure("log in", done);
}

Result<std::vector<CK_OBJECT_HANDLE>> TokenSession::find(std::vector<CK_ATTRIBUTE> what) {
  CK_FUNCTION_LIST* calls = token_.calls;
  CK_RV done = calls->C_FindObjectsInit(handle_, what.data(), static_cast<CK_ULONG>(what.size()));
  if (done != CKR_OK) return failure("look for a key", done);
  std::array<CK_OBJECT_HANDLE, 2> found{};
  CK_ULONG count = 0;
  done = calls->C_FindObjects(handle_, found.data(), found.size(), &count);
  calls->C_FindObjectsFinal(handle_);
  if (done != CKR_OK) return failure("look for a key", done);
  count = std::min<CK_ULONG>(count, found.size());
  return std::vector<CK_OBJECT_HANDLE>(found.begin(), found.begin() + count);
}

Result<std::vector<std::byte>> TokenSession::attribute(CK_OBJECT_HANDLE object,
                                                       CK_ATTRIBUTE_TYPE type) {
  std::vector<std::byte> value(kAttributeBytesMax);
  CK_ATTRIBUTE asked{type, value.data(), static_cast<CK_ULONG>(value.size())};
  const CK_RV done = token_.calls->C_GetAttributeValue(handle_, object, &asked, 1);
  if (done == CKR_ATTRIBUTE_TYPE_INVALID || done == CKR_ATTRIBUTE_SENSITIVE) {
    return Status(Code::kNotFound, "token " + token_.label + " does not tell");
  }
  if (done != CKR_OK || asked.ulValueLen > value.size()) return failure("read a key's facts", done);
  value.resize(asked.ulValueLen);
  return value;
}

Status TokenSession::make_pair(const std::string& label, std::span<const std::byte> id) {
  CK_BBOOL yes = CK_TRUE;
  CK_BBOOL no = CK_FALSE;
  const std::span name = std::as_bytes(std::span(label));
  std::array open{flag(CKA_TOKEN, &yes), flag(CKA_VERIFY, &yes),
                  bytes(CKA_EC_PARAMS, std::as_bytes(std::span(kP256))), bytes(CKA_LABEL, name),
                  bytes(CKA_ID, id)};
  std::array closed{flag(CKA_TOKEN, &yes),      flag(CKA_PRIVATE, &yes), flag(CKA_SENSITIVE, &yes),
                    flag(CKA_EXTRACTABLE, &no), flag(CKA_SIGN, &yes),    bytes(CKA_LABEL, name),
                    bytes(CKA_ID, id)};
  CK_MECHANISM how{CKM_EC_KEY_PAIR_GEN, nullptr, 0};
  CK_OBJECT_HANDLE made[2] = {};
  const CK_RV done = token_.calls->C_GenerateKeyPair(
      handle_, &how, open.data(), static_cast<CK_ULONG>(open.size()), closed.data(),
      static_cast<CK_ULONG>(closed.size()), &made[0], &made[1]);
  return done == CKR_OK ? ok() : failure("make a P-256 key", done);
}

Result<std::array<std::byte, 64>> TokenSession::sign(CK_OBJECT_HANDLE key,
                                                     std::span<const std::byte> digest) {
  CK_MECHANISM how{CKM_ECDSA, nullptr, 0};
  CK_RV done = token_.calls->C_SignInit(handle_, &how, key);
  std::array<std::byte, 64> signature{};
  auto length = static_cast<CK_ULONG>(signature.size());
  if (done == CKR_OK) {
    auto* from = const_cast<CK_BYTE*>(reinterpret_cast<const CK_BYTE*>(digest.data()));
    done = token_.calls->C_Sign(handle_, from, static_cast<CK_ULONG>(digest.size()),
                                reinterpret_cast<CK_BYTE*>(signature.data()), &length);
  }
  if (done == CKR_OK && length != signature.size()) done = CKR_SIGNATURE_LEN_RANGE;
  if (done != CKR_OK) return failure("sign", done);
  return signature;
}

}  // namespace farcall::security
