#include "transport/base/log.h"

#include <fcntl.h>
#include <unistd.h>

#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <string>

#include "transport/base/clock.h"

namespace farcall {

std::atomic<int> g_log_level{0};

namespace {

constexpr int kLineBytesMax = 1024;
constexpr const char* kWords[] = {"off", "error", "warn", "info", "debug", "trace"};
std::atomic<int> g_fd{STDERR_FILENO};
char g_name[32] = "farcall";

}  // namespace

bool parse_log_level(const char* word, LogLevel* level) {
  for (int i = 0; i < 6; ++i) {
    if (std::strcmp(word, kWords[i]) != 0) continue;
    *level = static_cast<LogLevel>(i);
    return true;
  }
  return false;
}

void set_log(LogLevel level, int fd) {
  g_fd.store(fd);
  g_log_level.store(static_cast<int>(level));
}

void set_log_name(const char* program) { std::snprintf(g_name, sizeof g_name, "%s", program); }

void log_from_environment(LogLevel fallback) {
  const char* wish = ::secure_getenv("FARCALL_LOG");
  LogLevel level = fallback;
  int fd = STDERR_FILENO;
  if (wish != nullptr && *wish != 0) {
    std::string word(wish);
    if (auto colon = word.find(':'); colon != std::string::npos) {
      int file = ::open(word.c_str() + colon + 1, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
      if (file >= 0) fd = file;
      word.resize(colon);
    }
    if (!parse_log_level(word.c_str(), &level)) level = fallback;
  }
  set_log(level, fd);
}

void log_line(LogLevel level, const char* format, ...) {
  char line[kLineBytesMax];
  timespec now{};
  ::clock_gettime(CLOCK_REALTIME, &now);
  tm utc{};
  ::gmtime_r(&now.tv_sec, &utc);
  int used = std::snprintf(line, sizeof line, "%02d:%02d:%02d.%03ld %s[%d] %s: ", utc.tm_hour,
                           utc.tm_min, utc.tm_sec, now.tv_nsec / 1'000'000, g_name, ::getpid(),
                           kWords[static_cast<int>(level)]);
  va_list values;
  va_start(values, format);
  int more =
      std::vsnprintf(line + used, sizeof line - 1 - static_cast<std::size_t>(used), format, values);
  va_end(values);
  int bytes = used + (more > 0 ? more : 0);
  if (bytes > kLineBytesMax - 2) bytes = kLineBytesMax - 2;
  line[bytes++] = '\n';
  if (::write(g_fd.load(), line, static_cast<std::size_t>(bytes)) < 0) {
    // Nowhere left to say so: a log that cannot be written is dropped.
  }
}

bool LogLimit::allow() {
  std::int64_t second = system_clock().now_ns() / 1'000'000'000;
  if (second_.exchange(second) != second) used_.store(0);
  return used_.fetch_add(1) < per_second_;
}

}  // namespace farcall
