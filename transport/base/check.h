// FARCALL_CHECK(condition, values…): a belief that must hold for the code below to make sense.
//
//   FARCALL_CHECK(used <= capacity, used, capacity);
//
// A failed CHECK calls the process's failure handler. The default prints one line and aborts, which
// ends one per-lease worker; the shim installs a handler that poisons its session instead, because
// the process belongs to someone else. After a handler that returns, the code goes on: so write the
// branch that follows a CHECK to be safe (return an error) where the shim can reach it.
// Never use it for a peer's bytes: those get Code::kMalformed.
#pragma once
#include <string>

namespace farcall {

using CheckHandler = void (*)(const char* file, int line, const char* condition,
                              const std::string& values);
// Threads: call once at start-up.  Returns the handler that was in place.
CheckHandler set_check_handler(CheckHandler handler);

void check_failed(const char* file, int line, const char* condition, const std::string& values);

template <class... V>
std::string check_values(const V&... values) {
  std::string all;
  ((all += (all.empty() ? "" : ", ") + std::to_string(values)), ...);
  return all;
}

}  // namespace farcall

#define FARCALL_CHECK(condition, ...)                                \
  do {                                                               \
    if (!(condition)) [[unlikely]]                                   \
      ::farcall::check_failed(__FILE__, __LINE__, #condition,        \
                              ::farcall::check_values(__VA_ARGS__)); \
  } while (false)
