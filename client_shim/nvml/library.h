// Library: what libnvidia-ml.so.1 knows between nvmlInit and nvmlShutdown.
//
//   NVML_EXPORT nvmlReturn_t nvmlDeviceGetIndex(nvmlDevice_t device, unsigned* index) {
//     return of_device(device, [&](const LookDevice&, unsigned at) {
//       if (index == nullptr) return NVML_ERROR_INVALID_ARGUMENT;
//       *index = at;
//       return NVML_SUCCESS;
//     });
//   }
//
// The devices are looked at once in the life of a process, at its first nvmlInit
// (client_shim/look.h), because programs open and close NVML around every question. What they hold
// is read when asked (usage_reader.h). Both stay valid in the child of a fork. Owner: one per
// process, leaked: NVML is called from atexit handlers too.  Threads: any. A lock is held while the
// devices are looked at: whoever else needs them must wait anyway.
#pragma once
#include <atomic>
#include <exception>

#include "client_shim/look.h"
#include "client_shim/nvml/nvml_api.h"
#include "transport/base/guarded.h"

namespace farcall::nvml {

using shim::Look;
using shim::LookDevice;

class Library {
 public:
  static Library& get();
  Library() = default;
  // For the child of a fork: what the parent knew, and none of its locks, which may be held for
  // ever by threads that the child does not have.
  explicit Library(const Library* parent)
      : inits_(parent->inits_.load()), seen_(parent->seen_.load()) {}

  // Errors: NVML_ERROR_LIBRARY_NOT_FOUND (no libcuda.so.1 of ours beside this library),
  // NVML_ERROR_DRIVER_NOT_LOADED (no server named, or none reached; FARCALL_LOG tells which),
  // NVML_ERROR_LIB_RM_VERSION_MISMATCH (the libcuda.so.1 beside us is of another build).
  nvmlReturn_t init(unsigned flags);
  nvmlReturn_t shutdown();

  // Null unless initialised.
  const Look* devices() const;
  // Which of them a handle names, or -1.
  int index_of(nvmlDevice_t handle) const;
  nvmlDevice_t handle_of(unsigned index) const;

 private:
  nvmlReturn_t look();
  std::atomic<int> inits_{0};
  Mutex looking_;
  std::atomic<const Look*> seen_{nullptr};  // never freed
};

// How the devices are looked at; for tests.
using LookFunction = int (*)(Look* out, std::size_t room);
void set_look_for_test(LookFunction look);
// As in a process that has not called NVML yet.
void forget_for_test();

// Runs body(devices).
template <class Body>
nvmlReturn_t answer(const Body& body) {
  const Look* devices = Library::get().devices();
  if (devices == nullptr) return NVML_ERROR_UNINITIALIZED;
  try {
    return body(*devices);
  } catch (const std::exception&) {
    return NVML_ERROR_MEMORY;
  }
}

// Runs body(device, index).
template <class Body>
nvmlReturn_t of_device(nvmlDevice_t handle, const Body& body) {
  return answer([&](const Look& devices) {
    const int index = Library::get().index_of(handle);
    if (index < 0) return NVML_ERROR_INVALID_ARGUMENT;
    return body(devices.devices[index], static_cast<unsigned>(index));
  });
}

// The same for a call with one thing to tell.
template <class T, class Value>
nvmlReturn_t tell(nvmlDevice_t handle, T* out, const Value& value) {
  return of_device(handle, [&](const LookDevice& device, unsigned) {
    if (out == nullptr) return NVML_ERROR_INVALID_ARGUMENT;
    *out = static_cast<T>(value(device));
    return NVML_SUCCESS;
  });
}

}  // namespace farcall::nvml
