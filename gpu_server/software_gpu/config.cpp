#include "gpu_server/software_gpu/config.h"

#include <sys/sysinfo.h>

#include <algorithm>
#include <cstdlib>
#include <thread>

namespace farcall::softgpu {
namespace {

// "512M" → bytes; 0 when the text is not a size.
std::size_t parse_bytes(const char* text) {
  char* end = nullptr;
  const unsigned long long number = std::strtoull(text, &end, 10);
  if (end == text) return 0;
  int shift = 0;
  switch (*end) {
    case 0: break;
    case 'k':
    case 'K': shift = 10; break;
    case 'm':
    case 'M': shift = 20; break;
    case 'g':
    case 'G': shift = 30; break;
    default: return 0;
  }
  if (*end != 0 && end[1] != 0) return 0;
  if (number > (std::size_t{1} << 46 >> shift)) return 0;
  return static_cast<std::size_t>(number) << shift;
}

std::size_t default_memory_bytes() {
  constexpr std::size_t kMost = std::size_t{4} << 30;
  struct sysinfo facts {};
  if (::sysinfo(&facts) != 0) return kMost;
  return std::min(kMost, static_cast<std::size_t>(facts.totalram) * facts.mem_unit / 2);
}

int number_or(const char* text, int fallback, int most) {
  if (text == nullptr) return fallback;
  char* end = nullptr;
  const long number = std::strtol(text, &end, 10);
  if (end == text || *end != 0 || number < 1 || number > most) return fallback;
  return static_cast<int>(number);
}

}  // namespace

Config Config::from(char* (*lookup)(const char* name)) {
  Config config;
  config.devices = number_or(lookup("FARCALL_SOFTGPU_DEVICES"), 1, kDevicesMax);
  const unsigned cores = std::max(1U, std::thread::hardware_concurrency());
  config.threads = number_or(lookup("FARCALL_SOFTGPU_THREADS"),
                             static_cast<int>(std::min<unsigned>(cores, kThreadsMax)), kThreadsMax);
  if (const char* text = lookup("FARCALL_SOFTGPU_CC")) {
    char* end = nullptr;
    const long major = std::strtol(text, &end, 10);
    if (end != text && *end == '.' && major >= 5 && major <= 99 && end[1] >= '0' && end[1] <= '9' &&
        end[2] == 0) {
      config.cc_major = static_cast<int>(major);
      config.cc_minor = end[1] - '0';
    }
  }
  if (const char* text = lookup("FARCALL_SOFTGPU_MEMORY")) config.memory_bytes = parse_bytes(text);
  if (config.memory_bytes < kMemoryBytesMin) config.memory_bytes = default_memory_bytes();
  return config;
}

}  // namespace farcall::softgpu
