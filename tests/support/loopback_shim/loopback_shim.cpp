// The shim and a worker in one process, for tests: a libcuda.so.1 that serves itself.
//
//   LD_PRELOAD=<build>/lib/loopback/libcuda.so.1 FARCALL_DRIVER=<libcuda.so.1>
//   FARCALL_SERVER=loopback FARCALL_CERT=none FARCALL_KEY=none FARCALL_CA=none ./app
//
// What lies between the program's call and the driver's is all there: exports, codecs, sealed
// records, executor. What is not: sockets, TLS, a second process, and with it the forwarding of
// what kernels print and the cache of images. It replaces only how a session is made; settings are
// the shim's own (client_shim/settings.h), those that only dialling needs may be anything.
// Threads: the worker's run beside the program's, all signals blocked, until the program exits.
#include <dlfcn.h>
#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <memory>
#include <thread>

#include "client_shim/process.h"
#include "gpu_server/executor.h"

namespace farcall::tests {
namespace {

struct Worker {
  api::Driver driver;
  std::unique_ptr<link::Session> session;
  std::unique_ptr<server::Executor> executor;
  std::thread thread;
  pid_t process = 0;
};
// Leaked, as the session is: the driver calls of atexit handlers still find it.
Worker* g_worker = nullptr;

[[noreturn]] void give_up(const std::string& why) {
  std::fprintf(stderr, "loopback: %s\n", why.c_str());
  std::_Exit(125);
}

// The driver's calls to its own functions must not come back to ours, which are the program's
// libcuda.so.1 and so come first for everybody. (A sanitizer refuses that; the software GPU built
// with one binds to itself.)
#ifdef __SANITIZE_THREAD__
constexpr int kBindsToItself = 0;
#else
constexpr int kBindsToItself = RTLD_DEEPBIND;
#endif

void load(api::Driver& driver) {
  const char* path = std::getenv("FARCALL_DRIVER");
  if (path == nullptr) give_up("FARCALL_DRIVER is not set: give the path of a libcuda.so.1");
  void* library = ::dlopen(path, RTLD_NOW | RTLD_LOCAL | kBindsToItself);
  if (library == nullptr) give_up(::dlerror());
  api::load_driver(driver, [&](const char* symbol) { return ::dlsym(library, symbol); });
  if (driver.cuInit == nullptr) give_up(std::string(path) + " has no cuInit");
}

// Once in a process, and once more in the child of a fork that begins with cuInit.
Result<std::unique_ptr<link::Session>> connect(const shim::Settings&) {
  auto pair = link::make_loopback_session_pair();
  if (!pair.ok()) return pair.status();
  auto worker = std::make_unique<Worker>();
  load(worker->driver);
  worker->session = std::move(pair->server);
  worker->executor = std::make_unique<server::Executor>(worker->driver, *worker->session);
  worker->process = ::getpid();
  sigset_t all, before;
  ::sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &before);
  worker->thread = std::thread([executor = worker->executor.get()] { (void)executor->run(); });
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  g_worker = worker.release();
  return std::move(pair->client);
}

// Before main, so that the first call of the program already finds it.
__attribute__((constructor)) void stand_in() {
  Result<shim::Settings> settings = shim::settings_from_environment();
  if (!settings.ok()) give_up(settings.status().to_string());
  shim::set_connect_for_test(connect, settings.value());
}

// Priority 101: after the shim's own destructor has closed the session.
__attribute__((destructor(101))) void end_with_the_program() {
  // A forked child has the session of its parent, but not the thread.
  if (g_worker != nullptr && g_worker->process == ::getpid()) g_worker->thread.join();
}

}  // namespace
}  // namespace farcall::tests
