// farcall-worker: serves one client process, and ends with it.
//
// Started by farcall-server with one end of a socket pair as descriptor 3: keys and lanes come
// through it once, then links to other servers, where there are such; and its end is the end of the
// worker. It holds no certificate and opens no connection; for an RDMA session it listens for its
// client. It reads and writes files only in its tenant's folder of images, if it was given that
// (descriptor 4). What it takes of the devices it enters in its lease's ledger (descriptor 5), and
// tells what it does in numbers (descriptors 6 and 7); it asks for its turn on them by ringing
// (descriptor 8).
// Every byte its client sends is hostile, and might take it over: so between loading the driver and
// reading the first of them it gives up all that it needs no more (security/sandbox.h).
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <optional>
#include <string_view>
#include <thread>

#include "gpu_server/direct_links.h"
#include "gpu_server/driver_library.h"
#include "gpu_server/executor.h"
#include "gpu_server/launch_gate.h"
#include "gpu_server/ledger_driver.h"
#include "gpu_server/loaded_code.h"
#include "gpu_server/module_cache.h"
#include "gpu_server/printed_output.h"
#include "gpu_server/scrub.h"
#include "gpu_server/wiped_end.h"
#include "gpu_server/worker_arguments.h"
#include "security/sandbox.h"
#include "transport/base/key_memory.h"
#include "transport/base/limits_wipe.h"
#include "transport/base/log.h"
#include "transport/base/switches.h"
#include "transport/cuda/direct_memory.h"
#include "transport/link/handover.h"
#include "transport/link/lanes.h"
#include "transport/link/rdma_plugin.h"

namespace farcall::server {
namespace {

constexpr int kSupervisorSocket = 3;
constexpr int kCacheFolder = 4;
constexpr int kLedger = 5;
constexpr int kFactsPage = 6;
constexpr int kFactsPipe = 7;
constexpr int kDoorbell = 8;

// The log keeps the supervisor's stderr; descriptor 2 itself is going to be the tenant's, because a
// kernel's failed assert is printed there.
Status move_log() {
  const char* asked = std::getenv("FARCALL_LOG");
  if (asked != nullptr && std::strchr(asked, ':') != nullptr) return ok();  // to a file of its own
  int log = ::fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 10);
  if (log < 0) return Status::system("keep a descriptor for the log");
  set_log(static_cast<LogLevel>(g_log_level.load()), log);
  return ok();
}

// In a process namespace of its own every worker is number 1; the host's number is what helps who
// reads the log.
void tell_workers_apart() {
  std::array<char, 16> number{};
  if (::readlink("/proc/self", number.data(), number.size() - 1) <= 0) return;
  if (std::strtol(number.data(), nullptr, 10) == ::getpid()) return;
  set_log_name((std::string("farcall-worker ") + number.data()).c_str());
}

// What is done before the driver is loaded, which may start threads.
Status prepare() {
  tell_workers_apart();
  // Executed by a descriptor, a process has the name of that.
  (void)::prctl(PR_SET_NAME, "farcall-worker");
  if (::prctl(PR_SET_PDEATHSIG, SIGKILL) != 0) return Status::system("tie to the supervisor");
  ::signal(SIGPIPE, SIG_IGN);
  // When memory runs out, a worker goes before the supervisor, which has everybody's sessions.
  Fd oom(::open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC));
  if (!oom || ::write(oom.get(), "1000", 4) != 4) return Status::system("offer itself to the OOM");
  rlimit none{0, 0};
  if (::setrlimit(RLIMIT_CORE, &none) != 0) return Status::system("forbid core dumps");
  ::umask(0077);
  return move_log();
}

// NVIDIA's where its control device is and the driver is not ours, which has a table that no other
// driver knows. The device files must be there by now: a worker starts no helper to make them.
bool is_nvidias(const api::Driver& driver) {
  struct stat facts {};
  if (::stat("/dev/nvidiactl", &facts) != 0 || !S_ISCHR(facts.st_mode)) return false;
  const void* table = nullptr;
  return driver.cuGetExportTable == nullptr ||
         driver.cuGetExportTable(&table, &cuda::kDirectMemoryId) != CUDA_SUCCESS;
}

