// farcall-server: offers this machine's GPUs to clients that show a certificate of the pool.
#include <signal.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <cstdlib>

#include "gpu_server/check.h"
#include "gpu_server/check_sandbox.h"
#include "gpu_server/containment_file.h"
#include "gpu_server/manifest_options.h"
#include "gpu_server/supervisor.h"
#include "security/tpm.h"
#include "transport/api/dispatch.h"
#include "transport/base/key_memory.h"
#include "transport/base/limits_direct.h"
#include "transport/base/log.h"
#include "transport/base/switches.h"
#include "transport/link/authority.h"

namespace farcall::server {
namespace {

constexpr const char* kVersion = FARCALL_VERSION;
constexpr int kExitFailed = 1;
constexpr int kExitUsage = 2;

struct Arguments {
  std::string listen = "0.0.0.0:7717";
  std::string port_file;
  std::string off;
  std::string carriers = "tcp,shm";
  std::string module_cache;  // empty: the usual place
  std::string audit;         // empty: the usual place
  std::string audit_key;
  std::string traffic;      // a file, or empty: everything with the strongest cipher
  std::string containment;  // a file, "off", or empty: the defaults
  std::vector<std::string> peers;
  std::string sandbox = "best";
  std::string memory_per_user;
  std::string user_limits;
  std::string worker_limits;
  std::string renew_from;  // empty: nobody renews by himself
  std::string tpm;         // TCTI; empty: certificates are renewed without a quote
  SupervisorOptions server;
  bool check = false;
};

// What a server keeps on its disk.
void declare_folders(CLI::App& app, Arguments& a) {
  app.add_option("--module-cache", a.module_cache,
                 "DIR[:SIZE] or off: keep images there, encrypted, from one session to the next; "
                 "default: " +
                     default_cache().path + ", 4 GiB");
  app.add_option("--audit", a.audit,
                 "DIR or off: record there who did what, for farcall audit; while it cannot be "
                 "written, new sessions are refused; default: " +
                     security::default_audit_folder());
  app.add_option("--audit-key", a.audit_key,
                 "sign the audit log with this key, PEM (farcall audit keygen makes one); default: "
                 "DIR/audit.key, made at the first start");
}

std::string footer() {
  return std::string(
      "Clients need a certificate of the same CA; farcall run shows how they use it.\n"
      "SIGTERM ends every session and then the server. Certificate, key, CA, deny list and the\n"
      "list of revoked leases are read again when they change, lease keys on SIGHUP, and the "
      "first\n"
      "three then, too; sessions go on over that.\n"
      "FARCALL_LOG=debug says more. Exit status: 0 fine, 1 failed, 2 wrong usage.\n\n"
      "What --limits-per-user knows, each NAME=VALUE:\n" +
      lease_limits_help() + "\nWhat --limits-per-worker knows:\n" + worker_limits_help() +
      "\nWhat --containment counts in a window of 60 s, and its default thresholds (a file says "
      "window_s,\n[[rule]], zone, role, these, and action = \"freeze\" or \"tell\"; 0: none):\n" +
      containment_help() +
      "\n"
      "Optimisations that --off knows:\n" +
      switches_help());
}

void declare_limits(CLI::App& app, Arguments& a) {
  app.add_option("--memory-per-user", a.memory_per_user,
                 "device memory that one user's programs together may have of each device, such as "
                 "20GiB; they see a device of this size, and cannot take more");
  app.add_option("--limits-per-user", a.user_limits,
                 "more limits of one user's programs together, such as sessions=4,compute=30");
  app.add_option("--limits-per-worker", a.worker_limits,
                 "what each worker may have of this host, kept by the kernel (cgroup v2), such as "
                 "memory=8GiB,threads=512,cpu=400; --sandbox strict refuses to serve where it "
                 "cannot be kept");
}

void declare_traffic(CLI::App& app, Arguments& a) {
  app.add_option("--traffic", a.traffic,
                 "FILE (TOML) of floors: [control], [parameters], [activations], [bulk], each with "
                 "cipher = \"aes-128-gcm\" or \"aes-256-gcm\" (the default), and rekey = "
                 "\"16GiB\", the most under one key; client and lease must allow less, too");
}

// What happens to who is in and does what none should.
void declare_containment(CLI::App& app, Arguments& a) {
  app.add_option("--containment", a.containment,
                 "FILE or off: freeze the worker of a session that does more in a minute than the "
                 "file's thresholds for its zone and role (below), until farcall quarantine "
                 "releases or ends it; default: the built-in thresholds");
  app.add_option("--control", a.server.control,
                 "PATH or off: the socket (mode 0600) by which farcall quarantine talks to this "
                 "server; without one nothing is frozen, only told; default: " +
                     (control_folder().empty() ? std::string("none without XDG_RUNTIME_DIR")
                                               : control_folder() + "/server-PORT.sock"));
}

// Who is let in, beside having a certificate of the pool.
void declare_admission(CLI::App& app, Arguments& a) {
  app.add_option(
      "--deny-list", a.server.identity.deny_list_path,
      "certificates that were revoked, as farcall ca revoke writes them; read again when "
      "it changes: sessions of whoever is on it end at once");
  app.add_option("--client-zones", a.server.client_zones,
                 "zones whose clients are let in, as their certificates state them; default: all")
      ->delimiter(',');
  app.add_option("--lease-keys", a.server.admission.keys_path,
                 "let only clients in that bring a lease token signed by one of these keys: a PEM "
                 "file, or a folder of *.pub (farcall lease keygen, issue). Without it every "
                 "certificate of the pool is let in, for as long as it is valid");
  app.add_option("--lease-revoked", a.server.admission.revoked_path,
                 "the signed list of leases that were taken back (farcall lease revoke); what is "
                 "added to the file ends its sessions within a second");
}

void declare(CLI::App& app, Arguments& a) {
  app.add_option("--listen", a.listen, "host:port to listen on; port 0 takes a free one")
      ->capture_default_str();
  app.add_option("--cert", a.server.identity.certificate_path,
                 "this server's certificate, PEM (farcall ca issue makes one)")
      ->required();
  app.add_option("--key", a.server.identity.key_path, "its private key, PEM")->required();
  app.add_option("--ca", a.server.identity.ca_path, "the pool's CA certificate, PEM")->required();
  app.add_option("--renew-from", a.renew_from,
                 "host:port of the pool's authority (farcall ca serve): certificate and key are "
                 "renewed there, in their files, when half of the certificate's life is over");
  app.add_option(
      "--tpm", a.tpm,
      "this machine's TPM, as tpm2-tss names it (device:/dev/tpmrm0): each renewal brings "
      "its quote of how the machine was started, and of the --manifest (farcall ca serve "
      "--attest)");
  declare_admission(app, a);
  app.add_option("--driver", a.server.worker.driver_path,
                 "the CUDA driver to offer: NVIDIA's or the software GPU's libcuda.so.1")
      ->capture_default_str();
  app.add_option("--worker", a.server.worker.worker_path,
                 "path of farcall-worker; default: beside this program");
  app.add_option("--port-file", a.port_file, "write the port here once clients can connect");
  app.add_option("--sessions", a.server.sessions_max, "client processes served at a time")
      ->check(CLI::Range(std::size_t{1}, limits::kSessionsMax))
      ->capture_default_str();
  app.add_option("--carriers", a.carriers,
                 "what sessions may run over, of tcp,shm,rdma; rdma needs --rdma-address")
      ->capture_default_str();
  app.add_option("--rdma-address", a.server.worker.rdma_address,
                 "address of the RDMA interface to listen on, one port per session; adds rdma");
  app.add_option("--lanes-max", a.server.stripes_max,
                 "TCP connections that one session's payloads may be spread over, where its client "
                 "is far away")
      ->check(CLI::Range(std::size_t{1}, limits::kStripesMax))
      ->capture_default_str();
  app.add_flag("--compress", a.server.compress,
               "let clients that ask for it compress payloads; how well data packs shows in the "
               "sizes on the wire");
  declare_folders(app, a);
  declare_traffic(app, a);
  declare_containment(app, a);
  declare_manifest(app, &a.server.code);
  app.add_option("--scrub", a.server.worker.scrub,
                 "device memory given back: off, free (overwrite it), verify (and read leftovers)")
      ->check(CLI::IsMember({"off", "free", "verify"}))
      ->capture_default_str();
  app.add_option("--peers", a.peers,
                 "other servers, as name@host:port, whose sessions may send bytes straight to "
                 "sessions here and be sent some, when their client asks; they must list this one, "
                 "too")
      ->delimiter(',');
  app.add_option("--sandbox", a.sandbox,
                 "what keeps a worker that is taken over from this host: strict refuses to serve "
                 "when part of it is not to be had here, best goes on and says so, off gives it up")
      ->check(CLI::IsMember({"strict", "best", "off"}))
      ->capture_default_str();
  declare_limits(app, a);
  app.add_option("--off", a.off,
                 "optimisations to do without, in workers too: spin,gather,... or all")
      ->envname("FARCALL_OFF");
  app.add_flag("--check", a.check,
               "say what this server would offer (driver, devices, certificate, address, sandbox) "
               "and exit");
  app.footer(footer());
}

// Signals are read from a descriptor, so that nothing of ours runs in a handler.
Result<Fd> take_signals() {
  sigset_t set;
  ::sigemptyset(&set);
  for (int signal : {SIGTERM, SIGINT, SIGHUP}) ::sigaddset(&set, signal);
  ::signal(SIGPIPE, SIG_IGN);
  ::signal(SIGXFSZ, SIG_IGN);  // a file at its limit is an error of write(), as a full disk is
  if (::pthread_sigmask(SIG_BLOCK, &set, nullptr) != 0) return Status::system("block signals");
  Fd fd(::signalfd(-1, &set, SFD_CLOEXEC));
  if (!fd) return Status::system("make a signalfd");
  return fd;
}

// A session holds a handful of descriptors here, and 1024 is the usual limit.
void raise_descriptor_limit() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur == limit.rlim_max) return;
  limit.rlim_cur = limit.rlim_max;
  (void)::setrlimit(RLIMIT_NOFILE, &limit);
}

