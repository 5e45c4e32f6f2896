#include "client_shim/process.h"

#include <pthread.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <vector>

#include "client_shim/fleet.h"
#include "client_shim/spread.h"
#include "transport/api/dispatch.h"
#include "transport/api/refuse.h"
#include "transport/base/check.h"
#include "transport/base/log.h"
#include "transport/cuda/error_log.h"
#include "transport/link/dial.h"

namespace farcall::shim {
namespace {

// Told to the server for its error texts.
constexpr const char* kVersion = FARCALL_VERSION;

struct Process {
  // The first of `clients`, which do not change once it is set.
  std::atomic<Client*> client{nullptr};
  std::atomic<Client*> ready{nullptr};  // the same, from cuInit on
  std::vector<Client*> clients;
  std::unique_ptr<Fleet> fleet;  // where there are several
  Mutex opening;  // held over dialling: whoever needs the session must wait for it anyway
  // How the last attempt failed, so that cuInit right after cuDriverGetVersion need not dial again.
  CUresult last_result FARCALL_GUARDED_BY(opening) = CUDA_SUCCESS;
  std::int64_t last_failure_ns FARCALL_GUARDED_BY(opening) = 0;
};
constexpr std::int64_t kRetryNs = 1'000'000'000;

std::atomic<Process*> g_process{nullptr};

struct TestSeam {
  Connect connect = nullptr;
  Settings settings;
};
TestSeam& test_seam() {
  static TestSeam* const seam = new TestSeam;
  return *seam;
}

Result<std::unique_ptr<link::Session>> connect_by_dial(const Settings& settings) {
  link::DialOptions options;
  FARCALL_TRY(link::parse_server(settings.server, &options));
  FARCALL_TRY(link::parse_stripes(settings.lanes, &options));
  FARCALL_TRY(link::parse_compress(settings.compress, &options));
  options.certificate_path = settings.certificate;
  options.key_path = settings.key;
  options.ca_path = settings.ca;
  options.server_name = settings.server_name;
  // Not among the settings, which half of this library includes: nobody else needs them.
  if (const char* list = ::secure_getenv("FARCALL_DENY_LIST")) options.deny_list_path = list;
  if (const char* lease = ::secure_getenv("FARCALL_LEASE")) options.lease_path = lease;
  options.table_fingerprint = api::table_fingerprint();
  options.version = kVersion;
  return link::dial(options, nullptr);
}

// Runs in the child of a fork, which has one thread: locks may be held for ever by threads that are
// not there, so everything is left where it is and a fresh Process takes its place.
void after_fork_in_child() {
  Process* old = g_process.load();
  if (old == nullptr) return;
  if (old->client.load() != nullptr) {
    for (Client* client : old->clients) client->abandon_in_child();
  }
  g_has_several_servers = false;
  g_process.store(std::make_unique<Process>().release());
}

// The process is not ours to abort: a belief that does not hold ends the session instead.
void poison_session(const char* file, int line, const char* condition, const std::string& values) {
  FARCALL_LOG_ERROR("%s:%d: %s does not hold (%s)", file, line, condition, values.c_str());
  for_each_client([](Client& client) {
    client.session().close(Status(Code::kClosed, "an internal check failed"));
  });
}

// Made at the first call, and never destroyed.
Process& process() {
  Process* made = g_process.load(std::memory_order_acquire);
  if (made != nullptr) return *made;
  auto fresh = std::make_unique<Process>();
  if (!g_process.compare_exchange_strong(made, fresh.get())) return *made;
  set_log_name("libcuda");
  log_from_environment(LogLevel::kOff);
  set_check_handler(poison_session);
  ::pthread_atfork(nullptr, nullptr, after_fork_in_child);
  return *fresh.release();
}

using Clients = std::vector<std::unique_ptr<Client>>;

void close_all(const Clients& clients, const Status& why) {
  for (const auto& client : clients) client->session().close(why);
}

// All or none. With several servers the failure says which of them it is of.
Status open_each(const std::vector<Settings>& servers, Clients* clients) {
  auto allocations = std::make_shared<Allocations>();
  auto captures = std::make_shared<Captures>();
  for (const Settings& settings : servers) {
    const Client::Seat seat{static_cast<unsigned>(clients->size()), allocations, captures};
    auto session = connect_session(settings);
    Status failed = session.status();
    if (session.ok()) {
      auto client = Client::open(std::move(session).value(), settings, system_clock(), seat);
      if (client.ok()) {
        clients->push_back(std::move(client).value());
        continue;
      }
      failed = client.status();
    }
    close_all(*clients, Status(Code::kClosed, "another server could not be had"));
    if (servers.size() == 1) return failed;
    return Status(failed.code(),
                  settings.server + " (one of " + std::to_string(servers.size()) +
                      " servers): " + failed.text(),
                  failed.detail());
  }
  return ok();
}

// Numbers the devices of all servers as the program sees them.
// Errors: kNotFound when CUDA_VISIBLE_DEVICES leaves none.
Status show_devices(const Clients& clients, const std::string& places) {
  std::vector<const Snapshot*> all;
  std::size_t devices = 0;
  std::vector<std::string> names;
  for (const auto& client : clients) {
    all.push_back(&client->all_devices());
    names.push_back(client->settings().server);
    devices += client->all_devices().devices.size();
  }
  if (devices > limits::kDevicesMax) {
    return Status(Code::kOverQuota, "the servers have more devices than a program can number");
  }
  const Settings& settings = clients.front()->settings();
  auto spread = spread_from_environment();
  if (!spread.ok()) return spread.status();
  const VisibleDevices visible = number_devices(known_devices(all), settings.visible_devices,
                                                settings.device_order, spread.value());
  if (visible.places().empty() && devices != 0) {
    return Status(Code::kNotFound, "CUDA_VISIBLE_DEVICES names none of the servers' devices");
  }
  FARCALL_TRY(check_share(visible, names, spread.value()));
  const Snapshot seen = seen_by_program(all, visible);
  for (const auto& client : clients) client->show(visible, seen);
  clients.front()->allocations().usage().show(places, seen.devices);
  return ok();
}

// has_device: false when what is missing is a device, and not a server that should be there.
Status try_open(Process& process, bool* has_device) FARCALL_REQUIRES(process.opening) {
  const std::int64_t started_ns = system_clock().now_ns();
  auto servers = settings_of_servers(has_device);
  if (!servers.ok()) return servers.status();
  api::tell_refusals_to([](const char* text) { cuda::error_log().note(CU_LOG_LEVEL_ERROR, text); });
  Clients clients;
  FARCALL_TRY(open_each(servers.value(), &clients));
  if (Status shown = show_devices(clients, places_of(servers.value())); !shown.ok()) {
    *has_device = shown.code() != Code::kNotFound;
    close_all(clients, shown);
    return shown;
  }
  for (auto& client : clients) {
    Client* opened = client.release();
    FARCALL_LOG_INFO("session with %s over %s: %zu devices", opened->settings().server.c_str(),
                     opened->session().describe().c_str(), opened->all_devices().devices.size());
    opened->trace().note_opening(started_ns);
    process.clients.push_back(opened);
  }
  if (process.clients.size() > 1) {
    process.fleet = std::make_unique<Fleet>(process.clients);
    g_has_several_servers = true;
  }
  process.client.store(process.clients.front(), std::memory_order_release);
  return ok();
}

// What is opened, or null.
Process* opened_process() {
  Process* made = g_process.load(std::memory_order_acquire);
  const bool is_open = made != nullptr && made->client.load(std::memory_order_acquire) != nullptr;
  return is_open ? made : nullptr;
}

}  // namespace

Client* current_client() {
  Process* made = g_process.load(std::memory_order_acquire);
  if (made == nullptr) return nullptr;
  Client* first = made->client.load(std::memory_order_acquire);
  if (first == nullptr || !has_several_servers()) return first;
  return &made->fleet->serving();
}

Client* ready_client() {
  Process* made = g_process.load(std::memory_order_acquire);
  if (made == nullptr) return nullptr;
  Client* first = made->ready.load(std::memory_order_acquire);
  if (first == nullptr || !has_several_servers()) return first;
  return &made->fleet->serving();
}

CUresult initialize_client() {
  CUresult opened = open_client();
  if (opened != CUDA_SUCCESS) return opened;
  Process& mine = process();
  mine.ready.store(mine.client.load(std::memory_order_acquire), std::memory_order_release);
  return CUDA_SUCCESS;
}

Fleet* current_fleet() {
  Process* made = opened_process();
  return made == nullptr ? nullptr : made->fleet.get();
}

void for_each_client(FunctionRef<void(Client&)> visit) {
  Process* made = opened_process();
  if (made == nullptr) return;
  for (Client* client : made->clients) visit(*client);
}

bool is_open(const Client& client) {
  Process* made = opened_process();
  return made != nullptr &&
         std::find(made->clients.begin(), made->clients.end(), &client) != made->clients.end();
}

Result<std::vector<Settings>> settings_of_servers(bool* is_configured) {
  static_cast<void>(process());  // log and check handler
  const TestSeam& seam = test_seam();
  if (seam.connect != nullptr) return split_settings(seam.settings);
  Result<Settings> read = settings_from_environment();
  if (!read.ok()) {
    *is_configured = read.status().code() != Code::kNotFound;
    return read.status();
  }
  return split_settings(read.value());
}

Result<std::unique_ptr<link::Session>> connect_session(const Settings& settings) {
  const TestSeam& seam = test_seam();
  return seam.connect != nullptr ? seam.connect(settings) : connect_by_dial(settings);
}

CUresult open_client() {
  if (opened_process() != nullptr) return CUDA_SUCCESS;
  Process& mine = process();
  Lock lock(mine.opening);
  if (mine.client.load(std::memory_order_acquire) != nullptr) return CUDA_SUCCESS;
  std::int64_t now = system_clock().now_ns();
  if (mine.last_result != CUDA_SUCCESS && now - mine.last_failure_ns < kRetryNs) {
    return mine.last_result;
  }
  bool has_device = true;
  Status opened = try_open(mine, &has_device);
  mine.last_failure_ns = system_clock().now_ns();
  mine.last_result = opened.ok()  ? CUDA_SUCCESS
                     : has_device ? CUDA_ERROR_SYSTEM_NOT_READY
                                  : CUDA_ERROR_NO_DEVICE;
  if (!opened.ok()) {
    FARCALL_LOG_ERROR("no device: %s", opened.to_string().c_str());
    report_status(opened);
  }
  return mine.last_result;
}

int driver_version() {
  Client* client = open_client() == CUDA_SUCCESS ? current_client() : nullptr;
  if (client == nullptr) return CUDA_VERSION;
  return std::min(client->snapshot().driver_version, CUDA_VERSION);
}

void tell_shares() {
  const Result<link::Spread> spread = spread_from_environment();
  if (!spread.ok() || !spread.value().is_on) return;
  std::vector<std::string> names;
  std::vector<std::uint64_t> sent;
  for_each_client([&](Client& client) {
    names.push_back(client.settings().server);
    sent.push_back(client.session().stats().bytes_out);
  });
  const std::vector<double> shares = shares_of_bytes(sent);
  for (std::size_t i = 0; i < names.size(); ++i) {
    const double percent = 100 * shares[i];
    FARCALL_LOG_INFO("spread: %s got %.1f %% of the bytes sent", names[i].c_str(), percent);
    if (percent <= spread.value().share_percent_max) continue;
    FARCALL_LOG_WARN(
        "spread: %s got %.1f %% of the bytes sent, and may have %d %%: the program used its "
        "devices "
        "unevenly",
        names[i].c_str(), percent, spread.value().share_percent_max);
  }
}

void set_connect_for_test(Connect connect, const Settings& settings) {
  test_seam() = {connect, settings};
}

void forget_client_for_test() {
  static auto* const forgotten = new std::vector<Process*>;  // still referred to: nothing leaks
  forgotten->push_back(&process());
  g_has_several_servers = false;
  g_process.store(std::make_unique<Process>().release());
}

}  // namespace farcall::shim

// Runs after the program's own atexit handlers, cudart's among them.
__attribute__((destructor)) static void farcall_shim_ends() {
  farcall::shim::tell_shares();
  farcall::shim::for_each_client([](farcall::shim::Client& client) { client.finish(); });
}
