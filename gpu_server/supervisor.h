// Supervisor: listens, checks who comes, and gives each client process a worker of its own.
//
//   Result<std::unique_ptr<Supervisor>> server = Supervisor::open(options);
//   server.value()->run(signal_fd);               // until SIGTERM, SIGINT or stop()
//
// It holds the private key and never sees a tenant's byte; the workers see those and never hold the
// key. A connection is one thread here: first a stranger (at most
// limits::kUnauthenticatedConnectionsMax of them, limits::kHandshakeMs each), then either a lane,
// which is passed on at once, or the control connection of a session, whose thread watches client
// and worker and ends the one when the other is gone.
// Owner: main, or a test.  Threads: run() by one, stop() by any.
#pragma once
#include <atomic>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <unordered_map>
#include <vector>

#include "gpu_server/admission.h"
#include "gpu_server/audit_events.h"
#include "gpu_server/cache_folder.h"
#include "gpu_server/code_guard.h"
#include "gpu_server/containment.h"
#include "gpu_server/control_socket.h"
#include "gpu_server/detail_watch.h"
#include "gpu_server/lane_desk.h"
#include "gpu_server/ledger_book.h"
#include "gpu_server/live_sessions.h"
#include "gpu_server/quarantine.h"
#include "gpu_server/session_facts.h"
#include "gpu_server/traffic_policy.h"
#include "gpu_server/watched_files.h"
#include "gpu_server/worker_group.h"
#include "gpu_server/worker_process.h"
#include "security/identity.h"
#include "security/tls.h"
#include "transport/base/guarded.h"
#include "transport/base/limits.h"
#include "transport/link/acceptor.h"
#include "transport/link/peer.h"

namespace farcall::server {

inline constexpr const char* kUsualControl = "usual";  // control_path()

struct SupervisorOptions {
  std::string host = "127.0.0.1";
  std::uint16_t port = 0;  // 0: the kernel chooses
  security::IdentityFiles identity;
  std::vector<std::string> client_zones;  // whose clients are let in; empty: all
  WorkerProcess::Command worker;
  link::LocalHello hello;
  // What sessions may run over; rdma only with worker.rdma_address.
  link::CarrierSet carriers = link::only(link::CarrierKind::kTcp);
  // Connections that a session's payloads may be spread over, where the client is far away.
  std::size_t stripes_max = limits::kStripesMax;
  bool compress = false;         // let clients that want it compress payloads
  Admission::Options admission;  // whether clients need a lease; they do not by default
  CacheSettings module_cache;  // where images are kept from session to session; nowhere by default
  TrafficPolicy traffic;       // what records are sealed with at least
  std::optional<security::CodeOptions> code;    // by which manifest; not looked after by default
  std::optional<ContainmentRules> containment;  // whose sessions are frozen; none's by default
  // Where an operator asks: a path, kUsualControl, or nowhere. Without it nobody is frozen.
  std::string control;
  AuditSettings audit;  // where it is recorded who did what; nowhere by default
  // Other servers whose sessions may exchange bytes with sessions here; none by default.
  std::vector<link::PeerPlace> peers;
  std::size_t sessions_max = limits::kSessionsMax;
  LeaseLimits user_limits;     // of each user's sessions together; none by default
  WorkerLimits worker_limits;  // of each worker, kept by the kernel; none by default
  std::size_t strangers_max = limits::kUnauthenticatedConnectionsMax;
  int handshake_ms = limits::kHandshakeMs;
};

class Supervisor {
 public:
  // Loads the identity and the deny list, listens, and opens the audit log. Errors: those of
  // TlsContext::load, listen_tcp and AuditEvents::open.
  static Result<std::unique_ptr<Supervisor>> open(SupervisorOptions options);
  ~Supervisor();

