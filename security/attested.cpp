#include "security/attested.h"

#include <algorithm>
#include <array>
#include <charconv>

#include "security/fields.h"
#include "security/file.h"
#include "security/identity.h"
#include "transport/base/limits_quote.h"

namespace farcall::security {
namespace {

constexpr std::string_view kFirstLine = "farcall-attested 1";
constexpr std::size_t kFields = 6;
// A power cut puts a TPM's clock back by at most this (part 1, 36.3).
constexpr std::uint64_t kClockStepMs = std::uint64_t{1} << 22;

template <class T>
bool is_number(std::string_view text, T* number) {
  const auto read = std::from_chars(text.data(), text.data() + text.size(), *number);
  return read.ec == std::errc() && read.ptr == text.data() + text.size() &&
         std::to_string(*number) == text;
}

bool parse_line(std::string_view text, AttestedServer* server) {
  std::array<std::string_view, kFields> fields;
  if (!split_fields(text, fields)) return false;
  const auto& [host, key, resets, restarts, clock, at] = fields;
  const bool is_key =
      key.size() == 64 && key.find_first_not_of("0123456789abcdef") == std::string_view::npos;
  if (!is_identity_word(host) || !is_key || !is_number(resets, &server->clock.resets) ||
      !is_number(restarts, &server->clock.restarts) || !is_number(clock, &server->clock.ms) ||
      !is_number(at, &server->at)) {
    return false;
  }
  server->host = host;
  server->key = key;
  return true;
}

std::string times(std::uint32_t count) {
  return count == 1 ? "once" : std::to_string(count) + " times";
}

}  // namespace

Result<std::vector<AttestedServer>> parse_attested(std::string_view text) {
  return parse_lines<AttestedServer>(text, {kFirstLine, "list of attested servers"}, parse_line);
}

std::string attested_text(const std::vector<AttestedServer>& servers) {
  std::string text = std::string(kFirstLine) + "\n";
  for (const AttestedServer& one : servers) {
    text += one.host + " " + one.key + " " + std::to_string(one.clock.resets) + " " +
            std::to_string(one.clock.restarts) + " " + std::to_string(one.clock.ms) + " " +
            std::to_string(one.at) + "\n";
  }
  return text;
}

std::string since_then(const QuoteClock& before, const QuoteClock& now) {
  if (now.resets < before.resets || now.ms + kClockStepMs < before.ms) {
    return "its TPM was cleared since its last quote";
  }
  if (now.resets > before.resets) {
    return "it was started " + times(now.resets - before.resets) + " since its last quote";
  }
  if (now.restarts > before.restarts) {
    return "it was suspended " + times(now.restarts - before.restarts) + " since its last quote";
  }
  return {};
}

Result<std::vector<AttestedServer>> AttestedServers::all() const {
  Result<std::string> text = read_text(path_, limits::kAttestedBytesMax);
  if (!text.ok() && text.status().code() == Code::kNotFound) {
    return std::vector<AttestedServer>();
  }
  if (!text.ok()) return text.status();
  Result<std::vector<AttestedServer>> servers = parse_attested(text.value());
  if (servers.ok()) return servers;
  return Status(Code::kDenied, path_ + ": " + servers.status().text());
}

Result<std::optional<AttestedServer>> AttestedServers::find(const std::string& host) const {
  Result<std::vector<AttestedServer>> servers = all();
  if (!servers.ok()) return servers.status();
  const auto at = std::ranges::find(servers.value(), host, &AttestedServer::host);
  if (at == servers->end()) return std::optional<AttestedServer>();
  return std::optional<AttestedServer>(*at);
}

Status AttestedServers::put(const AttestedServer& server) const {
  Result<std::vector<AttestedServer>> servers = all();
  if (!servers.ok()) return servers.status();
  std::erase_if(servers.value(), [&](const auto& one) { return one.host == server.host; });
  if (servers->size() >= limits::kAttestedMax) {
    return {Code::kOverQuota, path_ + " knows 10000 servers: take out those that are gone"};
  }
  const auto at = std::ranges::lower_bound(servers.value(), server.host, {}, &AttestedServer::host);
  servers->insert(at, server);
  return replace_file(path_, bytes_of(attested_text(servers.value())), 0600);
}

}  // namespace farcall::security
