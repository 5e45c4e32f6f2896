#include "client_shim/stats_security.h"

#include <cstdio>

namespace farcall::shim {
namespace {

std::string json_of(const char* name, const link::RecordCost& cost) {
  char text[160];
  std::snprintf(text, sizeof text,
                "\"%s\": {\"records\": %llu, \"bytes\": %llu, \"processor_seconds\": %.6f}", name,
                static_cast<unsigned long long>(cost.records),
                static_cast<unsigned long long>(cost.bytes), static_cast<double>(cost.ns) * 1e-9);
  return text;
}

}  // namespace

std::string with_security(std::string report, const link::SecurityCost& cost, double seconds) {
  const std::size_t end = report.rfind("\n}");
  if (end == std::string::npos) return report;
  const double busy = static_cast<double>(cost.ns()) * 1e-9;
  char share[64];
  std::snprintf(share, sizeof share, "\"percent_of_time\": %.3f",
                seconds > 0 ? 100 * busy / seconds : 0.0);
  report.insert(end, ",\n  \"security\": {" + json_of("sealed", cost.sealed) + ", " +
                         json_of("opened", cost.opened) + ", " + share + "}");
  return report;
}

}  // namespace farcall::shim
