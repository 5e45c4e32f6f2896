#include "transport/link/rdma_plugin.h"

#include <dlfcn.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <mutex>
#include <vector>

#include "transport/base/limits.h"

namespace farcall::link {
namespace {

// Read by UCX's constructors. Without them it installs signal handlers, patches mmap and its kin in
// the C library, starts a thread for a file system of its own, and loads every transport there is:
// one of them would load libcuda.so.1, which is this.
constexpr const char* kWhileLoading[] = {
    "UCX_HANDLE_ERRORS=none",      "UCX_DEBUG_SIGNO=",    "UCX_MEM_EVENTS=n",
    "UCX_MEM_MMAP_HOOK_MODE=none", "UCX_VFS_ENABLE=n",    "UCX_LOG_LEVEL=fatal",
    "UCX_WARN_UNUSED_ENV_VARS=n",  "UCX_MEMTYPE_CACHE=n", "UCX_MODULES=ib,rdmacm",
};

constexpr FarcallUcxSetting kRdma[] = {
    {"TLS", "rc_verbs,rc_mlx5"},
    {"SOCKADDR_TLS_PRIORITY", "rdmacm"},
    // Eager and copied: only UCX's own buffers are ever registered with a device.
    {"RNDV_THRESH", "inf"},
    {"ZCOPY_THRESH", "inf"},
    // Two lanes of 4095 buffers each would pin 66 MB.
    {"RC_VERBS_RX_QUEUE_LEN", "512"},
    {"RC_MLX5_RX_QUEUE_LEN", "512"},
    // The control connection tells of a peer that vanished.
    {"KEEPALIVE_INTERVAL", "inf"},
};

// The environment while a library is loaded: ours first, then the program's less its UCX_*.
class ShownEnvironment {
 public:
  ShownEnvironment() : before_(environ) {
    // Lives for ever: a thread may still be walking it when it is no longer shown.
    auto* shown = new std::vector<char*>;
    for (const char* setting : kWhileLoading) shown->push_back(const_cast<char*>(setting));
    for (char** entry = environ; entry != nullptr && *entry != nullptr; ++entry) {
      if (std::strncmp(*entry, "UCX_", 4) != 0) shown->push_back(*entry);
    }
    shown->push_back(nullptr);
    environ = shown_ = shown->data();
  }
  ~ShownEnvironment() {
    if (environ == shown_) {
      environ = before_;
    } else {
      // Another thread set a variable meanwhile, and so made a copy: that one is the program's now.
      for (const char* setting : kWhileLoading) {
        ::unsetenv(std::string(setting, std::strchr(setting, '=')).c_str());
      }
    }
  }
  ShownEnvironment(const ShownEnvironment&) = delete;
  ShownEnvironment& operator=(const ShownEnvironment&) = delete;

 private:
  char** before_;
  char** shown_ = nullptr;
};

Result<const FarcallUcxPlugin*> load_library() {
  const std::string path = RdmaPlugin::find();
  if (path.empty()) {
    return Status(Code::kUnsupported, "libfarcall_ucx.so is not installed beside this program");
  }
  void* library = nullptr;
  std::string why;
  {
    ShownEnvironment shown;
    library = ::dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
    if (library == nullptr) why = ::dlerror();
  }
  if (library == nullptr) {
    return Status(Code::kUnsupported, "cannot load RDMA (install UCX and rdma-core): " + why);
  }
  auto* entry = reinterpret_cast<const FarcallUcxPlugin* (*)()>(::dlsym(library, kFarcallUcxEntry));
  if (entry == nullptr) {
    return Status(Code::kUnsupported, path + " belongs to another version of Farcall");
  }
  return entry();
}

Result<const FarcallUcxPlugin*> loaded_library() {
  static std::mutex mutex;
  static const FarcallUcxPlugin* plugin = nullptr;
  std::lock_guard lock(mutex);
  if (plugin == nullptr) {
    Result<const FarcallUcxPlugin*> loaded = load_library();
    if (!loaded.ok()) return loaded.status();
    plugin = loaded.value();
  }
  return plugin;
}

}  // namespace

std::span<const FarcallUcxSetting> RdmaPlugin::settings_for_rdma() { return kRdma; }

std::string RdmaPlugin::find() {
  Dl_info own{};
  if (::dladdr(reinterpret_cast<void*>(&RdmaPlugin::find), &own) == 0) return {};
  std::unique_ptr<char, void (*)(void*)> file(::realpath(own.dli_fname, nullptr), std::free);
  if (file == nullptr) return {};
  const std::string folder = std::string(file.get(), std::strrchr(file.get(), '/'));
  for (const char* below : {"/", "/../lib/"}) {
    std::string path = folder + below + "libfarcall_ucx.so";
    if (::access(path.c_str(), R_OK) == 0) return path;
  }
  return {};
}

Status RdmaPlugin::load_libraries() { return loaded_library().status(); }

Result<RdmaPlugin> RdmaPlugin::load(std::span<const FarcallUcxSetting> settings) {
  Result<const FarcallUcxPlugin*> plugin = loaded_library();
  if (!plugin.ok()) return plugin.status();
  FarcallUcxError error{};
  FarcallUcxContext* context = plugin.value()->open(settings.data(), settings.size(), &error);
  if (context == nullptr) return Status(Code::kUnsupported, error.text);
  return RdmaPlugin(plugin.value(), context);
}

Status status_of(const FarcallUcxError& error) {
  if (error.code == 0) return ok();
  return Status(static_cast<Code>(error.code), error.text);
}

int look_within_ms(Deadline deadline) {
  const int left_ms = deadline.left_ms();
  return left_ms < 0 ? limits::kRdmaLookMs : std::min(left_ms, limits::kRdmaLookMs);
}

}  // namespace farcall::link
