// PKCS#11 modules, the tokens in them, and sessions with a token.
//
//   Result<std::shared_ptr<TokenModules>> modules = TokenModules::load("/usr/lib/softhsm/…so");
//   Result<Token> token = find_token(modules.value(), uri);
//   Result<std::unique_ptr<TokenSession>> session = TokenSession::open(token.value(), false);
//   FARCALL_TRY(session.value()->login(pin));
//
// A module is code of the token's maker that runs in this process: it is loaded only once a URI
// asks for it, by an absolute path or as p11-kit is configured to.
// Owner: a session holds its token, and that its modules.  Threads: a session has one at a time.
// Source: PKCS #11 v2.40 (OASIS); URIs: RFC 7512.
#pragma once
#include <p11-kit/p11-kit.h>
#include <p11-kit/uri.h>

#include <array>
#include <cstddef>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "transport/base/secure_arena.h"
#include "transport/base/status.h"

namespace farcall::security {

// Those of one path, or all that p11-kit knows.
class TokenModules {
 public:
  // path: absolute, or empty.  Errors: kNotFound with what to do.
  static Result<std::shared_ptr<TokenModules>> load(const std::string& path);
  ~TokenModules();
  TokenModules(const TokenModules&) = delete;
  TokenModules& operator=(const TokenModules&) = delete;

  std::span<CK_FUNCTION_LIST* const> all() const { return modules_; }

 private:
  TokenModules() = default;
  CK_FUNCTION_LIST** registered_ = nullptr;  // p11-kit's, to give back
  CK_FUNCTION_LIST* single_ = nullptr;
  std::vector<CK_FUNCTION_LIST*> modules_;
};

struct Token {
  std::shared_ptr<TokenModules> modules;
  CK_FUNCTION_LIST* calls = nullptr;  // borrowed from `modules`
  CK_SLOT_ID slot = 0;
  std::string label;
  std::string serial;

  std::string name() const { return label + "/" + serial; }
  Result<CK_FLAGS> flags() const;
};

// The one token that the URI names.  Errors: kNotFound (with those that there are), kDenied (more
// than one).
Result<Token> find_token(const std::shared_ptr<TokenModules>& modules, P11KitUri* uri);

class TokenSession {
 public:
  static Result<std::unique_ptr<TokenSession>> open(const Token& token, bool writes);
  ~TokenSession();
  TokenSession(const TokenSession&) = delete;
  TokenSession& operator=(const TokenSession&) = delete;

  const Token& token() const { return token_; }
  // Who is logged in already stays so.
  //   pin  none: the token has a keypad of its own
  // Errors: kDenied with what is left of its tries; nothing is tried twice.
  Status login(const SecureBuffer* pin);
  // Handles of what has all of these attributes; at most two are looked for.
  Result<std::vector<CK_OBJECT_HANDLE>> find(std::vector<CK_ATTRIBUTE> what);
  // Errors: kNotFound when the object has none.
  Result<std::vector<std::byte>> attribute(CK_OBJECT_HANDLE object, CK_ATTRIBUTE_TYPE type);
  // A P-256 pair of that name, whose private half never leaves the token.
  Status make_pair(const std::string& label, std::span<const std::byte> id);
  // r and s, 32 bytes each.
  Result<std::array<std::byte, 64>> sign(CK_OBJECT_HANDLE key, std::span<const std::byte> digest);

 private:
  TokenSession(Token token, CK_SESSION_HANDLE handle) : token_(std::move(token)), handle_(handle) {}
  Status failure(const std::string& doing, CK_RV why) const;
  const Token token_;
  const CK_SESSION_HANDLE handle_;
};

}  // namespace farcall::security