Status choose_carriers(Arguments& a) {
  Result<link::CarrierSet> carriers = link::parse_carriers(a.carriers);
  if (!carriers.ok()) return {carriers.status().code(), "--carriers: " + carriers.status().text()};
  a.server.carriers = carriers.value();
  const bool rdma = !a.server.worker.rdma_address.empty();
  if (has(a.server.carriers, link::CarrierKind::kRdma) && !rdma) {
    return {Code::kUnsupported,
            "--carriers rdma needs --rdma-address, the address of the RDMA "
            "interface to listen on"};
  }
  if (rdma) a.server.carriers |= link::only(link::CarrierKind::kRdma);
  return ok();
}

// Strict and RDMA exclude each other: its sessions lack the namespaces.
Status choose_sandbox(Arguments& a) {
  Result<security::SandboxMode> mode = security::parse_sandbox_mode(a.sandbox);
  if (!mode.ok()) return mode.status();
  a.server.worker.sandbox = mode.value();
  if (mode.value() == security::SandboxMode::kStrict && !a.server.worker.rdma_address.empty()) {
    return {Code::kUnsupported,
            "--sandbox strict serves no sessions over RDMA, whose workers need the host's network "
            "and devices: leave --rdma-address out, or say --sandbox best"};
  }
  return ok();
}