// The server has said at its start what this machine lacks; once is enough, unless it must not.
Status confine(const WorkerArguments& arguments, const api::Driver& driver) {
  security::SandboxPlan plan = arguments.sandbox;
  if (arguments.rdma_address != nullptr) {
    plan.profile = security::SandboxProfile::kRdma;
    plan.uid = 0;  // the devices belong to the server's user
  } else if (is_nvidias(driver)) {
    plan.profile = security::SandboxProfile::kNvidia;
  }
  if (arguments.cache_bytes != 0) plan.folder = kCacheFolder;
  const security::SandboxReport report = security::confine(plan);
  if (arguments.only_report) {
    const std::string lines = to_lines(report);
    (void)!::write(kSupervisorSocket, lines.data(), lines.size());
    ::_exit(0);
  }
  for (const security::SandboxLayer& layer : report) {
    if (layer.held.ok()) continue;
    const std::string why = layer.name + ": " + layer.held.text();
    if (layer.wall && plan.mode == security::SandboxMode::kStrict) return {Code::kUnsupported, why};
    FARCALL_LOG_DEBUG("sandbox: %s", why.c_str());
  }
  return ok();
}

// Last of all, so that what the supervisor finds is either complete or not there.
void tell_scrub(const Scrub::Outcome& outcome, Facts& facts) {
  facts.set(Tally::kScrubFreed, outcome.freed_bytes);
  facts.set(Tally::kScrubLeft, outcome.left_bytes);
  facts.set(Tally::kScrubVerified, outcome.verified_bytes);
  facts.set(Tally::kScrubUnread, outcome.unread_bytes);
  facts.set(Tally::kScrubFailures, outcome.failures);
  facts.set(Tally::kScrubTold, 1);
}

// The session is over, and main() ends the process: unless the driver never returns to it.
void end_without_driver(const Scrub& scrub, Facts& facts) {
  const Deadline patience = Deadline::after(system_clock(), limits::kScrubGraceMs);
  for (std::uint64_t seen = UINT64_MAX; seen != scrub.steps() && !patience.passed();) {
    seen = scrub.steps();
    (void)::poll(nullptr, 0, limits::kWorkerGraceMs);
  }
  FARCALL_LOG_INFO("the driver does not return: the worker ends without it");
  tell_scrub(scrub.outcome(), facts);
  end_wiped(1);
}

// After the session the supervisor hands over links to other servers, if this worker has any use
// for them. All else on its socket is the end.
struct Parts {
  link::Session& session;
  DirectLinks* direct;
  const Scrub& scrub;
  Facts& facts;
};
void wait_for_the_end(int socket, Parts of) {
  DirectLinks* direct = of.direct;
  while (direct != nullptr) {
    Result<link::Handover> gift = link::receive_session(socket, Deadline::never());
    if (!gift.ok() || gift->kind == link::HandoverKind::kClient) break;
    direct->take(std::move(gift).value());
  }
  pollfd wait{.fd = socket, .events = POLLIN, .revents = 0};
  while (direct == nullptr && ::poll(&wait, 1, -1) < 0 && errno == EINTR) {
  }
  of.session.close(Status(Code::kClosed, "the supervisor ended the session"));
  end_without_driver(of.scrub, of.facts);
}

int fail(const char* doing, const Status& why) {
  FARCALL_LOG_ERROR("%s: %s", doing, why.to_string().c_str());
  return 1;
}