  std::uint16_t port() const;
  // "@farcall-…", where shared memory lanes come to; empty when they are not offered.
  const std::string& local_name() const { return local_name_; }
  // Serves until stop() or, on signal_fd (a signalfd, or -1), SIGTERM or SIGINT. Certificate, key
  // and CA are read again when they change and on SIGHUP, lease keys on SIGHUP, the deny list when
  // it changes. When it returns, no worker is left.
  Status run(int signal_fd);
  void stop();

  std::size_t sessions() const { return sessions_.load(); }
  std::size_t strangers() const { return strangers_.load(); }

 private:
  explicit Supervisor(SupervisorOptions options);
  using Tls = std::shared_ptr<const security::TlsContext>;  // connections outlive a reload
  struct FilesToTake {
    WatchedFiles watched;
    // When what is on disk was found to have changed and is not taken yet; 0: all is.
    std::int64_t identity_since_ms = 0;
    std::int64_t deny_list_since_ms = 0;
    bool identity_told = false;   // that it cannot be taken
    bool deny_list_told = false;  // the same
    std::int64_t old_list_told_ms = 0;
  };
  // What a worker is given of its supervisor.
  struct Seated {
    const LeaseSeat& seat;
    SessionFacts& facts;
  };
  struct Running {
    link::ControlConnection& control;
    WorkerProcess& worker;
    const Admitted& lease;
    LiveSessions::Place& place;
    SessionFacts& facts;
    const AuditedSession& audited;
    const std::vector<Fd>& lanes;  // of TCP or shared memory, to cut them
    std::optional<ContainmentWatch> contained;
    std::optional<DetailWatch> detail;  // where it is contained
    std::uint32_t told = 0;             // the last call that was written down
  };
  struct Threads {
    std::uint64_t next = 0;
    std::unordered_map<std::uint64_t, std::thread> running;
    std::unordered_map<std::uint64_t, Fd> sockets;  // duplicates, to interrupt handshakes
    std::vector<std::uint64_t> ended;
  };

  // So that workers can be kept to their limits. Where they cannot, that is an error for
  // --sandbox strict only.
  Status open_groups();
  // Records what this server offers: supervisor_audit.cpp.
  Status record_start();
  bool handle_signal(int signal_fd);  // true: shut down
  // False when descriptors or memory ran out, and trying again at once is no use.
  bool accept_one(const Fd& listener, link::CarrierKind kind);
  void join_ended();
  void join_all();
  void serve_connection(Fd socket, link::CarrierKind kind, std::uint64_t number);
  void serve_client(Fd socket, const std::string& from, std::uint64_t number);
  void serve_session(link::ControlConnection& control, const std::string& from,
                     const Admitted& lease);
  Result<Admitted> admit(link::ControlConnection& control);
  // What a session over `kind` is told of its lanes; an RDMA worker's place is not known yet.
  link::CarrierOffer offer_of(link::CarrierKind kind, const link::ClientHello& client,
                              const Admitted& lease) const;
  // Starts the session's worker and says what its lanes run over.
  //   code  how far this server's code is known; null: nobody looks
  Result<WorkerProcess> start_worker(const link::ControlConnection& control, const Admitted& lease,
                                     const Seated& seated, link::CarrierOffer* offer,
                                     const CodeGuard::Start* code);
  Result<WorkerProcess> spawn_worker(WorkerProcess::Command command,
                                     const security::PeerIdentity& peer);
  // Grants, and hands the session over to its worker.
  //   kept  duplicates of its lanes' sockets, where sessions are contained
  Status give(link::ControlConnection& control, const link::CarrierOffer& offer,
              const link::SessionId& id, WorkerProcess& worker, std::vector<Fd>* kept);

  // --- whether this server's code is what it should be: supervisor_code.cpp
  Status open_code();
  // start_worker(), where every file of it is known.  Errors: kDenied, kBusy, what to tell a
  // client.
  Result<WorkerProcess> start_known_worker(const link::ControlConnection& control,
                                           const Admitted& lease, const Seated& seated,
                                           link::CarrierOffer* offer);
  // The first that a worker says: what it runs.  Errors: likewise.
  Status check_loaded(const WorkerProcess& worker, const CodeGuard::Start& code);
  void look_at_code();  // of run()'s thread

