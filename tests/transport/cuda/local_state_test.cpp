// What any libcuda.so.1 keeps for its program: the error log, core dump settings, the settings of
// CUDA 3's launches.
#include <doctest/doctest.h>

#include <cstdio>
#include <cstring>
#include <fstream>
#include <iterator>
#include <string>

#include "transport/cuda/coredump_settings.h"
#include "transport/cuda/error_log.h"
#include "transport/cuda/launch_settings.h"

using namespace farcall;
using namespace farcall::cuda;

namespace {

std::string dumped(ErrorLog& log, CUlogIterator* from, std::size_t room = 32768) {
  std::string text(room, '?');
  std::size_t size = room;
  REQUIRE(log.dump(from, text.data(), &size, 0) == CUDA_SUCCESS);
  REQUIRE(size < room);
  CHECK(text[size] == 0);
  text.resize(size);
  return text;
}

bool ends_with(const std::string& text, const char* end) {
  const std::size_t bytes = std::strlen(end);
  return text.size() >= bytes && text.compare(text.size() - bytes, bytes, end) == 0;
}

char* no_environment(const char*) { return nullptr; }
char* some_environment(const char* name) {
  static char yes[] = "1";
  static char file[] = "/tmp/dump";
  if (std::strcmp(name, "CUDA_ENABLE_COREDUMP_ON_EXCEPTION") == 0) return yes;
  if (std::strcmp(name, "CUDA_COREDUMP_FILE") == 0) return file;
  return nullptr;
}

bool flag(CoredumpSettings& settings, CUcontext context, CUcoredumpSettings which) {
  bool value = false;
  std::size_t size = sizeof(value);
  REQUIRE(settings.get(context, which, &value, &size) == CUDA_SUCCESS);
  return value;
}
CUresult set_flag(CoredumpSettings& settings, CUcontext context, CUcoredumpSettings which,
                  bool value) {
  std::size_t size = sizeof(value);
  return settings.set(context, which, &value, &size);
}

const auto kOne = reinterpret_cast<CUcontext>(0x10);
const auto kOther = reinterpret_cast<CUcontext>(0x20);

}  // namespace

TEST_CASE("the error log gives out what came after an iterator, and moves it on") {
  ErrorLog log;
  log.note(CU_LOG_LEVEL_ERROR, "one");
  CUlogIterator from = log.current();
  CHECK(dumped(log, &from).empty());
  log.note(CU_LOG_LEVEL_WARNING, "two");
  std::string text = dumped(log, &from);
  CHECK(ends_with(text, "[CUDA][W] two\n"));
  CHECK(text.find("one") == std::string::npos);
  CHECK(dumped(log, &from).empty());
  CHECK(dumped(log, nullptr).find("[CUDA][E] one\n") != std::string::npos);
}