// For an RDMA session the client comes to us: the supervisor is told where before it grants, or why
// not, and decides then: the client may be content with another carrier.
//
// Only once we are confined: the kernel takes no commands for RDMA from who has given up rights
// since it opened the device, and a thread of UCX's that was there before would keep them.
std::unique_ptr<link::RdmaListener> listen_for_client(const char* rdma_address,
                                                      const Status& loaded) {
  if (rdma_address == nullptr) return nullptr;
  Result<std::unique_ptr<link::RdmaListener>> listener = loaded;
  if (loaded.ok()) listener = link::RdmaListener::open(rdma_address);
  Result<std::string> place =
      listener.ok() ? Result<std::string>(listener.value()->place()) : listener.status();
  const Status told = link::send_place(kSupervisorSocket, place);
  if (listener.ok() && told.ok()) return std::move(listener).value();
  const Status& why = listener.ok() ? told : listener.status();
  FARCALL_LOG_WARN("rdma: %s", why.to_string().c_str());
  return nullptr;
}

Result<std::unique_ptr<link::Session>> take_session(link::RdmaListener* listener,
                                                    link::SessionId* id) {
  const Deadline deadline = Deadline::after(system_clock(), limits::kHandshakeMs);
  Result<link::Handover> gift = link::receive_session(kSupervisorSocket, deadline);
  // Another server may know of the session first: what it sends then is dropped, and harms nobody.
  while (gift.ok() && gift->kind != link::HandoverKind::kClient) {
    gift = link::receive_session(kSupervisorSocket, deadline);
  }
  if (!gift.ok()) return gift.status();
  *id = gift->session_id;
  Result<link::LaneCarriers> lanes = link::lanes_of(gift.value(), listener, deadline);
  if (!lanes.ok()) return lanes.status();
  return link::session_from_carriers(std::move(lanes).value(), std::move(gift.value().keys),
                                     link::Role::kServer, deadline);
}

void log_scrub(const Scrub::Outcome& outcome) {
  const bool has_worked = outcome.freed + outcome.left != 0;
  const LogLevel usual = has_worked ? LogLevel::kInfo : LogLevel::kDebug;
  const LogLevel level = outcome.failures == 0 ? usual : LogLevel::kWarn;
  FARCALL_LOG_AT(level, "scrub: %s", outcome.to_text().c_str());
}

// Without a lease what is taken is counted all the same, and nothing limits it.
Result<std::unique_ptr<Ledger>> ledger_of(const WorkerArguments& arguments) {
  if (arguments.ledger_slot < 0) return Ledger::create(LeaseLimits{});
  ::fcntl(kLedger, F_SETFD, FD_CLOEXEC);
  return Ledger::join(Fd(kLedger), static_cast<unsigned>(arguments.ledger_slot));
}

// Without a page they are counted for nobody.
Result<std::unique_ptr<Facts>> facts_of(const WorkerArguments& arguments) {
  if (!arguments.tells_facts) return std::make_unique<Facts>();
  ::fcntl(kFactsPage, F_SETFD, FD_CLOEXEC);
  ::fcntl(kFactsPipe, F_SETFD, FD_CLOEXEC);
  return Facts::join(Fd(kFactsPage), Fd(kFactsPipe));
}

// Null without a folder for it.
std::unique_ptr<ModuleCache> cache_of(const WorkerArguments& arguments) {
  if (arguments.cache_bytes == 0) return nullptr;
  ::fcntl(kCacheFolder, F_SETFD, FD_CLOEXEC);
  return std::make_unique<ModuleCache>(Fd(kCacheFolder), arguments.cache_bytes);
}

// And tells what it runs, now that all of it is there.
Result<std::unique_ptr<DriverLibrary>> load_driver(const WorkerArguments& arguments) {
  auto library = DriverLibrary::open(arguments.driver);
  if (!library.ok() || !arguments.tells_code) return library;
  FARCALL_TRY(send_code(kSupervisorSocket, own_code()));
  return library;
}

