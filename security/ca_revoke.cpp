#include "security/ca_revoke.h"

#include <openssl/pem.h>

#include <algorithm>
#include <ctime>

#include "security/ca_parts.h"
#include "security/crypto.h"
#include "transport/base/limits_identity.h"

namespace farcall::security {
namespace {

using NumberPtr = std::unique_ptr<ASN1_INTEGER, FreeWith<&ASN1_INTEGER_free>>;
using KeyIdPtr = std::unique_ptr<AUTHORITY_KEYID, FreeWith<&AUTHORITY_KEYID_free>>;
using BigPtr = std::unique_ptr<BIGNUM, FreeWith<&BN_free>>;
using TimePtr = std::unique_ptr<ASN1_TIME, FreeWith<&ASN1_TIME_free>>;
using ReasonPtr = std::unique_ptr<ASN1_ENUMERATED, FreeWith<&ASN1_ENUMERATED_free>>;
using EntryPtr = std::unique_ptr<X509_REVOKED, FreeWith<&X509_REVOKED_free>>;
using ExtensionPtr = std::unique_ptr<X509_EXTENSION, FreeWith<&X509_EXTENSION_free>>;

struct Reason {
  const char* word;
  long number;
};
constexpr Reason kReasons[] = {
    {"key-compromise", CRL_REASON_KEY_COMPROMISE},
    {"authority-compromise", CRL_REASON_CA_COMPROMISE},
    {"affiliation-changed", CRL_REASON_AFFILIATION_CHANGED},
    {"superseded", CRL_REASON_SUPERSEDED},
    {"no-longer-used", CRL_REASON_CESSATION_OF_OPERATION},
    {"privilege-withdrawn", CRL_REASON_PRIVILEGE_WITHDRAWN},
};

// What a file held before, taken apart: this authority's list, and all else as text.
struct Before {
  CrlPtr own;
  std::string others;
};

Result<std::string> list_to_pem(X509_CRL* list) {
  BioPtr text(BIO_new(BIO_s_mem()));
  if (PEM_write_bio_X509_CRL(text.get(), list) != 1) return library_failure("write PEM");
  char* at = nullptr;
  const long bytes = BIO_get_mem_data(text.get(), &at);
  return std::string(at, static_cast<std::size_t>(bytes));
}

// Does the list say that this authority made it, by name and key?
bool claims(X509_CRL* list, const Authority& authority) {
  if (X509_NAME_cmp(X509_CRL_get_issuer(list),
                    X509_get_subject_name(authority.certificate.get())) != 0) {
    return false;
  }
  KeyIdPtr stated(static_cast<AUTHORITY_KEYID*>(
      X509_CRL_get_ext_d2i(list, NID_authority_key_identifier, nullptr, nullptr)));
  return !stated || key_id_text(stated->keyid) ==
                        key_id_text(X509_get0_subject_key_id(authority.certificate.get()));
}

// Of a predecessor all of whose leaves have expired by now. Of the root it is kept, and refused by
// whoever reads it: what it denies may be alive.
bool is_done_with(X509_CRL* list, const Authority& authority, std::int64_t now) {
  const ASN1_TIME* until = X509_CRL_get0_nextUpdate(list);
  return until != nullptr && unix_seconds(until) < now &&
         X509_NAME_cmp(X509_CRL_get_issuer(list),
                       X509_get_issuer_name(authority.certificate.get())) != 0;
}

Result<Before> take_apart(const std::string& text, const Authority& authority) {
  Before before;
  if (text.empty()) return before;
  Result<std::vector<CrlPtr>> lists = revocation_lists_in(bytes_of(text), limits::kDenyListsMax);
  if (!lists.ok()) return lists.status();
  EVP_PKEY* key = X509_get0_pubkey(authority.certificate.get());
  for (CrlPtr& list : lists.value()) {
    if (X509_CRL_verify(list.get(), key) == 1) {
      before.own = std::move(list);
      continue;
    }
    take_crypto_error();
    if (claims(list.get(), authority)) {
      return Status(Code::kDenied, "the former deny list was changed since it was signed");
    }
    if (is_done_with(list.get(), authority, std::time(nullptr))) continue;
    Result<std::string> pem = list_to_pem(list.get());
    if (!pem.ok()) return pem.status();
    before.others += pem.value();
  }
  for (const X509Ptr& certificate : certificates_in(bytes_of(text))) {
    if (X509_cmp(certificate.get(), authority.certificate.get()) == 0) continue;
    Result<std::string> pem = certificate_to_pem(certificate.get());
    if (!pem.ok()) return pem.status();
    before.others += pem.value();
  }
  return before;
}

std::uint64_t number_of(const X509_CRL* list) {
  if (list == nullptr) return 0;
  std::uint64_t number = 0;
  NumberPtr held(
      static_cast<ASN1_INTEGER*>(X509_CRL_get_ext_d2i(list, NID_crl_number, nullptr, nullptr)));
  if (held) ASN1_INTEGER_get_uint64(&number, held.get());
  return number;
}

Result<EntryPtr> make_entry(const Revocation& one) {
  EntryPtr entry(X509_REVOKED_new());
  BIGNUM* parsed = nullptr;
  const bool hex = !one.serial.empty() && one.serial.size() <= 2 * limits::kSerialBytesMax &&
                   one.serial.find_first_not_of("0123456789abcdefABCDEF") == std::string::npos &&
                   BN_hex2bn(&parsed, one.serial.c_str()) != 0;
  BigPtr big(parsed);
  if (!hex) {
    return Status(Code::kUnsupported, "\"" + one.serial + "\" is no serial number in hexadecimal");
  }
  NumberPtr serial(BN_to_ASN1_INTEGER(big.get(), nullptr));
  TimePtr at(ASN1_TIME_set(nullptr, one.at));
  if (!entry || !serial || !at || X509_REVOKED_set_serialNumber(entry.get(), serial.get()) != 1 ||
      X509_REVOKED_set_revocationDate(entry.get(), at.get()) != 1) {
    return library_failure("make an entry of a deny list");
  }
  if (one.reason.empty()) return entry;
  const auto* known = std::find_if(std::begin(kReasons), std::end(kReasons),
                                   [&](const Reason& reason) { return one.reason == reason.word; });
  if (known == std::end(kReasons)) {
    return Status(Code::kUnsupported, "\"" + one.reason + "\" is no reason that is known");
  }
  ReasonPtr reason(ASN1_ENUMERATED_new());
  if (!reason || ASN1_ENUMERATED_set(reason.get(), known->number) != 1 ||
      X509_REVOKED_add1_ext_i2d(entry.get(), NID_crl_reason, reason.get(), 0, 0) != 1) {
    return library_failure("give a reason in a deny list");
  }
  return entry;
}

bool holds(X509_CRL* list, const X509_REVOKED* entry) {
  X509_REVOKED* found = nullptr;
  return X509_CRL_get0_by_serial(list, &found, X509_REVOKED_get0_serialNumber(entry)) != 0;
}

Status add(X509_CRL* list, EntryPtr entry) {
  if (holds(list, entry.get())) return ok();
  if (X509_CRL_add0_revoked(list, entry.get()) != 1) return library_failure("fill a deny list");
  static_cast<void>(entry.release());
  return ok();
}

Status keep_former(X509_CRL* list, X509_CRL* former, bool for_ever, std::int64_t now) {
  if (former == nullptr) return ok();
  STACK_OF(X509_REVOKED)* entries = X509_CRL_get_REVOKED(former);
  for (int i = 0; i < sk_X509_REVOKED_num(entries); ++i) {
    X509_REVOKED* entry = sk_X509_REVOKED_value(entries, i);
    const std::int64_t at = unix_seconds(X509_REVOKED_get0_revocationDate(entry));
    // A leaf that was revoked that long ago has expired, and a day for clocks.
    if (!for_ever && at + (kLeafDaysMax + 1) * kDaySeconds < now) continue;
    EntryPtr copy(X509_REVOKED_dup(entry));
    if (!copy) return library_failure("fill a deny list");
    FARCALL_TRY(add(list, std::move(copy)));
  }
  return ok();
}

Status set_number(X509_CRL* list, std::uint64_t number) {
  NumberPtr held(ASN1_INTEGER_new());
  const bool set = held && ASN1_INTEGER_set_uint64(held.get(), number) == 1 &&
                   X509_CRL_add1_ext_i2d(list, NID_crl_number, held.get(), 0, 0) == 1;
  return set ? ok() : library_failure("number a deny list");
}

Status finish(X509_CRL* list, const Authority& authority, std::int64_t now, int days) {
  TimePtr made(ASN1_TIME_set(nullptr, now));
  TimePtr until(ASN1_TIME_set(nullptr, now + days * kDaySeconds));
  X509V3_CTX context{};
  X509V3_set_ctx(&context, authority.certificate.get(), nullptr, nullptr, list, 0);
  ExtensionPtr issuer(
      X509V3_EXT_conf_nid(nullptr, &context, NID_authority_key_identifier, "keyid"));
  const bool done =
      made && until && issuer && X509_CRL_set_version(list, X509_CRL_VERSION_2) == 1 &&
      X509_CRL_set_issuer_name(list, X509_get_subject_name(authority.certificate.get())) == 1 &&
      X509_CRL_set1_lastUpdate(list, made.get()) == 1 &&
      X509_CRL_set1_nextUpdate(list, until.get()) == 1 &&
      X509_CRL_add_ext(list, issuer.get(), -1) == 1 && X509_CRL_sort(list) == 1;
  if (!done) return library_failure("make a deny list");
  const bool is_signed = X509_CRL_sign(list, authority.key.get(), EVP_sha256()) != 0;
  return is_signed ? ok() : authority.signing_failure("sign a deny list");
}

}  // namespace

const std::vector<std::string>& revocation_reasons() {
  static const std::vector<std::string> words = [] {
    std::vector<std::string> all;
    for (const Reason& reason : kReasons) all.emplace_back(reason.word);
    return all;
  }();
  return words;
}

Result<std::string> add_to_deny_list(const IssuedIdentity& authority, const std::string& before,
                                     std::span<const Revocation> more, int days) {
  Result<Authority> signer = Authority::read(authority);
  if (!signer.ok()) return signer.status();
  if (days < 1 || days > kCaDays) {
    return Status(Code::kUnsupported, "a deny list is good for 1 to 3650 days");
  }
  Result<Before> former = take_apart(before, signer.value());
  if (!former.ok()) return former.status();
  CrlPtr list(X509_CRL_new());
  if (!list) return library_failure("make a deny list");
  const std::int64_t now = std::time(nullptr);
  for (const Revocation& one : more) {
    Result<EntryPtr> entry = make_entry(one);
    if (!entry.ok()) return entry.status();
    if (Status added = add(list.get(), std::move(entry).value()); !added.ok()) return added;
  }
  Status done = keep_former(list.get(), former->own.get(), signer->is_root, now);
  if (!done.ok()) return done;
  if (sk_X509_REVOKED_num(X509_CRL_get_REVOKED(list.get())) >
      static_cast<int>(limits::kDeniedMax)) {
    return Status(Code::kOverQuota, "a deny list holds at most " +
                                        std::to_string(limits::kDeniedMax) + " certificates");
  }
  // By the clock, so that it grows even where the former list was lost.
  const std::uint64_t number =
      std::max(number_of(former->own.get()) + 1, static_cast<std::uint64_t>(now));
  if (done = set_number(list.get(), number); !done.ok()) return done;
  if (done = finish(list.get(), signer.value(), now, days); !done.ok()) return done;
  Result<std::string> pem = list_to_pem(list.get());
  if (!pem.ok()) return pem;
  std::string text = pem.value() + former->others;
  if (!signer->is_root) {
    Result<std::string> own = certificate_to_pem(signer->certificate.get());
    if (!own.ok()) return own;
    text += own.value();
  }
  return text;
}

}  // namespace farcall::security
