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
//   ca.key-uri, issuing.key-uri  in the place of such a key: a line that says where it lies
//   former/KEYID.crt, .key    its predecessors: what they issued is renewed and revoked as before
//   deny.crl                  what was revoked (deny_list.h), for servers and clients
//   index, index-over         what was issued, renewed and revoked; what of it is over
//   ca-audit                  the same and what was refused, chained and signed (audit.h)
//   tokens                    who may join (join_token.h)
//   attested                  the TPMs of servers (attested.h)
//   lock                      held while one of these changes
// A folder of an earlier version has the first two only, and goes on as it is.
//
// Owner: plain value.  Threads: one; other processes wait for their turn.
#pragma once
#include <memory>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "security/attestation.h"
#include "security/audit.h"
#include "security/ca.h"
#include "security/ca_index.h"
#include "security/ca_revoke.h"
#include "security/identity.h"
#include "security/join_token.h"
#include "security/key_store.h"
#include "transport/base/function_ref.h"
#include "transport/base/status.h"
#include "transport/base/unique.h"

namespace farcall::security {

// Where the keys of authorities lie that are made or taken, for the key store; empty: in a file of
// the folder.
struct KeyPlaces {
  std::string root{};
  std::string issuing{};
  bool existing = false;  // those are there already
};

class CaFolder {
 public:
  // On whose behalf something is done, for the audit log.
  struct Actor {
    std::string role = "operator";
    std::string principal{};  // identity URI
    std::string from{};       // address and port
    std::string tpm{};        // what its TPM's quote was; empty: none came
  };
  using KeyStorePtr = std::shared_ptr<KeyStore>;
  struct Plan {
    std::string pool;
    bool issuing = true;  // with an issuing authority below the root
    int days = kCaDays;
    KeyPlaces keys{};
  };
  // Errors: kDenied when there is an authority already, kUnsupported, kSystem, those of `keys`.
  static Status create(const std::string& folder, const Plan& plan, KeyStorePtr keys = nullptr);
  //   keys  for those that lie in no file; null: they are not to be had
  // Errors: kNotFound with what to do when there is no authority.
  static Result<CaFolder> open(const std::string& folder, KeyStorePtr keys = nullptr);
  CaFolder acting_for(Actor actor) const;

  // Makes another issuing authority below the root, which issues from now on; leaves of the former
  // stay good. A deny list that is there says so, too.
  //   keys  of which the root's is not looked at. A key in a token is followed by one in a token.
  // Errors: kNotFound when the root's key is not here, kSystem, those of the key store. Can be
  // repeated after a crash.
  Status make_issuing(const KeyPlaces& keys = {}) const;
  // Is the key of who issues to be had now?  Errors: kNotFound, those of the key store.
  Status check_issuing() const { return issuing().status(); }

  std::string root_path() const { return folder_ + "/ca.crt"; }
  std::string deny_list_path() const { return folder_ + "/deny.crl"; }
  std::string attested_path() const { return folder_ + "/attested"; }

  // Both are in the index and the audit log when they return. The certificate is not in the folder:
  // the caller saves it where it belongs.
  // Errors: those of security::issue and renew, kNotFound when the issuing key is not here; what
  // cannot be recorded is not issued.
  Result<IssuedIdentity> issue(const LeafOptions& options) const;
  // certificate_path: of one that was issued here and is not revoked, expired or not
  Result<IssuedIdentity> renew(const std::string& certificate_path, int days, bool new_key) const;
  // The same of `how.certificate_pem`; its signers are filled in. name: of it, for error texts.
  Result<IssuedIdentity> renew(RenewOptions how, const std::string& name) const;

  // Puts certificates on the deny list, and whatever the index has revoked and the list lacks; with
  // none, dates it anew, and tidies the index (ca_index_archive.h).
  //   who     serial, and issuer where it is known; else who issues here now is taken for it
  //   reason  one of revocation_reasons(), or empty
  // Errors: kNotFound (the authority or its key is not here), and those of add_to_deny_list. What
  // is in the index by then is put on the list the next time.
  Status revoke(std::span<const PeerIdentity> who, const std::string& reason,
                int days = kDenyListDays) const;

