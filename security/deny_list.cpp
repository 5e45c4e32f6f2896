// How it works: every list is first believed nothing. Its signer is looked for among the
// certificates of the CA file and of the list's own file, must be an authority that may sign lists,
// chain to the CA file and have signed exactly these bytes; only then are the entries read.
#include "security/deny_list.h"

#include <openssl/pem.h>

#include <algorithm>
#include <charconv>
#include <ctime>

#include "security/crypto.h"
#include "security/x509.h"
#include "transport/base/limits_identity.h"

namespace farcall::security {
namespace {

using NumberPtr = std::unique_ptr<ASN1_INTEGER, FreeWith<&ASN1_INTEGER_free>>;
using ReasonPtr = std::unique_ptr<ASN1_ENUMERATED, FreeWith<&ASN1_ENUMERATED_free>>;

Status wrong(const std::string& what) { return {Code::kDenied, what}; }

struct Signer {
  X509* certificate = nullptr;
  PeerIdentity who;
  std::string key_id;
};

// Everything that may have signed a list of this pool.
class Signers {
 public:
  Signers(std::span<const std::byte> authorities_pem, std::span<const std::byte> list_pem)
      : trusted_(certificates_in(authorities_pem)),
        beside_(certificates_in(list_pem)),
        store_(X509_STORE_new()) {
    for (const X509Ptr& one : trusted_) {
      if (store_) X509_STORE_add_cert(store_.get(), one.get());
    }
    take_crypto_error();
  }

  // The authority that signed this list; nothing when there is none.
  std::optional<Signer> of(X509_CRL* list) const {
    for (const auto* held : {&trusted_, &beside_}) {
      for (const X509Ptr& one : *held) {
        if (X509_NAME_cmp(X509_get_subject_name(one.get()), X509_CRL_get_issuer(list)) != 0) {
          continue;
        }
        if (!is_authority(one.get()) || !signed_by(list, one.get())) continue;
        Result<PeerIdentity> who = identity_of(one.get());
        const std::string key_id = key_id_text(X509_get0_subject_key_id(one.get()));
        if (!who.ok() || who->kind != IdentityKind::kAuthority || key_id.empty()) continue;
        return Signer{one.get(), std::move(who).value(), key_id};
      }
    }
    return std::nullopt;
  }

 private:
  static bool signed_by(X509_CRL* list, X509* authority) {
    const bool good = X509_CRL_verify(list, X509_get0_pubkey(authority)) == 1;
    take_crypto_error();
    return good;
  }

  bool is_authority(X509* certificate) const {
    if (X509_check_ca(certificate) == 0 || (X509_get_key_usage(certificate) & KU_CRL_SIGN) == 0) {
      return false;
    }
    StoreContextPtr verification(X509_STORE_CTX_new());
    if (!verification ||
        X509_STORE_CTX_init(verification.get(), store_.get(), certificate, nullptr) != 1) {
      return false;
    }
    const bool good = X509_verify_cert(verification.get()) == 1;
    take_crypto_error();
    return good;
  }

