#include "transport/link/server_list.h"

#include <algorithm>
#include <charconv>

#include "transport/base/limits.h"

namespace farcall::link {
namespace {

std::vector<std::string> split(std::string_view text) {
  std::vector<std::string> parts;
  for (;;) {
    const std::size_t comma = text.find(',');
    parts.emplace_back(text.substr(0, comma));
    if (comma == std::string_view::npos) return parts;
    text.remove_prefix(comma + 1);
  }
}

}  // namespace

std::string_view without_carrier(std::string_view server) {
  const std::size_t scheme = server.find("://");
  return scheme == std::string_view::npos ? server : server.substr(scheme + 3);
}

Result<std::vector<std::string>> split_servers(std::string_view text) {
  std::vector<std::string> servers = split(text);
  const std::string quoted = "\"" + std::string(text) + "\"";
  if (servers.size() > limits::kServersMax) {
    return Status(Code::kUnsupported,
                  quoted + " names more than " + std::to_string(limits::kServersMax) + " servers");
  }
  for (auto one = servers.begin(); one != servers.end(); ++one) {
    if (one->empty()) {
      return Status(Code::kUnsupported, quoted + " has a comma without a server beside it");
    }
    const auto same = [&](const std::string& other) {
      return without_carrier(other) == without_carrier(*one);
    };
    if (std::any_of(servers.begin(), one, same)) {
      return Status(Code::kUnsupported, quoted + " names " + *one + " twice");
    }
  }
  return servers;
}

Result<std::vector<std::string>> split_names(std::string_view names, std::size_t servers) {
  std::vector<std::string> parts = split(names);
  if (parts.size() == 1) parts.resize(servers, parts.front());
  if (parts.size() != servers) {
    return Status(Code::kUnsupported, "\"" + std::string(names) + "\" has " +
                                          std::to_string(parts.size()) + " names for " +
                                          std::to_string(servers) + " servers");
  }
  return parts;
}

Result<Spread> parse_spread(std::string_view text) {
  if (text.empty() || text == "off") return Spread{};
  if (text == "on") return Spread{.is_on = true};
  int percent = 0;
  const char* const end = text.data() + text.size();
  const auto [rest, error] = std::from_chars(text.data(), end, percent);
  if (error != std::errc() || std::string_view(rest, end) != "%" || percent < 1 || percent > 99) {
    return Status(Code::kUnsupported, "\"" + std::string(text) +
                                          "\" is no spread: it is off, on, or the largest share "
                                          "of one server, 1% to 99%");
  }
  return Spread{.is_on = true, .share_percent_max = percent};
}

}  // namespace farcall::link
