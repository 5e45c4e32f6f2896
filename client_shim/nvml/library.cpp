#include "client_shim/nvml/library.h"

#include <dlfcn.h>
#include <pthread.h>

#include <memory>
#include <string>
#include <vector>

#include "transport/base/log.h"

namespace farcall::nvml {
namespace {

std::atomic<Library*> g_library{nullptr};
std::atomic<LookFunction> g_look_for_test{nullptr};

// `libcuda.so.1` in the folder this library was loaded from: the same one a program was given, and
// never another driver on its search path.
std::string path_beside() {
  Dl_info self{};
  if (::dladdr(reinterpret_cast<void*>(&path_beside), &self) == 0 || self.dli_fname == nullptr) {
    return {};
  }
  const std::string path = self.dli_fname;
  const std::size_t slash = path.rfind('/');
  return slash == std::string::npos ? std::string() : path.substr(0, slash + 1) + "libcuda.so.1";
}

// Null, and a line in the log, when there is none of ours.
LookFunction find_look() {
  if (LookFunction given = g_look_for_test.load()) return given;
  const std::string path = path_beside();
  void* driver = path.empty() ? nullptr : ::dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  void* entry = driver == nullptr ? nullptr : ::dlsym(driver, "cuGetExportTable");
  if (entry == nullptr) {
    FARCALL_LOG_ERROR("%s is missing: build or install Farcall whole", path.c_str());
    return nullptr;
  }
  const void* table = nullptr;
  if (reinterpret_cast<decltype(&::cuGetExportTable)>(entry)(&table, &shim::kLookTableId) !=
      CUDA_SUCCESS) {
    FARCALL_LOG_ERROR("%s is not Farcall's", path.c_str());
    return nullptr;
  }
  return static_cast<const shim::LookTable*>(table)->look;
}

nvmlReturn_t outcome(int looked) {
  switch (looked) {
    case CUDA_SUCCESS: return NVML_SUCCESS;
    case CUDA_ERROR_INVALID_VALUE: return NVML_ERROR_LIB_RM_VERSION_MISMATCH;
    case CUDA_ERROR_OUT_OF_MEMORY: return NVML_ERROR_MEMORY;
    default: return NVML_ERROR_DRIVER_NOT_LOADED;
  }
}

void after_fork_in_child() {
  const Library* parent = g_library.load();
  if (parent != nullptr) g_library.store(std::make_unique<Library>(parent).release());
}

// What a lease without a server comes to, for programs that do not mind.
constexpr Look kNothing{};

}  // namespace

Library& Library::get() {
  Library* made = g_library.load(std::memory_order_acquire);
  if (made != nullptr) return *made;
  auto fresh = std::make_unique<Library>();
  if (!g_library.compare_exchange_strong(made, fresh.get())) return *made;
  set_log_name("libnvidia-ml");
  log_from_environment(LogLevel::kOff);
  ::pthread_atfork(nullptr, nullptr, after_fork_in_child);
  return *fresh.release();
}

nvmlReturn_t Library::look() {
  LookFunction function = find_look();
  if (function == nullptr) return NVML_ERROR_LIBRARY_NOT_FOUND;
  auto seen = std::make_unique<Look>();
  const nvmlReturn_t looked = outcome(function(seen.get(), sizeof *seen));
  if (looked == NVML_SUCCESS) seen_.store(seen.release(), std::memory_order_release);
  return looked;
}

nvmlReturn_t Library::init(unsigned flags) {
  Lock lock(looking_);
  const Look* known = seen_.load();
  if (known == nullptr || known == &kNothing) {
    nvmlReturn_t looked = look();
    if (looked == NVML_ERROR_DRIVER_NOT_LOADED && (flags & NVML_INIT_FLAG_NO_GPUS) != 0) {
      seen_.store(&kNothing, std::memory_order_release);
      looked = NVML_SUCCESS;
    }
    if (looked != NVML_SUCCESS) return looked;
  }
  inits_.fetch_add(1);
  return NVML_SUCCESS;
}

nvmlReturn_t Library::shutdown() {
  int count = inits_.load();
  do {
    if (count == 0) return NVML_ERROR_UNINITIALIZED;
  } while (!inits_.compare_exchange_weak(count, count - 1));
  return NVML_SUCCESS;
}

const Look* Library::devices() const {
  return inits_.load() > 0 ? seen_.load(std::memory_order_acquire) : nullptr;
}

nvmlDevice_t Library::handle_of(unsigned index) const {
  const LookDevice* device = &seen_.load(std::memory_order_acquire)->devices[index];
  return reinterpret_cast<nvmlDevice_t>(const_cast<LookDevice*>(device));
}

int Library::index_of(nvmlDevice_t handle) const {
  const Look* devices = seen_.load(std::memory_order_acquire);
  for (unsigned i = 0; i < devices->device_count; ++i) {
    if (handle_of(i) == handle) return static_cast<int>(i);
  }
  return -1;
}

void set_look_for_test(LookFunction look) { g_look_for_test.store(look); }

void forget_for_test() {
  static auto* const forgotten = new std::vector<Library*>;  // still referred to: nothing leaks
  forgotten->push_back(&Library::get());
  g_library.store(nullptr);
}

}  // namespace farcall::nvml
