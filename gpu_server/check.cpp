#include "gpu_server/check.h"

#include <fcntl.h>
#include <unistd.h>

#include <climits>
#include <cstdio>

#include "gpu_server/check_code.h"
#include "gpu_server/check_host.h"
#include "gpu_server/check_memory.h"
#include "gpu_server/check_sandbox.h"
#include "gpu_server/driver_library.h"
#include "gpu_server/worker_group.h"

namespace farcall::server {
namespace {

bool say(const char* what, const Status& status, const std::string& found) {
  std::printf("%-12s %s  %s\n", what, status.ok() ? "ok     " : "FAILED ",
              status.ok() ? found.c_str() : status.text().c_str());
  return status.ok();
}

bool check_certificate(const SupervisorOptions& options) {
  auto tls = security::TlsContext::load(options.identity, security::TlsContext::Side::kServer);
  if (!tls.ok()) return say("certificate", tls.status(), "");
  auto facts = security::describe_certificate(options.identity.certificate_path);
  if (!facts.ok()) return say("certificate", facts.status(), "");
  return say("certificate", ok(),
             security::identity_uri(facts.value().who) + ", " + facts.value().subject +
                 ", valid until " + security::date_text(facts.value().not_after));
}

bool check_driver(const std::string& path) {
  auto library = DriverLibrary::open(path);
  if (!library.ok()) return say("driver", library.status(), "");
  const DriverLibrary& opened = *library.value();
  Result<DriverFacts> facts = look_at(opened.driver());
  if (!facts.ok()) return say("driver", facts.status(), "");
  int version = facts.value().version;
  say("driver", ok(),
      opened.path() + ", CUDA " + std::to_string(version / 1000) + "." +
          std::to_string(version % 1000 / 10) + ", " + std::to_string(opened.functions()) +
          " functions");
  int index = 0;
  for (const DeviceFacts& device : facts.value().devices) {
    say(("device " + std::to_string(index++)).c_str(), ok(),
        device.name + ", " + std::to_string(device.bytes >> 20) + " MiB, compute capability " +
            std::to_string(device.major) + "." + std::to_string(device.minor));
  }
  if (index == 0) {
    return say("devices", Status(Code::kNotFound, "the driver has no device to offer"), "");
  }
  return true;
}

// Tried in earnest: this process goes to a group of its own and comes back.
bool check_worker_limits(const SupervisorOptions& options) {
  if (options.worker_limits.none()) return true;
  const Status kept = WorkerGroups::open_here(options.worker_limits).status();
  const bool strict = options.worker.sandbox == security::SandboxMode::kStrict;
  if (kept.ok() || strict) return say("limits", kept, to_string(options.worker_limits));
  std::printf("%-12s %s  workers go without: %s\n", "limits", "missing", kept.text().c_str());
  return true;
}

}  // namespace

Status parse_address(const std::string& text, SupervisorOptions* options) {
  auto wrong = [&text] {
    return Status(Code::kUnsupported,
                  "--listen takes host:port, for example 0.0.0.0:7717, not \"" + text + "\"");
  };
  std::size_t colon = text.rfind(':');
  if (colon == std::string::npos || colon == 0 || colon + 1 == text.size()) return wrong();
  std::string host = text.substr(0, colon);
  if (host.front() == '[' && host.back() == ']') host = host.substr(1, host.size() - 2);
  if (host.empty()) return wrong();
  unsigned long port = 0;
  for (char digit : text.substr(colon + 1)) {
    if (digit < '0' || digit > '9') return wrong();
    port = port * 10 + static_cast<unsigned long>(digit - '0');
    if (port > 65535) return wrong();
  }
  options->host = host;
  options->port = static_cast<std::uint16_t>(port);
  return ok();
}

Status find_worker(WorkerProcess::Command* command) {
  if (command->worker_path.empty()) {
    std::array<char, PATH_MAX> self{};
    ssize_t length = ::readlink("/proc/self/exe", self.data(), self.size() - 1);
    if (length <= 0) return Status::system("find this program's folder");
    std::string path(self.data(), static_cast<std::size_t>(length));
    command->worker_path = path.substr(0, path.rfind('/') + 1) + "farcall-worker";
  }
  if (::access(command->worker_path.c_str(), X_OK) == 0) return ok();
  return Status(Code::kNotFound, "cannot run " + command->worker_path + ": " +
                                     std::strerror(errno) + ". Give its path with --worker");
}

Status write_port_file(const std::string& path, std::uint16_t port) {
  std::string fresh = path + ".new";
  Fd file(::open(fresh.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644));
  if (!file) return Status::system("write " + fresh);
  std::string text = std::to_string(port) + "\n";
  if (::write(file.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size())) {
    return Status::system("write " + fresh);
  }
  if (::rename(fresh.c_str(), path.c_str()) != 0) return Status::system("write " + path);
  return ok();
}

bool check(const SupervisorOptions& options) {
  bool fine = check_certificate(options);
  fine = check_driver(options.worker.driver_path) && fine;
  WorkerProcess::Command command = options.worker;
  Status worker = find_worker(&command);
  fine = say("worker", worker, command.worker_path) && fine;
  if (worker.ok()) fine = print_sandbox(command, try_sandbox(command)) && fine;
  if (worker.ok()) fine = print_code(options.code, command) && fine;
  Result<Fd> listener = link::listen_tcp(options.host, options.port);
  std::string address = options.host + ":";
  if (listener.ok()) address += std::to_string(link::bound_port(listener.value()));
  fine = say("address", listener.status(), address + " is free") && fine;
  fine = check_worker_limits(options) && fine;
  print_memory();
  print_host();
  return fine;
}

}  // namespace farcall::server
