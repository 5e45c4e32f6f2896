#define FARCALL_FAMILY "transport/api/families/library.def"
#include "client_shim/around.h"
#include "client_shim/ending.h"
#include "client_shim/mirrored.h"
#include "transport/base/switches.h"

namespace farcall::shim {
namespace row = api::row;

template <>
struct Around<row::cuLibraryUnload> {
  static CUresult call(CUlibrary library) {
    return with_client([&](Client& client) {
      Ending ending(client);
      CUresult unloaded = ending.of(api::call<row::cuLibraryUnload>(library));
      if (!ending.is_over()) return unloaded;
      client.functions().drop_owner(id_of(library));
      client.mirrors().drop_owner(id_of(library));
      client.allocations().drop_owner(id_of(library));
      return unloaded;
    });
  }
};

template <>
struct Around<row::cuLibraryGetGlobal> {
  static CUresult call(CUdeviceptr* address, std::size_t* bytes, CUlibrary library,
                       const char* name) {
    return with_client([&](Client& client) {
      CUdeviceptr at = 0;
      std::size_t length = 0;
      CUresult found = api::call<row::cuLibraryGetGlobal>(&at, &length, library, name);
      if (found != CUDA_SUCCESS) return found;
      client.remember_global(at, length, id_of(library));
      if (address != nullptr) *address = at;
      if (bytes != nullptr) *bytes = length;
      return CUDA_SUCCESS;
    });
  }
};

// A __managed__ variable: this process's too, at the device's address.
template <>
struct Around<row::cuLibraryGetManaged> {
  static CUresult call(CUdeviceptr* address, std::size_t* bytes, CUlibrary library,
                       const char* name) {
    return with_client([&](Client& client) {
      CUdeviceptr at = 0;
      std::size_t length = 0;
      CUresult found = api::call<row::cuLibraryGetManaged>(&at, &length, library, name);
      if (found != CUDA_SUCCESS) return found;
      found = mirror_variable(client, at, length, id_of(library));
      if (found != CUDA_SUCCESS) return found;
      client.remember_variable(Memory::kManaged, at, length, id_of(library));
      if (address != nullptr) *address = at;
      if (bytes != nullptr) *bytes = length;
      return CUDA_SUCCESS;
    });
  }
};

// What never changes came with the kernel.
template <>
struct Around<row::cuKernelGetAttribute> {
  static CUresult call(int* value, CUfunction_attribute which, CUkernel kernel, CUdevice device) {
    return with_client([&](Client& client) {
      std::optional<int> known;
      if (value != nullptr && device >= 0 && is_on(Switch::kFunctionFacts)) {
        known = client.functions().attribute(id_of(kernel), which, device);
      }
      if (!known) return api::call<row::cuKernelGetAttribute>(value, which, kernel, device);
      client.stats().count(CallKind::kLocal, "cuKernelGetAttribute");
      CUresult fault = client.contexts().fault(client.this_thread().current());
      if (fault == CUDA_SUCCESS) *value = *known;
      return fault;
    });
  }
};

template <>
struct Around<row::cuKernelSetAttribute> {
  static CUresult call(CUfunction_attribute attribute, int value, CUkernel kernel,
                       CUdevice device) {
    return with_client([&](Client& client) {
      CUresult set = api::call<row::cuKernelSetAttribute>(attribute, value, kernel, device);
      if (set == CUDA_SUCCESS && attribute == CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES) {
        client.functions().set_max_dynamic_shared(id_of(kernel), value);
      }
      return set;
    });
  }
};

// What is enumerated can be launched: each kernel is asked for by its name, which brings its facts.
template <>
struct Around<row::cuLibraryEnumerateKernels> {
  static CUresult call(CUkernel* kernels, unsigned count, CUlibrary library) {
    return with_client([&](Client&) {
      CUresult listed = api::call<row::cuLibraryEnumerateKernels>(kernels, count, library);
      for (unsigned i = 0; listed == CUDA_SUCCESS && i < count; ++i) {
        const char* name = nullptr;
        if (kernels[i] == nullptr) break;  // there were fewer
        listed = api::call<row::cuKernelGetName>(&name, kernels[i]);
        if (listed == CUDA_SUCCESS) listed = cuLibraryGetKernel(&kernels[i], library, name);
      }
      return listed;
    });
  }
};

}  // namespace farcall::shim

#include "transport/api/exports.inc"
