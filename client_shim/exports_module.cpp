#define FARCALL_FAMILY "transport/api/families/module.def"
#include "client_shim/around.h"
#include "client_shim/ending.h"
#include "transport/base/switches.h"

namespace farcall::shim {
namespace row = api::row;

template <>
struct Around<row::cuModuleUnload> {
  static CUresult call(CUmodule module) {
    return with_client([&](Client& client) {
      Ending ending(client);
      CUresult unloaded = ending.of(api::call<row::cuModuleUnload>(module));
      if (!ending.is_over()) return unloaded;
      client.functions().drop_owner(id_of(module));
      client.mirrors().drop_owner(id_of(module));
      client.allocations().drop_owner(id_of(module));
      return unloaded;
    });
  }
};

template <>
struct Around<row::cuModuleGetGlobal_v2> {
  static CUresult call(CUdeviceptr* address, std::size_t* bytes, CUmodule module,
                       const char* name) {
    return with_client([&](Client& client) {
      CUdeviceptr at = 0;
      std::size_t length = 0;
      CUresult found = api::call<row::cuModuleGetGlobal_v2>(&at, &length, module, name);
      if (found != CUDA_SUCCESS) return found;
      client.remember_global(at, length, id_of(module));
      if (address != nullptr) *address = at;
      if (bytes != nullptr) *bytes = length;
      return CUDA_SUCCESS;
    });
  }
};

// The linked image goes with its link.
template <>
struct Around<row::cuLinkDestroy> {
  static CUresult call(CUlinkState state) {
    return with_client([&](Client& client) {
      Ending ending(client);
      CUresult destroyed = ending.of(api::call<row::cuLinkDestroy>(state));
      if (ending.is_over()) client.links().drop(id_of(state));
      return destroyed;
    });
  }
};

// What never changes came with the function.
template <>
struct Around<row::cuFuncGetAttribute> {
  static CUresult call(int* value, CUfunction_attribute which, CUfunction function) {
    return with_client([&](Client& client) {
      int ordinal = -1;
      std::optional<int> known;
      if (value != nullptr && is_on(Switch::kFunctionFacts) &&
          client.current_device(&ordinal) == CUDA_SUCCESS) {
        known = client.functions().attribute(id_of(function), which, ordinal);
      }
      if (!known) return api::call<row::cuFuncGetAttribute>(value, which, function);
      client.stats().count(CallKind::kLocal, "cuFuncGetAttribute");
      CUresult fault = client.contexts().fault(client.this_thread().current());
      if (fault == CUDA_SUCCESS) *value = *known;
      return fault;
    });
  }
};

template <>
struct Around<row::cuFuncSetAttribute> {
  static CUresult call(CUfunction function, CUfunction_attribute attribute, int value) {
    return with_client([&](Client& client) {
      CUresult set = api::call<row::cuFuncSetAttribute>(function, attribute, value);
      if (set == CUDA_SUCCESS && attribute == CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES) {
        client.functions().set_max_dynamic_shared(id_of(function), value);
      }
      return set;
    });
  }
};

// What is enumerated can be launched: each function is asked for by its name, which brings its
// facts.
template <>
struct Around<row::cuModuleEnumerateFunctions> {
  static CUresult call(CUfunction* functions, unsigned count, CUmodule module) {
    return with_client([&](Client&) {
      CUresult listed = api::call<row::cuModuleEnumerateFunctions>(functions, count, module);
      for (unsigned i = 0; listed == CUDA_SUCCESS && i < count; ++i) {
        const char* name = nullptr;
        if (functions[i] == nullptr) break;  // there were fewer
        listed = api::call<row::cuFuncGetName>(&name, functions[i]);
        if (listed == CUDA_SUCCESS) listed = cuModuleGetFunction(&functions[i], module, name);
      }
      return listed;
    });
  }
};

}  // namespace farcall::shim

#include "transport/api/exports.inc"