Status choose_limits(Arguments& a) {
  Result<LeaseLimits> limits = parse_lease_limits(a.user_limits);
  if (!limits.ok()) return {limits.status().code(), "--limits-per-user: " + limits.status().text()};
  a.server.user_limits = limits.value();
  Result<WorkerLimits> of_workers = parse_worker_limits(a.worker_limits);
  if (!of_workers.ok()) {
    return {of_workers.status().code(), "--limits-per-worker: " + of_workers.status().text()};
  }
  a.server.worker_limits = of_workers.value();
  if (a.memory_per_user.empty()) return ok();
  if (limits->memory_bytes != kNoLimit) {
    return {Code::kUnsupported,
            "--memory-per-user and --limits-per-user memory= say the same: give one of them"};
  }
  Result<std::uint64_t> memory = parse_bytes(a.memory_per_user);
  if (!memory.ok()) return {memory.status().code(), "--memory-per-user: " + memory.status().text()};
  a.server.user_limits.memory_bytes = memory.value();
  return ok();
}

// A cache that was asked for must be there; the usual one may be missing.
Status choose_cache(Arguments& a) {
  if (!a.module_cache.empty()) {
    Result<CacheSettings> asked = parse_cache(a.module_cache);
    if (asked.ok()) a.server.module_cache = asked.value();
    return asked.status();
  }
  CacheSettings usual = default_cache();
  if (usual.path.empty() || a.check) return ok();
  Status there = CacheRoot::open(usual).status();
  if (there.ok()) a.server.module_cache = usual;
  if (!there.ok()) FARCALL_LOG_INFO("no module cache: %s", there.to_string().c_str());
  return ok();
}

Status choose_audit(Arguments& a) {
  Result<AuditSettings> settings = parse_audit(a.audit, a.audit_key);
  if (settings.ok()) a.server.audit = std::move(settings).value();
  return a.check ? ok() : settings.status();
}

Status choose_containment(Arguments& a) {
  if (a.server.control.empty()) a.server.control = kUsualControl;
  if (a.containment == "off") return ok();
  Result<ContainmentRules> rules = ContainmentRules{};
  if (!a.containment.empty()) rules = load_containment(a.containment);
  if (!rules.ok()) return {rules.status().code(), "--containment: " + rules.status().to_string()};
  a.server.containment = std::move(rules).value();
  return ok();
}

