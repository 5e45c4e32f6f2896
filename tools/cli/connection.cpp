#include "tools/cli/connection.h"

#include <toml++/toml.h>
#include <cstdlib>
#include <filesystem>

#include "transport/api/dispatch.h"
#include "transport/link/server_list.h"

namespace farcall::cli {
namespace {

struct Setting {
  std::string Connection::*field;
  const char* flag;
  const char* variable;
  const char* key;
  bool needed;
};

constexpr Setting kSettings[] = {
    {&Connection::server, "--server", "FARCALL_SERVER", "server", true},
    {&Connection::certificate, "--cert", "FARCALL_CERT", "cert", true},
    {&Connection::key, "--key", "FARCALL_KEY", "key", true},
    {&Connection::ca, "--ca", "FARCALL_CA", "ca", true},
    {&Connection::server_name, "--name", "FARCALL_SERVER_NAME", "name", false},
    {&Connection::deny_list, "--deny-list", "FARCALL_DENY_LIST", "deny-list", false},
    {&Connection::lease, "--lease", "FARCALL_LEASE", "lease", false},
    {&Connection::renew_from, "--renew-from", "FARCALL_RENEW_FROM", "renew-from", false},
    {&Connection::lanes, "--lanes", "FARCALL_LANES", "lanes", false},
    {&Connection::compress, "--compress", "FARCALL_COMPRESS", "compress", false},
    {&Connection::spread, "--spread", "FARCALL_SPREAD", "spread", false},
};

std::filesystem::path configuration_file() {
  if (const char* folder = std::getenv("XDG_CONFIG_HOME"); folder != nullptr && *folder != 0) {
    return std::filesystem::path(folder) / "farcall" / "config.toml";
  }
  const char* home = std::getenv("HOME");
  return std::filesystem::path(home == nullptr ? "/" : home) / ".config/farcall/config.toml";
}

Status apply_file(const std::filesystem::path& path, Connection* connection) {
  std::error_code error;
  if (!std::filesystem::exists(path, error)) return ok();
  toml::table table;
  try {
    table = toml::parse_file(path.string());
  } catch (const toml::parse_error& wrong) {
    return {Code::kUnsupported, path.string() + " line " +
                                    std::to_string(wrong.source().begin.line) + ": " +
                                    std::string(wrong.description())};
  }
  for (const auto& [key, value] : table) {
    const Setting* known = nullptr;
    for (const Setting& setting : kSettings) {
      if (key.str() == setting.key) known = &setting;
    }
    const auto* text = value.as_string();
    if (known == nullptr || text == nullptr) {
      return {Code::kUnsupported,
              path.string() + ": '" + std::string(key.str()) +
                  "': the keys are server, cert, key, ca, name, deny-list, lease, renew-from, "
                  "lanes, compress and spread, and their values are strings"};
    }
    if ((connection->*known->field).empty()) connection->*known->field = text->get();
  }
  return ok();
}

}  // namespace

Status complete(Connection* connection) {
  for (const Setting& setting : kSettings) {
    std::string& field = connection->*setting.field;
    if (!field.empty()) continue;
    if (const char* value = std::getenv(setting.variable)) field = value;
  }
  FARCALL_TRY(apply_file(configuration_file(), connection));
  for (const Setting& setting : kSettings) {
    if (setting.needed && (connection->*setting.field).empty()) {
      return {Code::kNotFound, std::string("no ") + setting.key + " given: pass " + setting.flag +
                                   ", or set " + setting.variable + ", or '" + setting.key +
                                   "' in " + configuration_file().string()};
    }
  }
  return ok();
}

Result<std::unique_ptr<link::Session>> connect(const Connection& connection,
                                               link::HelloInfo* hello) {
  link::DialOptions options;
  FARCALL_TRY(link::parse_server(connection.server, &options));
  if (Status sound = link::parse_stripes(connection.lanes, &options); !sound.ok()) {
    return Status(sound.code(), "--lanes: " + sound.text());
  }
  if (Status sound = link::parse_compress(connection.compress, &options); !sound.ok()) {
    return Status(sound.code(), "--compress: " + sound.text());
  }
  options.certificate_path = connection.certificate;
  options.key_path = connection.key;
  options.ca_path = connection.ca;
  options.server_name = connection.server_name;
  options.deny_list_path = connection.deny_list;
  options.lease_path = connection.lease;
  options.table_fingerprint = api::table_fingerprint();
  options.version = FARCALL_VERSION;
  auto session = link::dial(options, hello);
  if (session.ok()) return session;
  // dial names the server only where the trouble is with the server.
  const Status& why = session.status();
  return Status(why.code(), "cannot connect: " + why.text(), why.detail());
}

Status try_connection(const Connection& connection) {
  auto servers = link::split_servers(connection.server);
  if (!servers.ok()) return servers.status();
  auto names = link::split_names(connection.server_name, servers->size());
  if (!names.ok()) return names.status();
  Connection one = connection;
  for (std::size_t i = 0; i < servers->size(); ++i) {
    one.server = servers.value()[i];
    one.server_name = names.value()[i];
    auto session = connect(one, nullptr);
    if (!session.ok()) {
      const Status& why = session.status();
      if (servers->size() == 1) return why;
      return Status(why.code(), one.server + ": " + why.text(), why.detail());
    }
    session.value()->close(Status(Code::kClosed, "the connection was only tried"));
  }
  return ok();
}

void export_environment(const Connection& connection, const Places& places) {
  // A variable of the user's own must not complete a connection that lacks the value on purpose.
  const auto set = [](const char* name, const std::string& value) {
    value.empty() ? ::unsetenv(name) : ::setenv(name, value.c_str(), 1);
  };
  const auto absolute = [](const std::string& path) {
    std::error_code error;
    return path.empty() ? path : std::filesystem::absolute(path, error).string();
  };
  set("FARCALL_SERVER", connection.server);
  set("FARCALL_CERT", absolute(connection.certificate));
  set("FARCALL_KEY", absolute(connection.key));
  set("FARCALL_CA", absolute(connection.ca));
  set("FARCALL_SERVER_NAME", connection.server_name);
  set("FARCALL_DENY_LIST", absolute(connection.deny_list));
  set("FARCALL_LEASE", connection.lease.empty() ? "" : absolute(connection.lease));
  set("FARCALL_LANES", connection.lanes);
  set("FARCALL_COMPRESS", connection.compress);
  set("FARCALL_SPREAD", connection.spread);
  std::string preload = places.shim;
  if (is_file(places.nvml)) preload += ":" + places.nvml;
  if (const char* others = std::getenv("LD_PRELOAD"); others != nullptr && *others != 0) {
    preload += std::string(":") + others;
  }
  set("LD_PRELOAD", preload);
}

}  // namespace farcall::cli
