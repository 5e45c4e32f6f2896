// World: the shim in this process, a real server session in another thread, a fake device behind
// it, and the loopback link between them.
//
//   FakeDevice device;
//   World world(device);                          // cuInit has succeeded
//   CUDA_OK(cuMemAlloc_v2(&address, 256));
//   CHECK(world.round_trips([&] { cuMemFree_v2(address); }) == 0);
//
// Threads: one World at a time.
#pragma once
#include <doctest/doctest.h>

#include <thread>

#include "client_shim/process.h"
#include "gpu_server/executor.h"
#include "tests/client_shim/fake_device.h"

#define CUDA_OK(call) REQUIRE((call) == CUDA_SUCCESS)

namespace farcall::shim {

class World {
 public:
  template <class Device = FakeDevice>
  explicit World(Device& device, bool strict = false, const std::string& stats_file = {})
      : driver_(device.table()) {
    Settings settings;
    settings.strict = strict;
    settings.stats_file = stats_file;
    set_up(std::move(settings));
    CUDA_OK(cuInit(0));
  }
  // For tests that watch cuInit itself.
  struct Unopened {};
  template <class Device>
  World(Device& device, Unopened, Settings settings = {}) : driver_(device.table()) {
    set_up(std::move(settings));
  }
  // A server that keeps images (cache may be null), and a client with a private key to name them
  // by.
  World(FakeDevice& device, server::ModuleCache* cache, const std::string& key_file)
      : driver_(device.table()) {
    Settings settings;
    settings.key = key_file;
    set_up(std::move(settings), cache);
    CUDA_OK(cuInit(0));
  }

  ~World() {
    forget_client_for_test();
    server_->close(Status(Code::kClosed, "the test is over"));
    thread_.join();
    set_connect_for_test(nullptr, {});
  }
  World(const World&) = delete;
  World& operator=(const World&) = delete;

  // Makes the device's primary context current, as the CUDA runtime does.
  void use_device() {
    CUcontext context = nullptr;
    CUDA_OK(cuDevicePrimaryCtxRetain(&context, 0));
    CUDA_OK(cuCtxSetCurrent(context));
  }
  template <class Body>
  std::uint64_t round_trips(const Body& body) {
    std::uint64_t before = current_client()->session().stats().round_trips;
    body();
    return current_client()->session().stats().round_trips - before;
  }
  // The server's end goes away.
  void cut() { server_->close(Status(Code::kClosed, "cut by the test")); }

 private:
  void set_up(Settings settings, server::ModuleCache* cache = nullptr) {
    forget_client_for_test();
    auto pair = link::make_loopback_session_pair();
    REQUIRE(pair.ok());
    waiting() = std::move(pair.value().client);
    server_ = std::move(pair.value().server);
    executor_ = std::make_unique<server::Executor>(driver_, *server_);
    executor_->overlap_copies(true);  // also where there are two cores
    executor_->use_module_cache(cache);
    thread_ = std::thread([this] { ended_ = executor_->run(); });
    settings.server = "loopback";
    set_connect_for_test(connect, settings);
  }
  static std::unique_ptr<link::Session>& waiting() {
    static std::unique_ptr<link::Session> session;
    return session;
  }
  static Result<std::unique_ptr<link::Session>> connect(const Settings&) {
    if (waiting() == nullptr) return Status(Code::kClosed, "one session each World");
    return std::move(waiting());
  }

  const api::Driver driver_;
  std::unique_ptr<link::Session> server_;
  std::unique_ptr<server::Executor> executor_;
  std::thread thread_;
  Status ended_;
};

}  // namespace farcall::shim