  // What a new server joins with; grant.expires is filled in by `valid_seconds`.
  // Errors: those of check_leaf and JoinTokens::make.
  Result<std::string> make_token(JoinGrant grant, std::int64_t valid_seconds) const;
  // The certificate that the token grants, for the key of a signing request.
  //   attest    says whether that server may have it, and for how long; before the token is spent
  // Errors: those of JoinTokens::spend, attest and issue.
  using JoinCheck = FunctionRef<Result<Attested>(const JoinGrant&)>;
  Result<IssuedIdentity> join(std::string_view token, const std::vector<std::byte>& request,
                              JoinCheck attest) const;
  // Puts down what a server's TPM has counted.  Errors: those of AttestedServers::put.
  Status note_attested(const AttestedServer& server) const;
  // Records what was asked for and not granted.
  Status record_refusal(const std::string& asked, const Status& why) const;
  // The root's certificate, PEM.
  Result<std::string> root_pem() const;

  // What the index knows.  Errors: those of read_index.
  Result<std::vector<Issued>> issued() const;
  // Where index and deny list contradict each other, in words; none is how it should be.
  Result<std::vector<std::string>> differences() const;

 private:
  CaFolder(std::string folder, KeyStorePtr keys)
      : folder_(std::move(folder)), keys_(std::move(keys)) {}
  struct Pair {
    std::string certificate;
    std::string key;

    std::string key_uri() const { return key + "-uri"; }
  };
  struct Event {
    std::string_view kind;
    AuditOutcome outcome = AuditOutcome::kOk;
    const PeerIdentity* who = nullptr;  // borrowed; whom it is about
    std::string name{};                 // of `value`: "predecessor", "why"
    std::string value{};
  };
  std::string index_path() const { return folder_ + "/index"; }
  Pair root_pair() const { return {root_path(), folder_ + "/ca.key"}; }
  Pair issuing_pair() const;
  std::vector<Pair> former_pairs() const;
  // Everybody who may have issued what is good today: the issuing authority, its predecessors, the
  // root.
  std::vector<Pair> all_pairs() const;
  Result<IssuedIdentity> issuing() const;
  // --- where keys lie: ca_folder_keys.cpp
  static bool has_key(const Pair& at);
  Result<IssuedIdentity> load_pair(const Pair& at) const;
  // The key at `uri`, made or taken; none where that is empty.
  Result<std::shared_ptr<HeldKey>> key_at(const std::string& uri, bool existing) const;
  static Status save_new_pair(const IssuedIdentity& authority, const std::string& uri,
                              const Pair& at);
  static Status replace_key(const IssuedIdentity& authority, const std::string& uri,
                            const Pair& at);

  // The one with that key identifier.
  Result<IssuedIdentity> authority(const std::string& key_id) const;
  Result<std::vector<IssuedIdentity>> authorities(const std::set<std::string>& key_ids) const;
  Status note(IndexEvent event, const PeerIdentity& who, const std::string& note) const;
  Status note_revoked(std::span<const PeerIdentity> who, const std::string& reason) const;
  // What is to be on the list of the authority with that key identifier, as the index has it.
  Result<std::vector<Revocation>> revoked_by(const std::string& key_id) const;
  Result<std::string> key_id_of(const Pair& at) const;
  Result<Fd> lock() const;
  Status set_aside_issuing() const;
  // With the lock held.
  Result<IssuedIdentity> issue_now(const LeafOptions& options) const;
  Status sign_deny_list(std::span<const PeerIdentity> who, const std::string& reason,
                        int days) const;
  // Brings it to the audit log.  Errors: those of AuditLog; then it must not happen.
  Status record(const Event& event) const;

  std::string folder_;
  KeyStorePtr keys_;
  Actor actor_;
};

}  // namespace farcall::security