  // --- a session that runs: supervisor_watch.cpp
  // Until it is to end: ok, or why its client is to be told.
  Status watch(Running& session);
  // The rest of a session that is over, told why; its worker ends.
  void see_out(Running& session, const Status& why);
  static int patience(const Running& session);  // ms, or -1
  void take_facts(Running& session);
  // --- a session that does what none should: supervisor_quarantine.cpp
  // Nothing where nobody is watched.
  std::optional<ContainmentWatch> contain(const security::PeerIdentity& who,
                                          const Admitted& lease) const;
  Status look_at(Running& session, bool* ends);
  // --- one that is suspicious: supervisor_detail.cpp
  void look_closer(Running& session);
  // Its last calls, one by one into the log.
  static std::vector<CallNote> tell_calls(Running& session);
  // Until it is released, or over.
  Status hold(Running& session, const ContainmentHit& hit, const Tallies& evidence, bool* ends);
  static void cut_off(const Running& session);
  Status open_control();
  std::string answer_control(const std::string& request, uid_t uid);
  void post(const security::AuditRecord& record);

  // Of a session whose worker has ended.
  void record_totals(const AuditedSession& audited, SessionFacts& facts);

  // --- who this server is, and who is let in no longer: supervisor_identity.cpp
  // Certificate, key and CA, as they are on disk now.
  Status load_identity();
  void reload_identity();
  // What changed on disk is taken, and sessions end that the new deny list denies.
  void look_at_files();
  void take_identity(std::int64_t now_ms);
  void take_deny_list();
  void warn_of_old_list(std::int64_t now_ms);
  // Is a peer whose handshake was good still good?  Errors: kDenied, what to tell it.
  Status admits(const security::PeerIdentity& peer) const;

  // --- links between servers: supervisor_peers.cpp
  const link::PeerPlace* peer_named(const std::string& name) const;
  // Another server came, with a ticket for a session here.
  void serve_peer(link::ControlConnection& control, const std::string& from);
  Status lead_peer(link::ControlConnection& control);
  // Answers what the worker asks for.  Errors: those of its socket, or that it asks too often.
  //   patience_ms  at most, or -1: as long as a handshake may take
  Status reach_peer(WorkerProcess& worker, LiveSessions::Place& place, int patience_ms, int* dials);
  Result<link::Handover> dial(const link::PeerRequest& request, LiveSessions::Place& session,
                              Deadline deadline);
  void no_longer_a_stranger(std::uint64_t number);

  const SupervisorOptions options_;
  Fd listener_;
  Fd local_listener_;       // of shared memory lanes; none when they are not offered
  std::string local_name_;  // "@farcall-…", a name nobody can guess
  Fd stop_;                 // eventfd; readable for ever once stop() was called
  std::optional<CacheRoot> module_cache_;
  std::unique_ptr<WorkerGroups> groups_;  // null: workers have no limits
  std::unique_ptr<Admission> admission_;
  Quarantine quarantine_;
  std::unique_ptr<CodeGuard> code_;     // null: nobody looks
  std::int64_t code_looked_ms_ = 0;     // of run()'s thread
  std::unique_ptr<AuditEvents> audit_;  // always there; records nothing where it is not to
  Guarded<Tls> tls_;
  Guarded<Tls> peer_tls_;  // as one that dials others; null when there are none
  std::shared_ptr<security::DenyList> deny_list_;  // null: none was given
  LiveSessions live_;
  FilesToTake files_;  // of run()'s thread
  // Where the worker of each session is reached, for links from other servers.
  Guarded<std::map<std::array<std::byte, 16>, Fd>> workers_;
  LaneDesk lanes_;
  LeaseBook leases_;
  Guarded<Threads> threads_;
  std::atomic<std::size_t> strangers_{0};
  std::atomic<std::size_t> sessions_{0};
  std::unique_ptr<ControlSocket> control_;  // its thread uses the above
};

}  // namespace farcall::server
