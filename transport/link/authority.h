// The way to the pool's authority (security/authority_service.h), and who keeps a certificate
// fresh.
//
//   Result<AuthorityPlace> place = parse_authority("ca.lab:7718");
//   FARCALL_TRY(renew_certificate(place.value(), member));            // once
//
//   Result<std::unique_ptr<CertificateKeeper>> keeper = CertificateKeeper::start(place, member);
//
// The keeper renews at half life, on a thread of its own; what goes wrong it tries again, with
// longer and longer pauses, and it warns while there is time. It replaces files and nothing else:
// whoever uses them notices. Threads: any.
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <thread>

#include "security/identity.h"
#include "security/quote.h"
#include "security/renewal_schedule.h"
#include "security/tls.h"
#include "transport/base/status.h"
#include "transport/base/unique.h"

namespace farcall::link {

struct AuthorityPlace {
  std::string host;
  std::uint16_t port = 0;
  std::string name;  // that its certificate must carry
};
// "ca.lab:7718", or "ca.lab@10.0.0.9:7718" to expect another name than the one that is dialled.
// Errors: kUnsupported.
Result<AuthorityPlace> parse_authority(std::string_view text);

struct Member {
  security::IdentityFiles files;
  security::TlsContext::Side side = security::TlsContext::Side::kClient;  // or kPeer: a server
  bool keep_key = false;  // renew the certificate of the key that is there, and make no new one
  security::Attester attester{};  // of a server with a TPM; empty: none
};

// The files hold another certificate when this returns ok.
// Errors, with what to do: those of TlsContext::load, connect_tcp and TlsChannel::connect, what the
// authority refuses with, and kDenied for what it sends and must not.
Status renew_certificate(const AuthorityPlace& place, const Member& member);

// A new server's first certificate, by a one-time token: NAME.crt, NAME.key and ca.crt in `folder`.
// Returns the path of the certificate.  Errors: as renew_certificate; kDenied also where a file is
// there already.
Result<std::string> join_pool(const AuthorityPlace& place, const std::string& token,
                              const std::string& folder, const security::Attester& attester = {});

class CertificateKeeper {
 public:
  // renewed: called on its thread when there is another certificate, whoever has put it there; may
  // be empty.
  // Errors: those of describe_certificate, kSystem.
  static Result<std::unique_ptr<CertificateKeeper>> start(AuthorityPlace place, Member member,
                                                          std::function<void()> renewed = {});
  ~CertificateKeeper();
  CertificateKeeper(const CertificateKeeper&) = delete;
  CertificateKeeper& operator=(const CertificateKeeper&) = delete;

 private:
  CertificateKeeper(AuthorityPlace place, Member member, std::function<void()> renewed);
  void run();
  // Reads what is there: it may have been replaced by others.
  Status look(std::int64_t now);
  void try_now(std::int64_t now);

  const AuthorityPlace place_;
  const Member member_;
  const std::function<void()> renewed_;
  security::RenewalSchedule schedule_;
  std::string serial_;       // of the certificate that the schedule is for
  bool has_failed_ = false;  // since the last renewal
  Fd stop_;                  // eventfd
  std::thread thread_;
};

}  // namespace farcall::link
