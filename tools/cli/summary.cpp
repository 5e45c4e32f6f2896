#include "tools/cli/summary.h"

#include <cstdarg>
#include <cstdio>
#include <fstream>
#include <nlohmann/json.hpp>

namespace farcall::cli {
namespace {

void line(std::string& text, const char* label, const char* format, ...)
    __attribute__((format(printf, 3, 4)));

void line(std::string& text, const char* label, const char* format, ...) {
  char value[512];
  va_list values;
  va_start(values, format);
  std::vsnprintf(value, sizeof value, format, values);
  va_end(values);
  char whole[640];
  std::snprintf(whole, sizeof whole, "  %-14s %s\n", label, value);
  text += whole;
}

std::uint64_t total_of(const nlohmann::json& report, const char* kind) {
  return report["calls"][kind].value("total", std::uint64_t{0});
}

}  // namespace

std::string with_unit(double bytes) {
  static constexpr const char* kUnits[] = {"B", "KiB", "MiB", "GiB", "TiB"};
  int unit = 0;
  while (bytes >= 1024 && unit < 4) {
    bytes /= 1024;
    ++unit;
  }
  char text[32];
  std::snprintf(text, sizeof text, unit == 0 ? "%.0f %s" : "%.1f %s", bytes, kUnits[unit]);
  return text;
}

std::string summarize(const std::string& stats_json_path) {
  std::ifstream file(stats_json_path);
  const auto report = nlohmann::json::parse(file, nullptr, false);
  if (report.is_discarded() || !report.contains("calls")) return {};
  const auto number = [&](const char* name) { return report.value(name, 0.0); };
  const auto word = [&](const char* name) { return report.value(name, std::string("?")); };
  const std::uint64_t local = total_of(report, "local"), queued = total_of(report, "queued"),
                      sync = total_of(report, "sync"), cached = total_of(report, "cached");
  std::string text = "Farcall, this session:\n";
  line(text, "device", "%s", word("device").c_str());
  line(text, "server", "%s", word("server").c_str());
  line(text, "link", "%s", word("link").c_str());
  line(text, "calls", "%llu: %llu answered locally, %llu cached, %llu queued, %llu waited for",
       static_cast<unsigned long long>(local + queued + sync + cached),
       static_cast<unsigned long long>(local), static_cast<unsigned long long>(cached),
       static_cast<unsigned long long>(queued), static_cast<unsigned long long>(sync));
  const auto failed = report.value("failed_earlier", nlohmann::json::object());
  if (failed.is_object() && failed.value("total", 0.0) > 0) {
    line(text, "failed", "%.0f queued calls; FARCALL_LOG=warn names them with their kernels",
         failed.value("total", 0.0));
  }
  line(text, "round trips", "%.0f", number("round_trips"));
  line(text, "sent", "%s in %.0f records (%s of bulk data)",
       with_unit(number("wire_bytes_out")).c_str(), number("records_out"),
       with_unit(number("bulk_bytes_out")).c_str());
  line(text, "received", "%s in %.0f records (%s of bulk data)",
       with_unit(number("wire_bytes_in")).c_str(), number("records_in"),
       with_unit(number("bulk_bytes_in")).c_str());
  if (number("crypto_threads") > 0) {
    line(text, "crypto", "%.0f helper threads sealed or opened %.0f records, %.0f were done beside",
         number("crypto_threads"), number("records_by_crypto_threads"),
         number("records_beside_crypto_threads"));
  }
  line(text, "time", "%.2f s in the session, %.2f s of it waiting for the link", number("seconds"),
       number("seconds_waiting_in_link"));
  return text;
}

}  // namespace farcall::cli
