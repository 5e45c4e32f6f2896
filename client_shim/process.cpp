#include "client_shim/process.h"

#include <pthread.h>

#include <algorithm>
#include <atomic>
#include <vector>

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
  std::atomic<Client*> client{nullptr};
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
  options.table_fingerprint = api::table_fingerprint();
  options.version = kVersion;
  return link::dial(options, nullptr);
}

// Runs in the child of a fork, which has one thread: locks may be held for ever by threads that are
// not there, so everything is left where it is and a fresh Process takes its place.
void after_fork_in_child() {
  Process* old = g_process.load();
  if (old == nullptr) return;
  if (Client* client = old->client.load()) client->abandon_in_child();
  g_process.store(std::make_unique<Process>().release());
}

// The process is not ours to abort: a belief that does not hold ends the session instead.
void poison_session(const char* file, int line, const char* condition, const std::string& values) {
  FARCALL_LOG_ERROR("%s:%d: %s does not hold (%s)", file, line, condition, values.c_str());
  if (Client* client = current_client()) {
    client->session().close(Status(Code::kClosed, "an internal check failed"));
  }
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

// has_device: false when what is missing is a device, and not a server that should be there.
Status try_open(Process& process, bool* has_device) FARCALL_REQUIRES(process.opening) {
  Settings settings;
  const std::int64_t started_ns = system_clock().now_ns();
  auto session = connect_session(&settings, has_device);
  if (!session.ok()) return session.status();
  api::tell_refusals_to([](const char* text) { cuda::error_log().note(CU_LOG_LEVEL_ERROR, text); });
  auto client = Client::open(std::move(session).value(), std::move(settings), system_clock());
  if (!client.ok()) {
    *has_device = client.status().code() != Code::kNotFound;
    return client.status();
  }
  Client* opened = std::move(client).value().release();
  FARCALL_LOG_INFO("session with %s over %s: %zu devices", opened->settings().server.c_str(),
                   opened->session().describe().c_str(), opened->snapshot().devices.size());
  opened->trace().note_opening(started_ns);
  process.client.store(opened, std::memory_order_release);
  return ok();
}

}  // namespace

Client* current_client() {
  Process* made = g_process.load(std::memory_order_acquire);
  return made == nullptr ? nullptr : made->client.load(std::memory_order_acquire);
}

Result<std::unique_ptr<link::Session>> connect_session(Settings* settings, bool* is_configured) {
  static_cast<void>(process());  // log and check handler
  TestSeam& seam = test_seam();
  if (seam.connect != nullptr) {
    *settings = seam.settings;
    return seam.connect(*settings);
  }
  Result<Settings> read = settings_from_environment();
  if (!read.ok()) {
    *is_configured = read.status().code() != Code::kNotFound;
    return read.status();
  }
  *settings = std::move(read).value();
  return connect_by_dial(*settings);
}

CUresult open_client() {
  if (current_client() != nullptr) return CUDA_SUCCESS;
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

void set_connect_for_test(Connect connect, const Settings& settings) {
  test_seam() = {connect, settings};
}

void forget_client_for_test() {
  static auto* const forgotten = new std::vector<Process*>;  // still referred to: nothing leaks
  forgotten->push_back(&process());
  g_process.store(std::make_unique<Process>().release());
}

}  // namespace farcall::shim

// Runs after the program's own atexit handlers, cudart's among them.
__attribute__((destructor)) static void farcall_shim_ends() {
  if (farcall::shim::Client* client = farcall::shim::current_client()) client->finish();
}
