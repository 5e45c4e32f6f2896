#include "security/golden.h"

#include <algorithm>
#include <charconv>

#include "security/crypto.h"
#include "security/toml_file.h"
#include "transport/base/limits_quote.h"

namespace farcall::security {
namespace {

constexpr std::string_view kAllOthers = "*";
// Beyond these a refusal says how many more differ: one is enough to look at a machine.
constexpr std::size_t kDifferencesTold = 3;

Result<std::vector<std::string>> words_of(const toml::node& node, std::size_t words_max) {
  const auto* list = node.as_array();
  if (list == nullptr || list->empty()) return wrong_toml(node, "a list such as [\"…\"] is due");
  if (list->size() > words_max) return wrong_toml(node, "the list is too long");
  std::vector<std::string> words;
  for (const toml::node& each : *list) {
    const auto* text = each.as_string();
    if (text == nullptr || text->get().empty()) return wrong_toml(each, "a word in quotes");
    words.push_back(text->get());
  }
  return words;
}

Result<std::vector<Sha256>> values_of(const toml::node& node) {
  Result<std::vector<std::string>> words = words_of(node, limits::kGoldenValuesMax);
  if (!words.ok()) return words.status();
  std::vector<Sha256> values;
  for (const std::string& word : words.value()) {
    Result<Sha256> value = parse_sha256(word);
    if (!value.ok()) return wrong_toml(node, value.status().text());
    values.push_back(value.value());
  }
  return values;
}

Status take_pcrs(const toml::node& node, GoldenClass* one) {
  const auto* table = node.as_table();
  if (table == nullptr) return wrong_toml(node, "PCRs stand below [class.pcr]");
  for (const auto& [key, value] : *table) {
    const std::string_view text = key.str();
    std::size_t index = kPcrs;
    const auto read = std::from_chars(text.data(), text.data() + text.size(), index);
    if (read.ec != std::errc() || read.ptr != text.data() + text.size() || index >= kPcrs) {
      return wrong_toml(value, "\"" + std::string(text) + "\" is no PCR; they are 0 to 23");
    }
    Result<std::vector<Sha256>> values = values_of(value);
    if (!values.ok()) return values.status();
    if (!one->pcrs.emplace(index, std::move(values).value()).second) {
      return wrong_toml(value, "PCR " + std::to_string(index) + " stands there twice");
    }
  }
  return ok();
}

Status take_word(std::string_view key, const toml::node& node, GoldenClass* one) {
  if (key == "pcr") return take_pcrs(node, one);
  if (key == "name") {
    const auto* text = node.as_string();
    if (text == nullptr) return wrong_toml(node, "a name stands in quotes");
    one->name = text->get();
    return ok();
  }
  if (key == "servers") {
    Result<std::vector<std::string>> words = words_of(node, limits::kGoldenServersMax);
    if (words.ok()) one->servers = std::move(words).value();
    return words.status();
  }
  if (key == "manifest") {
    Result<std::vector<Sha256>> values = values_of(node);
    if (values.ok()) one->manifests = std::move(values).value();
    return values.status();
  }
  return wrong_toml(node, "a class has no '" + std::string(key) + "'");
}

bool names(const GoldenClass& one, std::string_view server) {
  return std::ranges::find(one.servers, server) != one.servers.end();
}

Status take_classes(const toml::node& node, GoldenSet* set) {
  const auto* list = node.as_array();
  if (list == nullptr) return wrong_toml(node, "classes are written [[class]]");
  if (list->size() > limits::kGoldenClassesMax) return wrong_toml(node, "too many classes");
  for (const toml::node& each : *list) {
    const auto* table = each.as_table();
    if (table == nullptr) return wrong_toml(each, "classes are written [[class]]");
    GoldenClass one;
    for (const auto& [key, value] : *table) {
      FARCALL_TRY(take_word(key.str(), value, &one));
    }
    if (one.servers.empty())
      return wrong_toml(each, "servers = [\"…\"] is missing: for whom is it?");
    // A class without any would let every machine in.
    if (one.pcrs.empty())
      return wrong_toml(each, "[class.pcr] is missing: nothing would be checked");
    for (const GoldenClass& other : set->classes) {
      for (const std::string& server : one.servers) {
        if (names(other, server)) return wrong_toml(each, server + " is in another class as well");
      }
    }
    set->classes.push_back(std::move(one));
  }
  return ok();
}

const GoldenClass* class_of(const GoldenSet& set, const std::string& host) {
  const GoldenClass* others = nullptr;
  for (const GoldenClass& one : set.classes) {
    if (names(one, host)) return &one;
    if (names(one, kAllOthers)) others = &one;
  }
  return others;
}

std::string expected_text(const std::vector<Sha256>& allowed) {
  std::string text = "expected " + to_hex(allowed.front());
  if (allowed.size() > 1) text += " or " + std::to_string(allowed.size() - 1) + " others";
  return text;
}

bool is_among(const std::vector<Sha256>& allowed, const Sha256& found) {
  return std::ranges::find(allowed, found) != allowed.end();
}

std::vector<std::string> differences(const GoldenClass& one, const Quote& quote) {
  std::vector<std::string> found;
  for (const auto& [index, allowed] : one.pcrs) {
    const std::string pcr = "PCR " + std::to_string(index);
    if (!quote.pcrs.has(index)) {
      found.push_back(pcr + " is not in the quote, " + expected_text(allowed));
    } else if (!is_among(allowed, quote.pcrs.values[index])) {
      found.push_back(pcr + " is " + to_hex(quote.pcrs.values[index]) + ", " +
                      expected_text(allowed));
    }
  }
  if (!one.manifests.empty() && !is_among(one.manifests, quote.manifest)) {
    found.push_back("the manifest is " +
                    (quote.manifest == Sha256{} ? "none" : to_hex(quote.manifest)) + ", " +
                    expected_text(one.manifests));
  }
  return found;
}

Result<GoldenSet> read_golden(const toml::table& table) {
  GoldenSet set;
  for (const auto& [key, value] : table) {
    Status taken = wrong_toml(value, "there is no '" + std::string(key.str()) + "'");
    if (key == "class") taken = take_classes(value, &set);
    if (!taken.ok()) return taken;
  }
  if (set.classes.empty()) {
    return wrong_toml(table, "there is no [[class]]");
  }
  return set;
}

}  // namespace

Result<Sha256> parse_sha256(std::string_view text) {
  Sha256 value{};
  if (text.size() != 2 * value.size()) {
    return Status(Code::kUnsupported, "a SHA-256 has 64 hexadecimal digits");
  }
  for (std::size_t i = 0; i < value.size(); ++i) {
    unsigned byte = 0;
    const char* at = text.data() + 2 * i;
    const auto read = std::from_chars(at, at + 2, byte, 16);
    if (read.ec != std::errc() || read.ptr != at + 2) {
      return Status(Code::kUnsupported, "a SHA-256 has 64 hexadecimal digits");
    }
    value[i] = static_cast<std::byte>(byte);
  }
  return value;
}

Result<GoldenSet> parse_golden(std::string_view text, const std::string& name) {
  Result<toml::table> table = parse_toml(text, name);
  if (!table.ok()) return table.status();
  return read_golden(table.value());
}

Result<GoldenSet> load_golden(const std::string& path) {
  Result<toml::table> table = load_toml(path, limits::kGoldenBytesMax);
  if (!table.ok()) {
    return Status(table.status().code(),
                  table.status().text() + " ('farcall attest golden' makes one)");
  }
  return read_golden(table.value());
}

std::string golden_text(const GoldenClass& one) {
  const auto list = [](const auto& all, const auto& text_of) {
    std::string text = "[";
    for (const auto& each : all) text += (text.size() > 1 ? ", \"" : "\"") + text_of(each) + "\"";
    return text + "]\n";
  };
  const auto hex = [](const Sha256& value) { return to_hex(value); };
  std::string text = "[[class]]\nname = \"" + one.name + "\"\nservers = ";
  text += list(one.servers, [](const std::string& word) { return word; });
  if (!one.manifests.empty()) text += "manifest = " + list(one.manifests, hex);
  text += "[class.pcr]\n";
  for (const auto& [index, values] : one.pcrs) {
    text += std::to_string(index) + " = " + list(values, hex);
  }
  return text;
}

Status judge(const GoldenSet& set, const std::string& host, const Quote& quote) {
  const GoldenClass* one = class_of(set, host);
  if (one == nullptr) {
    return {Code::kDenied, "the golden set names no class of machines for " + host};
  }
  const std::vector<std::string> found = differences(*one, quote);
  if (found.empty()) return ok();
  std::string text;
  for (std::size_t i = 0; i < std::min(found.size(), kDifferencesTold); ++i) {
    text += (i == 0 ? "" : "; ") + found[i];
  }
  if (found.size() > kDifferencesTold) {
    text += "; and " + std::to_string(found.size() - kDifferencesTold) + " more differ";
  }
  return {Code::kDenied, text + " (class \"" + one->name + "\" of the golden set)"};
}

}  // namespace farcall::security
