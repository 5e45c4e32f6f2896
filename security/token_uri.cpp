#include "security/token_uri.h"

#include <cstdlib>

namespace farcall::security {
namespace {

constexpr std::string_view kFile = "file:";

Status wrong(const std::string& why) {
  return {Code::kUnsupported,
          why +
              "; a key in a token is named like "
              "pkcs11:token=lab;object=root?pin-source=file:/etc/farcall/pin (RFC 7512)"};
}

std::string text_or_empty(const char* text) { return text == nullptr ? "" : text; }

}  // namespace

Result<TokenUri> TokenUri::parse(const std::string& text) {
  TokenUri uri;
  uri.held_.reset(p11_kit_uri_new());
  if (uri.held_ == nullptr) return Status::system("read a URI", ENOMEM);
  const int parsed = p11_kit_uri_parse(text.c_str(), P11_KIT_URI_FOR_ANY, uri.get());
  if (parsed != P11_KIT_URI_OK) return wrong("the key's URI cannot be read");
  if (p11_kit_uri_any_unrecognized(uri.get()) != 0) {
    return wrong("the key's URI says things that are not known here, misspelt ones perhaps");
  }
  if (p11_kit_uri_get_pin_value(uri.get()) != nullptr) {
    return wrong(
        "the key's URI has the PIN itself in it (pin-value), where others can read it: "
        "use pin-source, and change that PIN");
  }
  const std::string source = text_or_empty(p11_kit_uri_get_pin_source(uri.get()));
  if (!source.empty() && uri.pin_file().empty()) {
    return wrong("the PIN is read from a file: pin-source=file:/absolute/path");
  }
  const std::string module = uri.module_path();
  if (!module.empty() && module.front() != '/') return wrong("module-path is an absolute path");
  if (p11_kit_uri_get_module_name(uri.get()) != nullptr) {
    return wrong("a module is named by its path (module-path), not by module-name");
  }
  if (uri.attributes().empty())
    return wrong("the key's URI names no key: object= or id= is missing");
  return uri;
}

std::string TokenUri::module_path() const {
  return text_or_empty(p11_kit_uri_get_module_path(get()));
}

std::string TokenUri::pin_file() const {
  std::string source = text_or_empty(p11_kit_uri_get_pin_source(get()));
  if (source.starts_with(kFile)) source.erase(0, kFile.size());
  while (source.starts_with("//")) source.erase(0, 1);  // file:///etc/pin
  return source.starts_with("/") ? source : "";
}

std::string TokenUri::object() const {
  const CK_ATTRIBUTE* label = p11_kit_uri_get_attribute(get(), CKA_LABEL);
  if (label == nullptr) return "";
  return {static_cast<const char*>(label->pValue), label->ulValueLen};
}

std::vector<std::byte> TokenUri::id() const {
  const CK_ATTRIBUTE* id = p11_kit_uri_get_attribute(get(), CKA_ID);
  if (id == nullptr) return {};
  const auto* at = static_cast<const std::byte*>(id->pValue);
  return {at, at + id->ulValueLen};
}

std::vector<CK_ATTRIBUTE> TokenUri::attributes() const {
  std::vector<CK_ATTRIBUTE> all;
  for (const CK_ATTRIBUTE_TYPE type : {CKA_LABEL, CKA_ID}) {
    if (const CK_ATTRIBUTE* one = p11_kit_uri_get_attribute(get(), type)) all.push_back(*one);
  }
  return all;
}

void TokenUri::set_module_path(const std::string& path) {
  p11_kit_uri_set_module_path(get(), path.c_str());
}

void TokenUri::set_pin_file(const std::string& path) {
  p11_kit_uri_set_pin_source(get(), (std::string(kFile) + path).c_str());
}

Result<std::string> TokenUri::text() const {
  char* written = nullptr;
  if (p11_kit_uri_format(get(), P11_KIT_URI_FOR_ANY, &written) != P11_KIT_URI_OK) {
    return wrong("the key's URI cannot be written");
  }
  std::string text = written;
  std::free(written);
  return text;
}

}  // namespace farcall::security