  std::vector<X509Ptr> trusted_;
  std::vector<X509Ptr> beside_;
  StorePtr store_;
};

std::string reason_text(long reason) {
  switch (reason) {
    case CRL_REASON_KEY_COMPROMISE: return "key compromise";
    case CRL_REASON_CA_COMPROMISE: return "compromise of the authority";
    case CRL_REASON_AFFILIATION_CHANGED: return "affiliation changed";
    case CRL_REASON_SUPERSEDED: return "superseded";
    case CRL_REASON_CESSATION_OF_OPERATION: return "no longer in use";
    case CRL_REASON_CERTIFICATE_HOLD: return "on hold";
    case CRL_REASON_PRIVILEGE_WITHDRAWN: return "privilege withdrawn";
    default: return "";
  }
}

Status read_number(X509_CRL* list, std::uint64_t* number) {
  int critical = -1;
  NumberPtr held(
      static_cast<ASN1_INTEGER*>(X509_CRL_get_ext_d2i(list, NID_crl_number, &critical, nullptr)));
  const bool read = held && ASN1_INTEGER_get_uint64(number, held.get()) == 1;
  take_crypto_error();
  return read ? ok() : wrong("the list has no number, so that an old one could not be told");
}

Status check_dates(X509_CRL* list, std::int64_t now, DeniedByOne* out) {
  const ASN1_TIME* until = X509_CRL_get0_nextUpdate(list);
  out->made = unix_seconds(X509_CRL_get0_lastUpdate(list));
  out->good_until = until == nullptr ? 0 : unix_seconds(until);
  if (out->made <= 0 || out->good_until <= 0) return wrong("the list has no dates");
  if (out->made > now + limits::kClockSlackSeconds) {
    return wrong("the list was made on " + date_text(out->made) +
                 ", which is yet to come; compare the clocks of the two machines");
  }
  if (out->good_until < now) {
    return wrong("the list was good until " + date_text(out->good_until) +
                 "; make a fresh one with `farcall ca deny-list`");
  }
  return ok();
}

// What a list or an entry says must be understood, we must understand; and we understand none.
template <class Get>
bool has_critical(int count, Get get) {
  for (int i = 0; i < count; ++i) {
    if (X509_EXTENSION_get_critical(get(i)) != 0) return true;
  }
  return false;
}

Status read_entries(X509_CRL* list, DeniedByOne* out) {
  STACK_OF(X509_REVOKED)* entries = X509_CRL_get_REVOKED(list);
  const int count = entries == nullptr ? 0 : sk_X509_REVOKED_num(entries);
  if (count > static_cast<int>(limits::kDeniedMax)) {
    return {Code::kOverQuota,
            "the list denies more than " + std::to_string(limits::kDeniedMax) + " certificates"};
  }
  for (int i = 0; i < count; ++i) {
    X509_REVOKED* entry = sk_X509_REVOKED_value(entries, i);
    const ASN1_INTEGER* serial = X509_REVOKED_get0_serialNumber(entry);
    const int bytes = ASN1_STRING_length(serial);
    if (bytes < 1 || bytes > static_cast<int>(limits::kSerialBytesMax)) {
      return wrong("the list denies a serial number of " + std::to_string(bytes) + " bytes");
    }
    if (has_critical(X509_REVOKED_get_ext_count(entry),
                     [&](int at) { return X509_REVOKED_get_ext(entry, at); })) {
      return wrong("an entry of the list says what must be understood and is not");
    }
    ReasonPtr reason(static_cast<ASN1_ENUMERATED*>(
        X509_REVOKED_get_ext_d2i(entry, NID_crl_reason, nullptr, nullptr)));
    Denial denial;
    denial.since = unix_seconds(X509_REVOKED_get0_revocationDate(entry));
    if (reason) denial.reason = reason_text(ASN1_ENUMERATED_get(reason.get()));
    out->serials.emplace(number_text(serial), std::move(denial));
  }
  take_crypto_error();
  return ok();
}

Result<DeniedByOne> read_list(X509_CRL* list, std::int64_t now) {
  DeniedByOne one;
  if (X509_CRL_get_version(list) != X509_CRL_VERSION_2) return wrong("the list is no X.509 v2 CRL");
  if (has_critical(X509_CRL_get_ext_count(list),
                   [&](int at) { return X509_CRL_get_ext(list, at); })) {
    return wrong("the list says what must be understood and is not (a part of a list, maybe)");
  }
  if (Status done = check_dates(list, now, &one); !done.ok()) return done;
  if (Status done = read_number(list, &one.number); !done.ok()) return done;
  if (Status done = read_entries(list, &one); !done.ok()) return done;
  return one;
}

}  // namespace

std::string explain_denial(const Denial& denial) {
  std::string text = "was revoked on " + date_text(denial.since);
  if (!denial.reason.empty()) text += " (" + denial.reason + ")";
  return text + ": ask for a new one";
}

Result<DeniedByIssuer> parse_deny_list(std::span<const std::byte> pem,
                                       std::span<const std::byte> authorities_pem,
                                       std::int64_t now) {
  init_crypto();
  if (pem.size() > limits::kDenyListBytesMax) {
    return Status(Code::kOverQuota, "a deny list of more than 1 MiB");
  }
  Result<std::vector<CrlPtr>> read = revocation_lists_in(pem, limits::kDenyListsMax);
  if (!read.ok()) return read.status();
  const std::vector<CrlPtr>& lists = read.value();
  const Signers signers(authorities_pem, pem);
  DeniedByIssuer all;
  std::vector<Signer> signed_by;
  for (const CrlPtr& list : lists) {
    std::optional<Signer> signer = signers.of(list.get());
    if (!signer) {
      return wrong(
          "no authority of this pool has signed it, or it was changed since; give the list that "
          "`farcall ca revoke` wrote");
    }
    Result<DeniedByOne> one = read_list(list.get(), now);
    if (!one.ok()) return one.status();
    if (!all.emplace(signer->key_id, std::move(one).value()).second) {
      return wrong("two lists of one authority");
    }
    signed_by.push_back(std::move(*signer));
  }
  for (const Signer& signer : signed_by) {
    all[signer.key_id].itself = find_denial(all, signer.who);
  }
  return all;
}

std::optional<Denial> find_denial(const DeniedByIssuer& lists, const PeerIdentity& who) {
  const bool stated = lists.find(who.issuer) != lists.end();
  for (const auto& [issuer, one] : lists) {
    if (stated && issuer != who.issuer) continue;
    if (!who.issuer.empty() && !stated) continue;
    if (stated && one.itself) return one.itself;
    if (auto at = one.serials.find(who.serial); at != one.serials.end()) return at->second;
  }
  return std::nullopt;
}

DenyList::DenyList(std::string path, std::string ca_path)
    : path_(std::move(path)), ca_path_(std::move(ca_path)) {}

Result<DeniedByIssuer> DenyList::read() const {
  Result<SecureBuffer> pem = read_file(path_, limits::kDenyListBytesMax);
  if (!pem.ok()) return pem.status();
  Result<SecureBuffer> authorities = read_file(ca_path_);
  if (!authorities.ok()) return authorities.status();
  Result<DeniedByIssuer> lists =
      parse_deny_list(pem->bytes(), authorities->bytes(), std::time(nullptr));
  if (lists.ok()) return lists;
  return Status(lists.status().code(), "deny list " + path_ + ": " + lists.status().text());
}

Result<std::shared_ptr<DenyList>> DenyList::open(const std::string& path,
                                                 const std::string& ca_path) {
  std::shared_ptr<DenyList> made(new DenyList(path, ca_path));
  Result<DeniedByIssuer> lists = made->read();
  if (!lists.ok()) return lists.status();
  *made->lists_.lock() = std::make_shared<const DeniedByIssuer>(std::move(lists).value());
  return made;
}

Status DenyList::reload() {
  Result<DeniedByIssuer> fresh = read();
  if (!fresh.ok()) return fresh.status();
  auto lists = lists_.lock();
  for (const auto& [issuer, before] : **lists) {
    const auto now = fresh->find(issuer);
    if (now == fresh->end()) {
      if (before.good_until < std::time(nullptr)) continue;  // a predecessor's
      return {Code::kDenied, "deny list " + path_ + " leaves out what an authority denied before"};
    }
    if (now->second.number < before.number) {
      return {Code::kDenied, "deny list " + path_ + " is older than the one in force: number " +
                                 std::to_string(now->second.number) + " after " +
                                 std::to_string(before.number)};
    }
  }
  *lists = std::make_shared<const DeniedByIssuer>(std::move(fresh).value());
  return ok();
}

std::optional<Denial> DenyList::find(const PeerIdentity& who) const {
  const std::shared_ptr<const DeniedByIssuer> lists = *lists_.lock();
  return find_denial(*lists, who);
}

DenyList::Facts DenyList::facts() const {
  const std::shared_ptr<const DeniedByIssuer> lists = *lists_.lock();
  Facts facts;
  for (const auto& [issuer, one] : *lists) {
    facts.number = std::max(facts.number, one.number);
    facts.certificates += one.serials.size();
    if (facts.good_until == 0 || one.good_until < facts.good_until) {
      facts.good_until = one.good_until;
    }
  }
  return facts;
}

}  // namespace farcall::security