Status choose_peers(Arguments& a) {
  if (a.peers.size() > limits::kPeersMax) return {Code::kOverQuota, "--peers: too many servers"};
  for (const std::string& text : a.peers) {
    Result<link::PeerPlace> peer = link::parse_peer(text);
    if (!peer.ok()) return {peer.status().code(), "--peers: " + peer.status().text()};
    a.server.peers.push_back(std::move(peer).value());
  }
  return ok();
}

Status choose_tpm(const Arguments& a) {
  if (a.tpm.empty() || !a.renew_from.empty()) return ok();
  return {Code::kUnsupported, "--tpm needs --renew-from, the authority that its quotes are for"};
}

// Null where nobody is to.  Errors: kUnsupported.
Result<std::unique_ptr<link::CertificateKeeper>> keep_certificate(const Arguments& a) {
  if (a.renew_from.empty()) return std::unique_ptr<link::CertificateKeeper>();
  Result<link::AuthorityPlace> place = link::parse_authority(a.renew_from);
  if (!place.ok()) return Status(place.status().code(), "--renew-from: " + place.status().text());
  link::Member member{.files = a.server.identity, .side = security::TlsContext::Side::kPeer};
  const std::string manifest = a.server.code ? a.server.code->manifest : "";
  if (!a.tpm.empty()) member.attester = security::attester_of(a.tpm, manifest);
  return link::CertificateKeeper::start(place.value(), std::move(member));
}

int run(Arguments& a) {
  Status done = parse_address(a.listen, &a.server);
  if (done.ok()) done = choose_carriers(a);
  if (done.ok()) done = choose_peers(a);
  if (done.ok()) done = choose_tpm(a);
  if (done.ok()) done = choose_sandbox(a);
  if (done.ok()) done = choose_limits(a);
  if (done.ok()) done = choose_cache(a);
  if (done.ok()) done = choose_audit(a);
  Result<TrafficPolicy> traffic = a.traffic.empty() ? TrafficPolicy{} : load_traffic(a.traffic);
  if (done.ok()) done = traffic.status();
  if (done.ok()) a.server.traffic = traffic.value();
  if (done.ok()) done = choose_containment(a);
  if (done.ok()) done = turn_off(a.off);
  if (!done.ok()) {
    std::fprintf(stderr, "farcall-server: %s\n", done.text().c_str());
    return kExitUsage;
  }
  ::setenv("FARCALL_OFF", a.off.c_str(), 1);  // for the workers
  if (a.check) return check(a.server) ? 0 : kExitFailed;
  raise_descriptor_limit();
  Result<Fd> signals = take_signals();
  done = signals.status();
  if (done.ok()) done = find_worker(&a.server.worker);
  if (done.ok()) done = log_sandbox(a.server.worker, try_sandbox(a.server.worker));
  if (done.ok()) {
    a.server.hello = {.table_fingerprint = api::table_fingerprint(), .version = kVersion};
    auto server = Supervisor::open(a.server);
    done = server.status();
    if (done.ok() && !a.port_file.empty()) {
      done = write_port_file(a.port_file, server.value()->port());
    }
    if (done.ok()) {
      FARCALL_LOG_INFO("listening on %s:%u, driver %s, carriers %s", a.server.host.c_str(),
                       server.value()->port(), a.server.worker.driver_path.c_str(),
                       link::names_of(a.server.carriers).c_str());
      if (a.server.admission.keys_path.empty()) {
        FARCALL_LOG_WARN(
            "no --lease-keys: every certificate of the pool is let in, at any time, to every "
            "device and every call");
      }
      auto keeper = keep_certificate(a);
      done = keeper.ok() ? server.value()->run(signals.value().get()) : keeper.status();
    }
  }
  if (done.ok()) return 0;
  std::fprintf(stderr, "farcall-server: %s\n", done.to_string().c_str());
  return kExitFailed;
}

}  // namespace
}  // namespace farcall::server

int main(int argc, char** argv) {
  using namespace farcall::server;
  farcall::set_log_name("farcall-server");
  farcall::use_secret_memory();
  farcall::log_from_environment(farcall::LogLevel::kInfo);
  CLI::App app("Offers this machine's GPUs, encrypted, to clients of the pool.", "farcall-server");
  app.set_version_flag("--version", kVersion);
  Arguments arguments;
  arguments.server.worker.driver_path = "libcuda.so.1";
  declare(app, arguments);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : kExitUsage;
  }
  return run(arguments);
}
