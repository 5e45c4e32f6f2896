// A PKCS#11 URI (RFC 7512) that names one key, taken apart by p11-kit.
//
//   Result<TokenUri> uri =
//   TokenUri::parse("pkcs11:token=lab;object=root?pin-source=file:/run/pin"); std::string path =
//   uri->pin_file();
//
// Owner: plain value, move-only.  Threads: one.
#pragma once
#include <p11-kit/uri.h>

#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include "transport/base/status.h"

namespace farcall::security {

class TokenUri {
 public:
  // Errors: kUnsupported with what is wrong, in words that repeat no PIN.
  static Result<TokenUri> parse(const std::string& text);

  P11KitUri* get() const { return held_.get(); }
  std::string module_path() const;    // empty: not said
  std::string pin_file() const;       // absolute; empty: not said
  std::string object() const;         // the key's label; empty: not said
  std::vector<std::byte> id() const;  // the same
  // What the URI says of the key, to look for it. Borrowed from this.
  std::vector<CK_ATTRIBUTE> attributes() const;
  void set_module_path(const std::string& path);
  void set_pin_file(const std::string& path);
  Result<std::string> text() const;

 private:
  struct Free {
    void operator()(P11KitUri* uri) const { p11_kit_uri_free(uri); }
  };
  std::unique_ptr<P11KitUri, Free> held_;
};

}  // namespace farcall::security
