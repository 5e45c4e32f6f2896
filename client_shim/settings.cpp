#include "client_shim/settings.h"

#include <fcntl.h>
#include <unistd.h>

#include <cstdlib>

#include "transport/base/switches.h"
#include "transport/base/unique.h"
#include "transport/link/server_list.h"

namespace farcall::shim {
namespace {

std::string from_environment(const char* name) {
  // secure_getenv: a set-uid program must not be pointed at somebody else's server.
  const char* value = ::secure_getenv(name);
  return value == nullptr ? std::string() : std::string(value);
}

std::optional<std::string> if_set(const char* name) {
  const char* value = ::secure_getenv(name);
  return value == nullptr ? std::nullopt : std::optional<std::string>(value);
}

}  // namespace

Result<Settings> settings_from_environment() {
  Settings settings;
  settings.server = from_environment("FARCALL_SERVER");
  settings.certificate = from_environment("FARCALL_CERT");
  settings.key = from_environment("FARCALL_KEY");
  settings.ca = from_environment("FARCALL_CA");
  settings.server_name = from_environment("FARCALL_SERVER_NAME");
  settings.lanes = from_environment("FARCALL_LANES");
  settings.compress = from_environment("FARCALL_COMPRESS");
  settings.stats_file = from_environment("FARCALL_STATS");
  settings.trace_file = from_environment("FARCALL_TRACE");
  settings.visible_devices = if_set("CUDA_VISIBLE_DEVICES");
  settings.device_order = if_set("CUDA_DEVICE_ORDER");
  std::string strict = from_environment("FARCALL_STRICT");
  settings.strict = !strict.empty() && strict != "0";
  if (settings.server.empty()) {
    return Status(Code::kNotFound,
                  "FARCALL_SERVER is not set: start the program with `farcall run`, or set it to "
                  "host:port of a server");
  }
  FARCALL_TRY(turn_off_from_environment());
  const struct {
    const char* name;
    const std::string& value;
  } needed[] = {{"FARCALL_CERT", settings.certificate},
                {"FARCALL_KEY", settings.key},
                {"FARCALL_CA", settings.ca}};
  for (const auto& one : needed) {
    if (one.value.empty()) {
      return Status(Code::kUnsupported, std::string(one.name) +
                                            " is not set: every link is encrypted and needs a "
                                            "certificate, a key and the pool's CA");
    }
  }
  return settings;
}

Result<std::vector<Settings>> split_settings(const Settings& all) {
  auto servers = link::split_servers(all.server);
  if (!servers.ok()) return servers.status();
  auto names = link::split_names(all.server_name, servers->size());
  if (!names.ok()) return names.status();
  std::vector<Settings> each;
  for (std::size_t i = 0; i < servers->size(); ++i) {
    Settings one = all;
    one.server = servers.value()[i];
    one.server_name = names.value()[i];
    for (std::string* file : {&one.stats_file, &one.trace_file}) {
      if (i > 0 && !file->empty()) *file += "." + std::to_string(i + 1);
    }
    each.push_back(std::move(one));
  }
  return each;
}

std::string places_of(const std::vector<Settings>& servers) {
  std::string places;
  for (const Settings& one : servers) {
    if (!places.empty()) places += ',';
    places += link::without_carrier(one.server);
  }
  return places;
}

void report_status(const Status& why) {
  std::string path = from_environment("FARCALL_STATUS");
  if (path.empty() || why.ok()) return;
  Fd file(::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
  if (!file) return;
  std::string line = why.to_string() + "\n";
  // A status file that cannot be written loses the hint, nothing else.
  if (::write(file.get(), line.data(), line.size()) < 0) return;
}

}  // namespace farcall::shim
