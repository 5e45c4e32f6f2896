#include "transport/cuda/error_log.h"

#include <fcntl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <ctime>

#include "transport/base/unique.h"

namespace farcall::cuda {
namespace {

constexpr std::string_view kLost = "[CUDA][W] earlier messages are gone\n";
constexpr std::string_view kShort = "[CUDA][W] no room for earlier messages\n";

// "[12:34:56.789][4711][CUDA][E] text\n", the form NVIDIA's driver uses.
std::string line_of(CUlogLevel level, std::string_view text) {
  const auto now = std::chrono::system_clock::now();
  const std::time_t seconds = std::chrono::system_clock::to_time_t(now);
  const auto since = std::chrono::duration_cast<std::chrono::milliseconds>(now.time_since_epoch());
  std::tm local{};
  ::localtime_r(&seconds, &local);
  char head[64];
  std::snprintf(head, sizeof(head), "[%02d:%02d:%02d.%03d][%ld][CUDA][%c] ", local.tm_hour,
                local.tm_min, local.tm_sec, static_cast<int>(since.count() % 1000),
                static_cast<long>(::syscall(SYS_gettid)),
                level == CU_LOG_LEVEL_WARNING ? 'W' : 'E');
  std::string line(head);
  line += text.substr(0, limits::kErrorLogLineBytesMax - line.size() - 1);
  line += '\n';
  return line;
}

}  // namespace

ErrorLog& error_log() {
  static ErrorLog* const leaked = new ErrorLog;
  return *leaked;
}

void ErrorLog::note(CUlogLevel level, std::string_view text) {
  std::string line = line_of(level, text);
  callbacks_.each([&](CUlogsCallback function, void* data) {
    std::string own = line;
    function(data, level, own.data(), own.size());
  });
  auto state = state_.lock();
  state->bytes += line.size();
  state->lines.push_back(std::move(line));
  while (state->bytes > limits::kErrorLogBytesMax) {
    state->bytes -= state->lines.front().size();
    state->lines.pop_front();
    ++state->first;
  }
}

CUlogIterator ErrorLog::current() {
  auto state = state_.lock();
  return state->first + static_cast<CUlogIterator>(state->lines.size());
}

bool ErrorLog::collect(CUlogIterator* iterator, std::size_t room, std::string* text) {
  auto state = state_.lock();
  const auto count = static_cast<CUlogIterator>(state->lines.size());
  const CUlogIterator end = state->first + count;
  CUlogIterator from = iterator != nullptr ? *iterator : state->first;
  const bool are_lost = end - from > count;  // numbers wrap around, as the driver's do
  if (are_lost) from = state->first;
  std::string_view head = are_lost && count != 0 ? kLost : std::string_view();
  auto bytes_from = [&](CUlogIterator at) {
    std::size_t bytes = head.size();
    for (; at != end; ++at) bytes += state->lines[at - state->first].size();
    return bytes;
  };
  while (from != end && bytes_from(from) > room) {
    head = kShort;
    ++from;
  }
  if (from == end && count != 0 && !head.empty()) return false;
  *text = head;
  for (CUlogIterator at = from; at != end; ++at) *text += state->lines[at - state->first];
  if (iterator != nullptr) *iterator = end;
  return true;
}

CUresult ErrorLog::dump(CUlogIterator* iterator, char* buffer, std::size_t* size, unsigned flags) {
  if (buffer == nullptr || size == nullptr || flags != 0 || *size == 0) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  std::string text;
  if (!collect(iterator, *size - 1, &text)) {
    *size = 0;
    buffer[0] = 0;
    return CUDA_ERROR_INVALID_VALUE;
  }
  std::memcpy(buffer, text.c_str(), text.size() + 1);
  *size = text.size();
  return CUDA_SUCCESS;
}

CUresult ErrorLog::dump(CUlogIterator* iterator, const char* path, unsigned flags) {
  if (path == nullptr || flags != 0) return CUDA_ERROR_INVALID_VALUE;
  Fd file(::open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666));
  if (!file) return CUDA_ERROR_INVALID_VALUE;
  std::string text;
  if (!collect(iterator, 2 * limits::kErrorLogBytesMax, &text)) return CUDA_ERROR_INVALID_VALUE;
  for (std::size_t at = 0; at < text.size();) {
    const ssize_t now = ::write(file.get(), text.data() + at, text.size() - at);
    if (now < 0 && errno == EINTR) continue;
    if (now <= 0) return CUDA_ERROR_INVALID_VALUE;
    at += static_cast<std::size_t>(now);
  }
  return CUDA_SUCCESS;
}

}  // namespace farcall::cuda