int serve(const WorkerArguments& arguments) {
  const Status rdma_loaded =
      arguments.rdma_address != nullptr ? link::RdmaPlugin::load_libraries() : ok();
  auto library = load_driver(arguments);
  if (!library.ok()) return fail("load the driver", library.status());
  auto ledger = ledger_of(arguments);
  if (!ledger.ok()) return fail("open the ledger of the lease", ledger.status());
  auto facts = facts_of(arguments);
  if (!facts.ok()) return fail("open the page for facts", facts.status());
  ledger.value()->use_facts(facts.value().get());
  if (Status confined = confine(arguments, library.value()->driver()); !confined.ok()) {
    return fail("confine itself, as --sandbox strict demands", confined);
  }
  auto listener = listen_for_client(arguments.rdma_address, rdma_loaded);
  link::SessionId session_id;
  auto session = take_session(listener.get(), &session_id);
  // A client that never opened its lanes is no failure of ours.
  if (session.status().code() == Code::kClosed) return 0;
  if (!session.ok()) return fail("take over the session", session.status());
  listener.reset();
  Scrub scrub(library.value()->driver(), arguments.scrub);
  // Charged first, given back last: when it has been overwritten.
  LedgerDriver metered(scrub.driver(), *ledger.value());
  std::optional<LaunchGate> gate;
  if (arguments.takes_turns) {
    ::fcntl(kDoorbell, F_SETFD, FD_CLOEXEC);
    gate.emplace(metered.driver(), *ledger.value(), Fd(kDoorbell));
  }
  const api::Driver& driver = gate ? gate->driver() : metered.driver();
  std::unique_ptr<DirectLinks> direct;
  if (!arguments.peers.empty()) {
    auto ask = [](const link::PeerRequest& request) {
      return link::send_peer_request(kSupervisorSocket, request);
    };
    direct = std::make_unique<DirectLinks>(
        driver, DirectLinks::Settings{arguments.server_name, arguments.peers, session_id}, ask);
  }
  std::thread watcher(wait_for_the_end, kSupervisorSocket,
                      Parts{*session.value(), direct.get(), scrub, *facts.value()});
  watcher.detach();  // ends with the process
  auto printed = PrintedOutput::capture(STDOUT_FILENO, *session.value());
  if (!printed.ok()) return fail("forward what kernels print", printed.status());
  auto complained = PrintedOutput::capture(STDERR_FILENO, *session.value());
  if (!complained.ok()) return fail("forward what kernels complain", complained.status());
  std::unique_ptr<ModuleCache> cache = cache_of(arguments);
  Executor executor(driver, *session.value());
  executor.use_ledger(ledger.value().get());
  executor.grant_families(arguments.families);
  executor.use_module_cache(cache.get());
  executor.use_direct_links(direct.get());
  executor.use_facts(facts.value().get());
  executor.before_answers([&] { PrintedOutput::forward(*printed.value(), *complained.value()); });
  Status why = executor.run();
  log_scrub(scrub.outcome());
  tell_scrub(scrub.outcome(), *facts.value());
  const link::LinkStats link = session.value()->stats();
  FARCALL_LOG_DEBUG(
      "session ended: %s; %u crypto threads sealed or opened %llu records, beside %llu",
      why.to_string().c_str(), link.crypto_threads,
      static_cast<unsigned long long>(link.records_by_helpers),
      static_cast<unsigned long long>(link.records_by_callers));
  // Destructors of a driver may wait for the device; the kernel takes everything back at once.
  end_wiped(why.code() == Code::kClosed ? 0 : 1);
}

}  // namespace
}  // namespace farcall::server

int main(int argc, char** argv) {
  farcall::set_log_name("farcall-worker");
  farcall::use_secret_memory();
  farcall::log_from_environment(farcall::LogLevel::kInfo);
  farcall::server::WorkerArguments arguments;
  if (!arguments.read(argc, argv)) {
    std::fprintf(stderr, "farcall-worker is started by farcall-server, once per client.\n");
    return 2;
  }
  farcall::Status ready = farcall::turn_off_from_environment();
  if (ready.ok()) ready = farcall::server::prepare_wiped_end();
  if (ready.ok()) ready = farcall::server::prepare();
  if (!ready.ok()) {
    std::fprintf(stderr, "farcall-worker: %s\n", ready.to_string().c_str());
    return 1;
  }
  farcall::server::end_wiped(farcall::server::serve(arguments));
}
