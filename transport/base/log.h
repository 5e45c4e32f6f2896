// Logging without a logging library, because this code also lives inside other people's programs.
//
//   FARCALL_LOG_INFO("session %s: %d devices", id.c_str(), count);
//   static LogLimit limit(5);                       // at most five lines a second, then a count
//   if (limit.allow()) FARCALL_LOG_WARN("peer sent a frame of %u bytes", bytes);
//
// error = cannot go on; warn = odd but goes on; info per session; debug per object; trace per call.
// Servers log to stderr at info, commands at warn. The shim is silent unless
// FARCALL_LOG=level[:file] is set. Threads: any; one write(2) per line.  Never log payloads, keys
// or tokens; kernel names at debug only, save in the process of the program itself.
#pragma once
#include <atomic>
#include <cstdint>

namespace farcall {

enum class LogLevel : int { kOff = 0, kError, kWarn, kInfo, kDebug, kTrace };

// level: "off" … "trace"; returns false for an unknown word.
bool parse_log_level(const char* word, LogLevel* level);
// Reads FARCALL_LOG ("debug", "trace:/tmp/farcall.log"); without it, `fallback` to stderr.
void log_from_environment(LogLevel fallback);
void set_log(LogLevel level, int fd);
void set_log_name(const char* program);  // up to 31 characters; stands at the head of each line

extern std::atomic<int> g_log_level;
inline bool log_enabled(LogLevel level) {
  return static_cast<int>(level) <= g_log_level.load(std::memory_order_relaxed);
}

void log_line(LogLevel level, const char* format, ...) __attribute__((format(printf, 2, 3)));

// Limits what a peer can make us write.
class LogLimit {
 public:
  explicit LogLimit(int lines_per_second) : per_second_(lines_per_second) {}
  bool allow();

 private:
  const int per_second_;
  std::atomic<std::int64_t> second_{0};
  std::atomic<int> used_{0};
};

}  // namespace farcall

#define FARCALL_LOG_AT(level, ...)                                              \
  do {                                                                          \
    if (::farcall::log_enabled(level)) ::farcall::log_line(level, __VA_ARGS__); \
  } while (false)
#define FARCALL_LOG_ERROR(...) FARCALL_LOG_AT(::farcall::LogLevel::kError, __VA_ARGS__)
#define FARCALL_LOG_WARN(...) FARCALL_LOG_AT(::farcall::LogLevel::kWarn, __VA_ARGS__)
#define FARCALL_LOG_INFO(...) FARCALL_LOG_AT(::farcall::LogLevel::kInfo, __VA_ARGS__)
#define FARCALL_LOG_DEBUG(...) FARCALL_LOG_AT(::farcall::LogLevel::kDebug, __VA_ARGS__)
#define FARCALL_LOG_TRACE(...) FARCALL_LOG_AT(::farcall::LogLevel::kTrace, __VA_ARGS__)
