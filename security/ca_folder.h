// CaFolder: a pool's authorities in a folder, and what they have issued, as `farcall ca` keeps
// them.
//
//   FARCALL_TRY(CaFolder::create("ca", {.pool = "lab"}));
//   Result<CaFolder> ca = CaFolder::open("ca");
//   Result<IssuedIdentity> ann = ca->issue({.use = Use::kClient, .tenant = "acme", .user = "ann"});
//   FARCALL_TRY(ca->revoke(std::span(&who, 1), "key-compromise"));
//
//   ca.crt, ca.key            the root, which all hosts trust; the key may be taken away
//   issuing.crt, issuing.key  the issuing authority; not there where the root issues itself
//   deny.crl                  what was revoked (deny_list.h), for servers and clients
//   index                     what was issued, renewed and revoked (ca_index.h)
//   lock                      held while one of these changes
// A folder of an earlier version has the first two only, and goes on as it is.
//
// Owner: plain value.  Threads: one; other processes wait for their turn.
#pragma once
#include <set>
#include <span>
#include <string>
#include <vector>

#include "security/ca.h"
#include "security/ca_index.h"
#include "security/ca_revoke.h"
#include "security/identity.h"
#include "transport/base/status.h"
#include "transport/base/unique.h"

namespace farcall::security {

class CaFolder {
 public:
  struct Plan {
    std::string pool;
    bool issuing = true;  // with an issuing authority below the root
    int days = kCaDays;
  };
  // Errors: kDenied when there is an authority already, kUnsupported, kSystem.
  static Status create(const std::string& folder, const Plan& plan);
  // Errors: kNotFound with what to do when there is no authority.
  static Result<CaFolder> open(const std::string& folder);

  std::string root_path() const { return folder_ + "/ca.crt"; }
  std::string deny_list_path() const { return folder_ + "/deny.crl"; }

  // Both are in the index when they return. The certificate is not in the folder: the caller saves
  // it where it belongs.
  // Errors: those of security::issue and renew, kNotFound when the issuing key is not here.
  Result<IssuedIdentity> issue(const LeafOptions& options) const;
  // certificate_path: of one that was issued here and is not revoked, expired or not
  Result<IssuedIdentity> renew(const std::string& certificate_path, int days, bool new_key) const;

  // Puts certificates on the deny list, and whatever the index has revoked and the list lacks; with
  // none, dates it anew.
  //   who     serial, and issuer where it is known; else who issues here now is taken for it
  //   reason  one of revocation_reasons(), or empty
  // Errors: kNotFound (the authority or its key is not here), and those of add_to_deny_list. What
  // is in the index by then is put on the list the next time.
  Status revoke(std::span<const PeerIdentity> who, const std::string& reason,
                int days = kDenyListDays) const;

  // What the index knows.  Errors: those of read_index.
  Result<std::vector<Issued>> issued() const;
  // Where index and deny list contradict each other, in words; none is how it should be.
  Result<std::vector<std::string>> differences() const;

 private:
  explicit CaFolder(std::string folder) : folder_(std::move(folder)) {}
  struct Pair {
    std::string certificate;
    std::string key;
  };
  std::string index_path() const { return folder_ + "/index"; }
  Pair root_pair() const { return {root_path(), folder_ + "/ca.key"}; }
  Pair issuing_pair() const;
  Result<IssuedIdentity> issuing() const;
  // The one with that key identifier.
  Result<IssuedIdentity> authority(const std::string& key_id) const;
  Result<std::vector<IssuedIdentity>> authorities(const std::set<std::string>& key_ids) const;
  Status note(IndexEvent event, const PeerIdentity& who, const std::string& note) const;
  Status note_revoked(std::span<const PeerIdentity> who, const std::string& reason) const;
  // What is to be on the list of the authority with that key identifier, as the index has it.
  Result<std::vector<Revocation>> revoked_by(const std::string& key_id) const;
  Result<std::string> key_id_of(const Pair& at) const;
  Result<Fd> lock() const;

  std::string folder_;
};

}  // namespace farcall::security
