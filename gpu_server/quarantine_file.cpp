#include "gpu_server/quarantine_file.h"

#include <nlohmann/json.hpp>

#include "security/file.h"

namespace farcall::server {
namespace {

using nlohmann::json;

constexpr int kVersion = 1;
constexpr std::size_t kFileBytesMax = limits::kControlAnswerBytesMax;
constexpr std::size_t kTextBytesMax = 1024;  // of one name

// By the names that farcall quarantine shows. Refused calls are kept as one number.
constexpr std::pair<const char*, Tally> kEvidence[] = {
    {"unknown_handles", Tally::kUnknownHandles},
    {"refused_calls", Tally::kRefusedFamily},
    {"bytes_out", Tally::kBytesOut},
    {"allocations", Tally::kAllocations},
    {"allocated_bytes", Tally::kAllocatedBytes},
    {"modules", Tally::kModules},
    {"calls", Tally::kCalls},
    {"bytes_in", Tally::kBytesIn},
    {"memory_peak", Tally::kMemoryPeak},
};
constexpr std::pair<const char*, std::string QuarantineCase::*> kTexts[] = {
    {"case", &QuarantineCase::id},
    {"session", &QuarantineCase::session},
    {"lease", &QuarantineCase::lease},
    {"from", &QuarantineCase::from},
};
constexpr std::pair<const char*, std::string security::PeerIdentity::*> kNames[] = {
    {"pool", &security::PeerIdentity::pool}, {"tenant", &security::PeerIdentity::tenant},
    {"user", &security::PeerIdentity::user}, {"zone", &security::PeerIdentity::zone},
    {"role", &security::PeerIdentity::role}, {"serial", &security::PeerIdentity::serial},
};

json json_of(const QuarantineCase& one) {
  json evidence;
  for (const auto& [name, tally] : kEvidence) evidence[name] = one.evidence[tally];
  evidence["refused_calls"] =
      features_of(one.evidence)[static_cast<std::size_t>(Feature::kRefusedCalls)];
  json all = {{"since", one.since_unix_s},    {"feature", std::string(name_of(one.hit.feature))},
              {"value", one.hit.value},       {"most", one.hit.most},
              {"window_s", one.hit.window_s}, {"evidence", evidence}};
  for (const auto& [name, member] : kTexts) all[name] = one.*member;
  for (const auto& [name, member] : kNames) all[name] = one.who.*member;
  return all;
}

bool take(const json& from, const char* name, std::string* to) {
  const auto at = from.find(name);
  if (at == from.end() || !at->is_string()) return false;
  *to = at->get<std::string>();
  return to->size() <= kTextBytesMax;
}

bool take(const json& from, const char* name, std::uint64_t* to) {
  const auto at = from.find(name);
  if (at == from.end() || !at->is_number_unsigned()) return false;
  *to = at->get<std::uint64_t>();
  return true;
}

bool take_case(const json& from, QuarantineCase* to) {
  if (!from.is_object()) return false;
  for (const auto& [name, member] : kTexts) {
    if (!take(from, name, &(to->*member))) return false;
  }
  for (const auto& [name, member] : kNames) {
    if (!take(from, name, &(to->who.*member))) return false;
  }
  std::string feature;
  std::uint64_t since = 0, window_s = 0;
  if (!take(from, "feature", &feature) || !parse_feature(feature) || !take(from, "since", &since) ||
      !take(from, "window_s", &window_s) || !take(from, "value", &to->hit.value) ||
      !take(from, "most", &to->hit.most)) {
    return false;
  }
  const auto evidence = from.find("evidence");
  if (evidence == from.end() || !evidence->is_object()) return false;
  for (const auto& [name, tally] : kEvidence) {
    if (!take(*evidence, name, &to->evidence.values[static_cast<std::size_t>(tally)])) return false;
  }
  to->hit.feature = *parse_feature(feature);
  to->since_unix_s = static_cast<std::int64_t>(since);
  to->hit.window_s = static_cast<std::int64_t>(window_s);
  to->state = CaseState::kEnded;
  return !to->id.empty();
}

}  // namespace

std::string cases_text(const std::vector<QuarantineCase>& cases) {
  json all = json::array();
  for (const QuarantineCase& one : cases) {
    if (stands(one)) all.push_back(json_of(one));
  }
  // Names come from certificates: what is no text must not end the server.
  return json{{"version", kVersion}, {"cases", all}}.dump(1, ' ', true,
                                                          json::error_handler_t::replace) +
         "\n";
}

Result<std::vector<QuarantineCase>> cases_in(std::string_view text) {
  const json all = json::parse(text, nullptr, false);
  if (!all.is_object()) return Status(Code::kDenied, "it is no JSON object");
  const auto version = all.find("version");
  const auto list = all.find("cases");
  if (version == all.end() || *version != kVersion) {
    return Status(Code::kDenied, "it is of a version that this server does not know");
  }
  if (list == all.end() || !list->is_array()) return Status(Code::kDenied, "it has no cases");
  std::vector<QuarantineCase> cases;
  for (const json& each : *list) {
    QuarantineCase one;
    if (!take_case(each, &one)) {
      return Status(Code::kDenied, "case " + std::to_string(cases.size() + 1) + " is damaged");
    }
    cases.push_back(std::move(one));
  }
  return cases;
}

Status save_cases(const std::string& path, const std::vector<QuarantineCase>& cases) {
  const std::string text = cases_text(cases);
  return security::replace_file(path, security::bytes_of(text), 0600);
}

Result<std::vector<QuarantineCase>> load_cases(const std::string& path) {
  Result<SecureBuffer> bytes = security::read_file(path, kFileBytesMax);
  if (bytes.status().code() == Code::kNotFound) return std::vector<QuarantineCase>();
  Status wrong = bytes.status();
  if (bytes.ok()) {
    auto cases = cases_in({reinterpret_cast<const char*>(bytes->data()), bytes->size()});
    if (cases.ok()) return cases;
    wrong = cases.status();
  }
  return Status(wrong.code(), "who is in quarantine cannot be told: " + path + ": " + wrong.text() +
                                  "; see what it says, and move it away to let all of them in");
}

}  // namespace farcall::server
