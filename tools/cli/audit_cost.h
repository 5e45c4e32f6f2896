// CostTable: what encryption cost the sessions of an audit log, summed up: farcall audit cost.
//
//   CostTable table(CostTable::By::kLease);
//   for each line: table.add(line);                    // of any kind; others are passed over
//   std::printf("%s", to_text(table.rows()).c_str());
//
// Numbers are what workers counted (gpu_server/audit_facts.h): a worker that was taken over may
// have told any. Threads: one.
#pragma once
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "security/audit_line.h"

namespace farcall::cli {

// Sums that would be more than 64 bits hold stay at the largest number.
struct CostRow {
  std::string name;
  std::uint64_t sessions = 0;
  std::uint64_t ran_ms = 0;  // all of them together
  std::uint64_t sealed_bytes = 0;
  std::uint64_t opened_bytes = 0;
  std::uint64_t seal_us = 0;  // of processor time
  std::uint64_t open_us = 0;
  // Processor time for encryption, in percent of the time that the sessions ran.
  double percent() const;
};

class CostTable {
 public:
  enum class By { kLease, kUser, kTenant, kServer };
  static std::optional<By> parse(std::string_view word);  // "lease", "user", "tenant", "server"
  explicit CostTable(By by) : by_(by) {}

  void add(const security::AuditLine& line);
  // What cost most first.
  std::vector<CostRow> rows() const;

 private:
  std::string name_of(const security::AuditRecord& record) const;
  const By by_;
  std::map<std::string, CostRow> rows_;
};

std::string to_text(const std::vector<CostRow>& rows);
std::string to_json(const std::vector<CostRow>& rows);

}  // namespace farcall::cli
