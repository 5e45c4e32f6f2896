// AuditEvents: what a server records in its audit log, in words of sessions and peers.
//
//   auto audit = AuditEvents::open({.folder = "/var/log/farcall/audit"}, "gpu1");
//   if (!audit.value()->session_starts(session).ok()) refuse();   // not recorded: not served
//   …
//   audit.value()->session_ends(session, {"signal 9"});
//
// Without a folder nothing is recorded and nothing refused. Refused connections get a record each
// up to a number a minute, beyond that they are counted: nobody fills the disk by being refused.
// Owner: the supervisor.  Threads: any.
#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "security/audit.h"
#include "security/identity.h"
#include "transport/base/clock.h"
#include "transport/base/guarded.h"
#include "transport/base/status.h"

namespace farcall::server {

struct AuditSettings {
  std::string folder{};    // empty: no audit log
  std::string key_path{};  // empty: in the folder
};
// words: a folder, "off", or nothing for the usual place.
// Errors: kUnsupported where there is no usual place.
Result<AuditSettings> parse_audit(const std::string& words, const std::string& key_path);

// One session, as it is to be recorded.
struct AuditedSession {
  const security::PeerIdentity* who = nullptr;  // borrowed
  std::string from;                             // address and port
  std::string id;
  std::string lease{};
  std::string carrier{};
  int worker = 0;  // process
  std::int64_t began_ns = 0;
};

// kind: one of security::audit::k…  With who, from where, over what.
security::AuditRecord record_of(const AuditedSession& session, std::string_view kind);

class AuditEvents {
 public:
  // server: its name, from its certificate.  Errors: those of AuditLog::open, with what to do.
  static Result<std::unique_ptr<AuditEvents>> open(const AuditSettings& settings,
                                                   const std::string& server,
                                                   const Clock& clock = system_clock());
  ~AuditEvents();

  // how: its settings; a digest over them tells one configuration from another.
  // Errors: those of AuditLog::record; the server must not serve then.
  Status server_starts(std::vector<security::AuditDetail> how);
  void server_stops(const std::string& why);

  // Before the client is told yes.  Errors: kBusy, in words for the client.
  Status session_starts(AuditedSession& session);
  // how: as WorkerProcess::end() tells, or why it never began.
  void session_ends(const AuditedSession& session, const std::string& how);
  // The session's worker tried what it must not. what: as WorkerProcess::end() tells.
  void violation(const AuditedSession& session, const std::string& what);
  // who: null as long as nobody has proven who he is.
  void refused(const security::PeerIdentity* who, const std::string& from, const Status& why);

  // SIGHUP: the certificate in use from now on, or why the old one stays.
  void certificate_loaded(const security::PeerIdentity& own, const Status& done);
  // The deny list in force from now on, or why the old one stays.
  void deny_list_loaded(std::vector<security::AuditDetail> facts, const Status& done);
  // A link from (came) or to another server.
  void peer_link(const std::string& peer, bool came, const Status& done);

  // Null when nothing is recorded: for events of others.
  security::AuditLog* log() { return log_.get(); }

 private:
  // Refusals of one kind in the current minute.
  struct Budget {
    std::int64_t minute = -1;
    int used = 0;
    std::uint64_t skipped = 0;
  };
  struct Budgets {
    Budget strangers;
    Budget known;
  };
  AuditEvents(std::unique_ptr<security::AuditLog> log, const Clock& clock);
  bool may_record(bool is_stranger);
  void record_skipped();
  void post(security::AuditRecord record);

  const std::unique_ptr<security::AuditLog> log_;
  const Clock& clock_;
  Guarded<Budgets> budgets_;
};

}  // namespace farcall::server
