#include "gpu_server/containment_file.h"

#include <fcntl.h>
#include <toml++/toml.h>
#include <unistd.h>

#include "gpu_server/lease_limits.h"
#include "transport/base/limits_containment.h"
#include "transport/base/unique.h"

namespace farcall::server {
namespace {

struct Place {
  std::string name;
  Status wrong(const toml::node& at, const std::string& what) const {
    return {Code::kUnsupported,
            name + " line " + std::to_string(at.source().begin.line) + ": " + what};
  }
};

Result<std::uint64_t> number(const Place& place, const toml::node& node) {
  if (const auto* integer = node.as_integer(); integer != nullptr && integer->get() >= 0) {
    return static_cast<std::uint64_t>(integer->get());
  }
  const auto* text = node.as_string();
  Result<std::uint64_t> bytes =
      text != nullptr ? parse_bytes(text->get()) : Status(Code::kUnsupported, "");
  if (bytes.ok()) return bytes;
  return place.wrong(node, "a threshold is a number such as 1000, or \"20GiB\"");
}

Status take_text(const Place& place, const toml::node& node, std::string* text) {
  const auto* string = node.as_string();
  if (string == nullptr || string->get().empty()) return place.wrong(node, "a word in quotes");
  *text = string->get();
  return ok();
}

Status take_action(const Place& place, const toml::node& node, ContainmentRule* rule) {
  std::string word;
  FARCALL_TRY(take_text(place, node, &word));
  if (word != "freeze" && word != "tell") return place.wrong(node, "action is freeze or tell");
  rule->action = word == "tell" ? ContainmentAction::kTell : ContainmentAction::kFreeze;
  return ok();
}

Status take_word(const Place& place, std::string_view key, const toml::node& node,
                 ContainmentRule* rule) {
  if (key == "zone") return take_text(place, node, &rule->zone);
  if (key == "role") return take_text(place, node, &rule->role);
  if (key == "action") return take_action(place, node, rule);
  const std::optional<Feature> feature = parse_feature(key);
  if (!feature) return place.wrong(node, "a rule has no '" + std::string(key) + "'");
  Result<std::uint64_t> most = number(place, node);
  if (most.ok()) rule->most[static_cast<std::size_t>(*feature)] = most.value();
  return most.status();
}

Status take_rules(const Place& place, const toml::node& node, ContainmentRules* rules) {
  const auto* list = node.as_array();
  if (list == nullptr) return place.wrong(node, "rules are written [[rule]]");
  if (list->size() > limits::kContainmentRulesMax) return place.wrong(node, "too many rules");
  for (const toml::node& each : *list) {
    const auto* table = each.as_table();
    if (table == nullptr) return place.wrong(each, "rules are written [[rule]]");
    ContainmentRule rule;
    for (const auto& [key, value] : *table) {
      FARCALL_TRY(take_word(place, key.str(), value, &rule));
    }
    rules->rules.push_back(std::move(rule));
  }
  return ok();
}

Status take_seconds(const Place& place, const std::string& key, const toml::node& node,
                    std::int64_t* into) {
  const auto* seconds = node.as_integer();
  if (seconds == nullptr || seconds->get() < limits::kContainmentWindowMinS ||
      seconds->get() > limits::kContainmentWindowMaxS) {
    return place.wrong(node, key + " is a number of seconds, 1 to 86400");
  }
  *into = seconds->get();
  return ok();
}

}  // namespace

Result<ContainmentRules> parse_containment(std::string_view text, const std::string& name) {
  const Place place{name};
  toml::table table;
  try {
    table = toml::parse(text, name);
  } catch (const toml::parse_error& wrong) {
    return Status(Code::kUnsupported, name + " line " + std::to_string(wrong.source().begin.line) +
                                          ": " + std::string(wrong.description()));
  }
  ContainmentRules rules;
  for (const auto& [key, value] : table) {
    Status taken = place.wrong(value, "there is no '" + std::string(key.str()) + "'");
    if (key == "rule") taken = take_rules(place, value, &rules);
    if (key == "window_s") taken = take_seconds(place, "window_s", value, &rules.window_s);
    if (key == "detail_s") taken = take_seconds(place, "detail_s", value, &rules.detail_s);
    if (!taken.ok()) return taken;
  }
  return rules;
}

Result<ContainmentRules> load_containment(const std::string& path) {
  const Fd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file) return Status::system("open " + path);
  std::string text(limits::kContainmentFileBytesMax, '\0');
  const ssize_t bytes = ::read(file.get(), text.data(), text.size());
  if (bytes < 0) return Status::system("read " + path);
  if (static_cast<std::size_t>(bytes) == text.size()) {
    return Status(Code::kUnsupported, path + " is longer than any list of thresholds may be");
  }
  text.resize(static_cast<std::size_t>(bytes));
  return parse_containment(text, path);
}

std::string containment_help() {
  const ContainmentRule usual;
  std::string text;
  for (std::size_t i = 0; i < kFeatures; ++i) {
    text += "  " + std::string(name_of(static_cast<Feature>(i))) + ": " +
            (usual.most[i] == 0 ? "none" : std::to_string(usual.most[i])) + "\n";
  }
  return text;
}

}  // namespace farcall::server