TEST_CASE("the newest lines are kept, those that fit are given, and what is missing is said") {
  ErrorLog log;
  CUlogIterator first = log.current();
  for (int i = 0; i < 2000; ++i) log.note(CU_LOG_LEVEL_ERROR, "line " + std::to_string(i));
  std::string all = dumped(log, &first);
  CHECK(all.size() <= limits::kErrorLogBytesMax + 64);
  CHECK(all.rfind("[CUDA][W] earlier messages are gone\n", 0) == 0);
  CHECK(ends_with(all, " line 1999\n"));
  std::string some = dumped(log, nullptr, 256);
  CHECK(some.rfind("[CUDA][W] no room", 0) == 0);
  CHECK(ends_with(some, " line 1999\n"));
  char tiny[20];
  std::size_t size = sizeof(tiny);
  CHECK(log.dump(nullptr, tiny, &size, 0) == CUDA_ERROR_INVALID_VALUE);
  CHECK(size == 0);
  log.note(CU_LOG_LEVEL_ERROR, std::string(100'000, 'x'));
  CHECK(dumped(log, nullptr).size() <= limits::kErrorLogBytesMax);
}

TEST_CASE("an empty log writes no more than the buffer holds, whatever the iterator says") {
  ErrorLog log;
  char text[8] = "1234567";
  std::size_t size = 4;
  CUlogIterator any = 0xdead'beef;
  CHECK(log.dump(&any, text, &size, 0) == CUDA_SUCCESS);
  CHECK(size == 0);
  CHECK(std::string(text) == "");
  CHECK(std::string(text + 4) == "567");
  CHECK(any == log.current());
}

TEST_CASE("a log dumped into a file is the same text, and wrong arguments are refused") {
  ErrorLog log;
  log.note(CU_LOG_LEVEL_ERROR, "something");
  char path[] = "/tmp/farcall-log-XXXXXX";
  const int file = ::mkstemp(path);
  REQUIRE(file >= 0);
  ::close(file);
  CHECK(log.dump(nullptr, path, 0) == CUDA_SUCCESS);
  std::ifstream in(path);
  const std::string text{std::istreambuf_iterator<char>(in), {}};
  CHECK(text == dumped(log, nullptr));
  std::remove(path);
  std::size_t size = 10;
  char buffer[10];
  CHECK(log.dump(nullptr, "/no/such/folder/log", 0) == CUDA_ERROR_INVALID_VALUE);
  CHECK(log.dump(nullptr, static_cast<const char*>(nullptr), 0) == CUDA_ERROR_INVALID_VALUE);
  CHECK(log.dump(nullptr, path, 1) == CUDA_ERROR_INVALID_VALUE);
  CHECK(log.dump(nullptr, nullptr, &size, 0) == CUDA_ERROR_INVALID_VALUE);
  CHECK(log.dump(nullptr, buffer, nullptr, 0) == CUDA_ERROR_INVALID_VALUE);
}

TEST_CASE("a callback hears of lines until it is unregistered, once") {
  ErrorLog log;
  std::string heard;
  auto listen = [](void* data, CUlogLevel level, char* message, std::size_t length) {
    static_cast<std::string*>(data)->append(message, length);
    CHECK(level == CU_LOG_LEVEL_ERROR);
  };
  CUlogsCallbackHandle handle = nullptr;
  CHECK(log.callbacks().add(nullptr, nullptr, 0, &handle) == CUDA_ERROR_INVALID_VALUE);
  CHECK(log.callbacks().add(listen, &heard, 0, &handle) == CUDA_SUCCESS);
  log.note(CU_LOG_LEVEL_ERROR, "first");
  CHECK(log.callbacks().remove(handle, 0) == CUDA_SUCCESS);
  CHECK(log.callbacks().remove(handle, 0) == CUDA_ERROR_INVALID_VALUE);
  log.note(CU_LOG_LEVEL_ERROR, "second");
  CHECK(ends_with(heard, "first\n"));
}

TEST_CASE("core dump settings read back as they were set, a context's over everybody's") {
  CoredumpSettings settings(no_environment);
  CHECK_FALSE(flag(settings, nullptr, CU_COREDUMP_ENABLE_ON_EXCEPTION));
  CHECK(flag(settings, nullptr, CU_COREDUMP_TRIGGER_HOST));
  CHECK(set_flag(settings, kOne, CU_COREDUMP_ENABLE_ON_EXCEPTION, true) == CUDA_SUCCESS);
  CHECK(flag(settings, kOne, CU_COREDUMP_ENABLE_ON_EXCEPTION));
  CHECK_FALSE(flag(settings, kOther, CU_COREDUMP_ENABLE_ON_EXCEPTION));
  CHECK_FALSE(flag(settings, nullptr, CU_COREDUMP_ENABLE_ON_EXCEPTION));
  CHECK(set_flag(settings, nullptr, CU_COREDUMP_LIGHTWEIGHT, true) == CUDA_SUCCESS);
  CHECK(flag(settings, kOne, CU_COREDUMP_LIGHTWEIGHT));
  char text[limits::kCoredumpTextBytes] = "where.dump";
  std::size_t size = sizeof(text);
  CHECK(settings.set(nullptr, CU_COREDUMP_FILE, text, &size) == CUDA_SUCCESS);
  std::memset(text, '?', sizeof(text));
  CHECK(settings.get(kOne, CU_COREDUMP_FILE, text, &size) == CUDA_SUCCESS);
  CHECK(std::string(text) == "where.dump");
}

TEST_CASE("core dump settings refuse what does not fit, and what one context cannot have alone") {
  CoredumpSettings settings(no_environment);
  std::size_t size = 0;
  CHECK(settings.get(nullptr, CU_COREDUMP_FILE, nullptr, &size) == CUDA_SUCCESS);
  CHECK(size == limits::kCoredumpTextBytes);
  char text[limits::kCoredumpTextBytes];
  std::memset(text, 'x', sizeof(text));
  CHECK(settings.set(nullptr, CU_COREDUMP_FILE, text, &size) == CUDA_ERROR_INVALID_VALUE);
  size = 3;
  CHECK(settings.get(nullptr, CU_COREDUMP_FILE, text, &size) == CUDA_ERROR_INVALID_VALUE);
  CHECK(text[0] == 'x');
  CHECK(settings.get(nullptr, CU_COREDUMP_FILE, text, nullptr) == CUDA_ERROR_INVALID_VALUE);
  size = sizeof(text);
  CHECK(settings.get(nullptr, CU_COREDUMP_MAX, text, &size) == CUDA_ERROR_INVALID_VALUE);
  CHECK(set_flag(settings, kOne, CU_COREDUMP_ENABLE_USER_TRIGGER, true) ==
        CUDA_ERROR_NOT_PERMITTED);
  CHECK(set_flag(settings, nullptr, CU_COREDUMP_ENABLE_USER_TRIGGER, true) == CUDA_SUCCESS);
  text[4] = 0;
  CHECK(settings.set(nullptr, CU_COREDUMP_PIPE, text, &size) == CUDA_ERROR_NOT_PERMITTED);
}

TEST_CASE("what the environment says of core dumps stands") {
  CoredumpSettings settings(some_environment);
  CHECK(flag(settings, nullptr, CU_COREDUMP_ENABLE_ON_EXCEPTION));
  CHECK(set_flag(settings, nullptr, CU_COREDUMP_ENABLE_ON_EXCEPTION, false) == CUDA_SUCCESS);
  CHECK(set_flag(settings, kOne, CU_COREDUMP_ENABLE_ON_EXCEPTION, false) == CUDA_SUCCESS);
  CHECK(flag(settings, nullptr, CU_COREDUMP_ENABLE_ON_EXCEPTION));
  CHECK(flag(settings, kOne, CU_COREDUMP_ENABLE_ON_EXCEPTION));
  char text[limits::kCoredumpTextBytes];
  std::size_t size = sizeof(text);
  CHECK(settings.get(nullptr, CU_COREDUMP_FILE, text, &size) == CUDA_SUCCESS);
  CHECK(std::string(text) == "/tmp/dump");
}

TEST_CASE("launch settings gather a function's parameters, within what a kernel may have") {
  LaunchSettings settings;
  const auto function = reinterpret_cast<CUfunction>(0x30);
  const int value = 7;
  CHECK(settings.of(function).block[0] == 1);
  CHECK(settings.set_block(function, 64, 2, 1) == CUDA_SUCCESS);
  CHECK(settings.set_block(function, 0, 1, 1) == CUDA_ERROR_INVALID_VALUE);
  CHECK(settings.set_shared(function, 512) == CUDA_SUCCESS);
  CHECK(settings.set_param(function, 8, &value, sizeof(value)) == CUDA_SUCCESS);
  CHECK(settings.set_param_bytes(function, 16) == CUDA_SUCCESS);
  LaunchSettings::Of now = settings.of(function);
  CHECK(now.block[0] == 64);
  CHECK(now.shared_bytes == 512);
  REQUIRE(now.params.size() >= now.param_bytes);
  CHECK(std::memcmp(now.params.data() + 8, &value, sizeof(value)) == 0);
  CHECK(settings.set_param(function, -4, &value, 4) == CUDA_ERROR_INVALID_VALUE);
  CHECK(settings.set_param(function, 0, nullptr, 4) == CUDA_ERROR_INVALID_VALUE);
  CHECK(settings.set_param(function, 0x7fffffff, &value, 4) == CUDA_ERROR_INVALID_VALUE);
  CHECK(settings.set_param(function, 0, &value, SIZE_MAX) == CUDA_ERROR_INVALID_VALUE);
  CHECK(settings.set_param_bytes(function, 1 << 30) == CUDA_ERROR_INVALID_VALUE);
}
