#include "gpu_server/containment_file.h"

#include "gpu_server/lease_limits.h"
#include "security/toml_file.h"
#include "transport/base/limits_containment.h"

namespace farcall::server {
namespace {

using security::wrong_toml;

Result<std::uint64_t> number(const toml::node& node) {
  if (const auto* integer = node.as_integer(); integer != nullptr && integer->get() >= 0) {
    return static_cast<std::uint64_t>(integer->get());
  }
  const auto* text = node.as_string();
  Result<std::uint64_t> bytes =
      text != nullptr ? parse_bytes(text->get()) : Status(Code::kUnsupported, "");
  if (bytes.ok()) return bytes;
  return wrong_toml(node, "a threshold is a number such as 1000, or \"20GiB\"");
}

Status take_text(const toml::node& node, std::string* text) {
  const auto* string = node.as_string();
  if (string == nullptr || string->get().empty()) return wrong_toml(node, "a word in quotes");
  *text = string->get();
  return ok();
}

Status take_action(const toml::node& node, ContainmentRule* rule) {
  std::string word;
  FARCALL_TRY(take_text(node, &word));
  if (word != "freeze" && word != "tell") return wrong_toml(node, "action is freeze or tell");
  rule->action = word == "tell" ? ContainmentAction::kTell : ContainmentAction::kFreeze;
  return ok();
}

Status take_word(std::string_view key, const toml::node& node, ContainmentRule* rule) {
  if (key == "zone") return take_text(node, &rule->zone);
  if (key == "role") return take_text(node, &rule->role);
  if (key == "action") return take_action(node, rule);
  const std::optional<Feature> feature = parse_feature(key);
  if (!feature) return wrong_toml(node, "a rule has no '" + std::string(key) + "'");
  Result<std::uint64_t> most = number(node);
  if (most.ok()) rule->most[static_cast<std::size_t>(*feature)] = most.value();
  return most.status();
}

Status take_rules(const toml::node& node, ContainmentRules* rules) {
  const auto* list = node.as_array();
  if (list == nullptr) return wrong_toml(node, "rules are written [[rule]]");
  if (list->size() > limits::kContainmentRulesMax) return wrong_toml(node, "too many rules");
  for (const toml::node& each : *list) {
    const auto* table = each.as_table();
    if (table == nullptr) return wrong_toml(each, "rules are written [[rule]]");
    ContainmentRule rule;
    for (const auto& [key, value] : *table) {
      FARCALL_TRY(take_word(key.str(), value, &rule));
    }
    rules->rules.push_back(std::move(rule));
  }
  return ok();
}

Status take_seconds(const std::string& key, const toml::node& node, std::int64_t* into) {
  const auto* seconds = node.as_integer();
  if (seconds == nullptr || seconds->get() < limits::kContainmentWindowMinS ||
      seconds->get() > limits::kContainmentWindowMaxS) {
    return wrong_toml(node, key + " is a number of seconds, 1 to 86400");
  }
  *into = seconds->get();
  return ok();
}

Result<ContainmentRules> read_containment(const toml::table& table) {
  ContainmentRules rules;
  for (const auto& [key, value] : table) {
    Status taken = wrong_toml(value, "there is no '" + std::string(key.str()) + "'");
    if (key == "rule") taken = take_rules(value, &rules);
    if (key == "window_s") taken = take_seconds("window_s", value, &rules.window_s);
    if (key == "detail_s") taken = take_seconds("detail_s", value, &rules.detail_s);
    if (!taken.ok()) return taken;
  }
  return rules;
}

}  // namespace

Result<ContainmentRules> parse_containment(std::string_view text, const std::string& name) {
  Result<toml::table> table = security::parse_toml(text, name);
  if (!table.ok()) return table.status();
  return read_containment(table.value());
}

Result<ContainmentRules> load_containment(const std::string& path) {
  Result<toml::table> table = security::load_toml(path, limits::kContainmentFileBytesMax);
  if (!table.ok()) return table.status();
  return read_containment(table.value());
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
