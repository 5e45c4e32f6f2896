#include "tools/cli/lease_text.h"

#include <bit>
#include <sstream>

#include "security/crypto.h"
#include "security/lease_keys.h"
#include "tools/cli/units.h"
#include "transport/api/family_names.h"

namespace farcall::cli {
namespace {

constexpr std::uint64_t kAll = ~std::uint64_t{0};

std::string limit_text(std::uint64_t limit, const std::string& text) {
  return limit == 0 ? "no limit" : text;
}

std::string joined(const std::vector<std::string>& words) {
  std::string text;
  for (const std::string& word : words) text += (text.empty() ? "" : ", ") + word;
  return text;
}

std::string when_text(const security::LeaseToken& lease, std::int64_t now_s) {
  if (now_s >= lease.expires) return "expired " + duration_text(now_s - lease.expires) + " ago";
  if (now_s < lease.not_before) return "begins in " + duration_text(lease.not_before - now_s);
  return duration_text(lease.expires - now_s) + " left";
}

}  // namespace

std::string describe(const security::LeaseToken& lease, std::int64_t now_s) {
  std::ostringstream out;
  const auto line = [&out](const char* name, const std::string& value) {
    if (!value.empty())
      out << name << std::string(14 - std::string(name).size(), ' ') << value << '\n';
  };
  line("lease", to_string(lease.id) + ", serial " + std::to_string(lease.serial));
  line("holder", "tenant " + lease.tenant + ", user " + lease.user + " of pool " + lease.pool);
  line("his key", security::to_hex(lease.holder));
  line("role", lease.role);
  line("project", lease.project);
  line("purpose", lease.purpose);
  line("server", lease.server);
  line("zone", lease.zone);
  line("devices", lease.devices.empty() ? "all that the server offers" : joined(lease.devices));
  line("memory", limit_text(lease.memory_bytes, size_text(lease.memory_bytes) + " of each device"));
  line("compute", std::to_string(lease.compute_percent) + " %");
  line("sessions", std::to_string(lease.sessions) + " at a time");
  if (lease.threads != 0) line("threads", std::to_string(lease.threads) + " of a session");
  if (lease.handles != 0) line("handles", std::to_string(lease.handles) + " of a session");
  if (lease.image_bytes != 0) line("images", size_text(lease.image_bytes));
  if (lease.in_flight_bytes != 0) line("in flight", size_text(lease.in_flight_bytes));
  line("calls", families_text(lease.families));
  line("cipher", std::string("at least ") + name_of(lease.cipher_floor));
  line("data", name_of(lease.data_class));
  line("valid from", security::time_text(lease.not_before));
  line("valid until", security::time_text(lease.expires) + " (" + when_text(lease, now_s) + ")");
  line("signed by", "key " + security::to_string(lease.key_id));
  return out.str();
}

Result<std::uint64_t> parse_families(const std::string& text) {
  std::uint64_t families = 1;
  std::istringstream words(text);
  for (std::string word; std::getline(words, word, ',');) {
    const auto family = api::family_named(word);
    if (!family) {
      return Status(Code::kUnsupported,
                    "\"" + word + "\" is no family of calls; there are " + families_help());
    }
    families |= std::uint64_t{1} << *family;
  }
  return families;
}

std::string families_text(std::uint64_t families) {
  if (families == kAll) return "all";
  std::vector<std::string> granted, missing;
  for (std::size_t i = 0; i < api::kFamilyNames.size(); ++i) {
    ((families >> i & 1) != 0 ? granted : missing).emplace_back(api::kFamilyNames[i]);
  }
  // The bits behind those of today's families tell which of the two was meant.
  if (std::popcount(families) > 32) return "all but " + joined(missing);
  return joined(granted);
}

std::string families_help() {
  std::vector<std::string> names(api::kFamilyNames.begin() + 1, api::kFamilyNames.end());
  return joined(names);
}

Result<security::DataClass> parse_data_class(const std::string& text) {
  for (int i = 1; i <= static_cast<int>(security::DataClass::kRestricted); ++i) {
    const auto one = static_cast<security::DataClass>(i);
    if (text == security::name_of(one)) return one;
  }
  return Status(Code::kUnsupported, "\"" + text +
                                        "\" is no data class; there are public, internal, "
                                        "confidential and restricted");
}

}  // namespace farcall::cli
