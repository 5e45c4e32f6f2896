#include "tools/cli/pool.h"

#include <poll.h>

#include <cstdlib>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "security/ca.h"
#include "security/lease_file.h"
#include "security/lease_keys.h"
#include "transport/base/clock.h"

namespace farcall::cli {
namespace {

constexpr int kStartMs = 30'000;  // a driver with several GPUs takes seconds to come up

std::string text_of(const std::string& path) {
  std::ifstream file(path);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

Status issue_to(const security::IssuedIdentity& ca, const security::LeafOptions& leaf,
                const std::string& path) {
  auto issued = security::issue(ca, leaf);
  if (!issued.ok()) return issued.status();
  return security::save(issued.value(), path + ".crt", path + ".key");
}

}  // namespace

Status Pool::make_certificates() {
  auto ca = security::create_ca({.pool = "demo", .days = 1});
  if (!ca.ok()) return ca.status();
  FARCALL_TRY(security::save(ca.value(), folder_ + "/ca.crt", folder_ + "/ca.key"));
  security::LeafOptions server;
  server.use = security::Use::kServer;
  server.host = "localhost";
  server.names = {"127.0.0.1", "localhost"};
  server.days = 1;
  FARCALL_TRY(issue_to(ca.value(), server, folder_ + "/server"));
  security::LeafOptions client;
  client.use = security::Use::kClient;
  client.tenant = "demo";
  client.user = "you";
  client.days = 1;
  FARCALL_TRY(issue_to(ca.value(), client, folder_ + "/client"));
  connection_.certificate = folder_ + "/client.crt";
  connection_.key = folder_ + "/client.key";
  connection_.ca = folder_ + "/ca.crt";
  return ok();
}

// For a day and all of the server: what is shown is that nobody gets in without one.
Status Pool::make_lease() {
  FARCALL_TRY(security::make_lease_key(folder_ + "/lease.key", folder_ + "/lease.pub"));
  Result<security::LeaseKey> key = security::LeaseKey::load(folder_ + "/lease.key");
  if (!key.ok()) return key.status();
  Result<security::KeyHash> holder = security::key_hash_of(connection_.certificate);
  if (!holder.ok()) return holder.status();
  security::LeaseToken lease;
  lease.id = security::make_lease_id();
  lease.pool = "demo";
  lease.tenant = "demo";
  lease.user = "you";
  lease.server = "localhost";
  lease.purpose = "farcall demo";
  lease.holder = holder.value();
  lease.sessions = limits::kSessionsMax;
  lease.not_before = std::time(nullptr) - 60;
  lease.expires = lease.not_before + 86'400;
  Result<security::LeaseBytes> token = security::sign_lease(lease, key.value());
  if (!token.ok()) return token.status();
  connection_.lease = folder_ + "/you.lease";
  return security::save_lease(token.value(), connection_.lease);
}

Status Pool::start_server(const PoolOptions& options, const Places& places) {
  const std::string port_file = folder_ + "/port";
  const std::string driver = options.driver.empty() ? places.software_gpu : options.driver;
  const std::string gpus = std::to_string(options.gpus);
  const char* const visible_here = std::getenv("CUDA_VISIBLE_DEVICES");
  const std::optional<std::string> visible_to_program =
      visible_here == nullptr ? std::nullopt : std::optional<std::string>(visible_here);
  if (options.driver.empty()) {
    // The caller's choice is the program's to obey; the server would choose a second time.
    ::unsetenv("CUDA_VISIBLE_DEVICES");
    ::setenv("FARCALL_SOFTGPU_DEVICES", gpus.c_str(), 1);
  } else if (options.gpus > 0 && std::getenv("CUDA_VISIBLE_DEVICES") == nullptr) {
    std::string visible;
    for (int i = 0; i < options.gpus; ++i) visible += (i == 0 ? "" : ",") + std::to_string(i);
    ::setenv("CUDA_VISIBLE_DEVICES", visible.c_str(), 1);
  }
  auto server =
      Child::start({places.server, "--listen", "127.0.0.1:0", "--cert", folder_ + "/server.crt",
                    "--key", folder_ + "/server.key", "--ca", folder_ + "/ca.crt", "--driver",
                    driver, "--port-file", port_file, "--module-cache", "off", "--lease-keys",
                    folder_ + "/lease.pub", "--audit", folder_ + "/audit"},
                   server_log());
  if (visible_to_program) ::setenv("CUDA_VISIBLE_DEVICES", visible_to_program->c_str(), 1);
  if (!server.ok()) return server.status();
  server_.emplace(std::move(server).value());

  const Deadline deadline = Deadline::after(system_clock(), kStartMs);
  while (!deadline.passed()) {
    std::string port = text_of(port_file);
    if (!port.empty() && port.back() == '\n') {
      port.pop_back();
      connection_.server = "127.0.0.1:" + port;
      return ok();
    }
    if (!server_->is_running()) {
      return {Code::kClosed, "the GPU server ended at once:\n" + text_of(server_log())};
    }
    ::poll(nullptr, 0, 5);
  }
  return {Code::kTimeout, "the GPU server did not come up:\n" + text_of(server_log())};
}

Result<std::unique_ptr<Pool>> Pool::start(const PoolOptions& options) {
  const Places places = find_places();
  const std::string driver = options.driver.empty() ? places.software_gpu : options.driver;
  for (const std::string& part : {places.server, places.shim, driver}) {
    if (!is_file(part)) return Status(Code::kNotFound, part + " is missing");
  }
  std::unique_ptr<Pool> pool(new Pool);
  pool->keep_ = options.keep;
  std::string folder = (std::filesystem::temp_directory_path() / "farcall-demo-XXXXXX").string();
  if (::mkdtemp(folder.data()) == nullptr) return Status::system("make " + folder);
  pool->folder_ = folder;
  FARCALL_TRY(pool->make_certificates());
  FARCALL_TRY(pool->make_lease());
  FARCALL_TRY(pool->start_server(options, places));
  return pool;
}

Pool::~Pool() {
  server_.reset();
  std::error_code error;
  if (!keep_ && !folder_.empty()) std::filesystem::remove_all(folder_, error);
}

}  // namespace farcall::cli
