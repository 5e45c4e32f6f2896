#include "transport/base/check.h"

#include <atomic>
#include <cstdio>
#include <cstdlib>

namespace farcall {
namespace {

void print_and_abort(const char* file, int line, const char* condition, const std::string& values) {
  std::fprintf(stderr, "farcall: %s:%d: CHECK(%s) failed; values: %s\n", file, line, condition,
               values.c_str());
  std::abort();
}

std::atomic<CheckHandler> g_handler{print_and_abort};

}  // namespace

CheckHandler set_check_handler(CheckHandler handler) { return g_handler.exchange(handler); }

void check_failed(const char* file, int line, const char* condition, const std::string& values) {
  g_handler.load()(file, line, condition, values);
}

}  // namespace farcall
