#include "tools/cli/audit_cost.h"

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "tools/cli/audit_query.h"
#include "tools/cli/summary.h"

namespace farcall::cli {
namespace {

// 0 where there is no such number.
std::uint64_t number(const security::AuditRecord& record, std::string_view name) {
  const std::string_view text = security::detail(record, name);
  std::uint64_t value = 0;
  const auto parsed = std::from_chars(text.data(), text.data() + text.size(), value);
  return parsed.ec == std::errc() && parsed.ptr == text.data() + text.size() ? value : 0;
}

void add_to(std::uint64_t& sum, std::uint64_t more) {
  if (__builtin_add_overflow(sum, more, &sum)) sum = UINT64_MAX;
}

std::string seconds(std::uint64_t whole_us) {
  char text[48];
  std::snprintf(text, sizeof text, "%.3f s", static_cast<double>(whole_us) * 1e-6);
  return text;
}

double processor_us(const CostRow& row) {
  return static_cast<double>(row.seal_us) + static_cast<double>(row.open_us);
}

}  // namespace

double CostRow::percent() const {
  if (ran_ms == 0) return 0;
  return 100 * processor_us(*this) / (static_cast<double>(ran_ms) * 1'000);
}

std::optional<CostTable::By> CostTable::parse(std::string_view word) {
  if (word == "lease") return By::kLease;
  if (word == "user") return By::kUser;
  if (word == "tenant") return By::kTenant;
  if (word == "server") return By::kServer;
  return std::nullopt;
}

std::string CostTable::name_of(const security::AuditRecord& record) const {
  switch (by_) {
    case By::kTenant: return record.tenant;
    case By::kServer: return record.server;
    case By::kLease:
      if (!record.lease.empty()) return record.lease;
      break;
    case By::kUser: break;
  }
  return record.principal;
}

void CostTable::add(const security::AuditLine& line) {
  const security::AuditRecord& record = line.record;
  if (record.kind != security::audit::kSessionCost) return;
  CostRow& row = rows_[name_of(record)];
  row.name = name_of(record);
  add_to(row.sessions, 1);
  add_to(row.ran_ms, number(record, "ran_ms"));
  add_to(row.sealed_bytes, number(record, "sealed_bytes"));
  add_to(row.opened_bytes, number(record, "opened_bytes"));
  add_to(row.seal_us, number(record, "seal_us"));
  add_to(row.open_us, number(record, "open_us"));
}

std::vector<CostRow> CostTable::rows() const {
  std::vector<CostRow> all;
  for (const auto& [name, row] : rows_) all.push_back(row);
  std::stable_sort(all.begin(), all.end(), [](const CostRow& one, const CostRow& other) {
    return processor_us(one) > processor_us(other);
  });
  return all;
}

std::string to_text(const std::vector<CostRow>& rows) {
  std::string text =
      "SESSIONS         RAN      SEALED      OPENED     SEALING     OPENING  OF THE TIME  WHOSE\n";
  for (const CostRow& row : rows) {
    char line[200];
    std::snprintf(line, sizeof line, "%8llu  %9.1f s  %10s  %10s  %10s  %10s  %10.3f %%  ",
                  static_cast<unsigned long long>(row.sessions),
                  static_cast<double>(row.ran_ms) / 1'000,
                  with_unit(static_cast<double>(row.sealed_bytes)).c_str(),
                  with_unit(static_cast<double>(row.opened_bytes)).c_str(),
                  seconds(row.seal_us).c_str(), seconds(row.open_us).c_str(), row.percent());
    text += line + printable(row.name) + "\n";
  }
  return text;
}

std::string to_json(const std::vector<CostRow>& rows) {
  nlohmann::ordered_json all = nlohmann::ordered_json::array();
  for (const CostRow& row : rows) {
    all.push_back({{"whose", row.name},
                   {"sessions", row.sessions},
                   {"ran_ms", row.ran_ms},
                   {"sealed_bytes", row.sealed_bytes},
                   {"opened_bytes", row.opened_bytes},
                   {"seal_us", row.seal_us},
                   {"open_us", row.open_us},
                   {"percent", row.percent()}});
  }
  return all.dump(2, ' ', true, nlohmann::json::error_handler_t::replace) + "\n";
}

}  // namespace farcall::cli
