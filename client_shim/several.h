// What the functions do, in a program with several servers, that concern more of them than one:
// the stack of contexts, libraries, memory that must lie apart, and what is between two devices.
//
// Each is a Several or a Crossing of routed.h, found by the exported function's address.
// Threads: any.
#pragma once
#include "client_shim/routed.h"

namespace farcall::shim {

// --- contexts: several_context.cpp ---------------------------------------------------------------
CUresult get_current(Fleet& fleet, CUcontext* context);
CUresult set_current(Fleet& fleet, CUcontext context);
CUresult push_current(Fleet& fleet, CUcontext context);
CUresult pop_current(Fleet& fleet, CUcontext* context);
CUresult create_context(Fleet& fleet, int device, CUcontext* context,
                        FunctionRef<CUresult()> create);
CUresult destroy_context(Fleet& fleet, CUcontext context, FunctionRef<CUresult()> destroy);
// Runs `call` if the context is of the server of the current one; else `refusal`.
CUresult with_peer(Fleet& fleet, CUcontext peer, CUresult refusal, FunctionRef<CUresult()> call);
// The same for two devices; of two servers: `*answer` becomes 0.
CUresult between_devices(Fleet& fleet, int device, int peer, int* answer,
                         FunctionRef<CUresult()> call);

template <auto kInner>
struct Several<&::cuCtxGetCurrent, kInner> {
  static CUresult call(Fleet& fleet, CUcontext* context) { return get_current(fleet, context); }
};
template <auto kInner>
struct Several<&::cuCtxSetCurrent, kInner> {
  static CUresult call(Fleet& fleet, CUcontext context) { return set_current(fleet, context); }
};
template <auto kInner>
struct Several<&::cuCtxPushCurrent_v2, kInner> {
  static CUresult call(Fleet& fleet, CUcontext context) { return push_current(fleet, context); }
};
template <auto kInner>
struct Several<&::cuCtxPopCurrent_v2, kInner> {
  static CUresult call(Fleet& fleet, CUcontext* context) { return pop_current(fleet, context); }
};
template <auto kInner>
struct Several<&::cuCtxCreate_v2, kInner> {
  static CUresult call(Fleet& fleet, CUcontext* context, unsigned flags, CUdevice device) {
    return create_context(fleet, device, context, [&] { return kInner(context, flags, device); });
  }
};
template <auto kInner>
struct Several<&::cuCtxCreate_v3, kInner> {
  static CUresult call(Fleet& fleet, CUcontext* context, CUexecAffinityParam* params, int count,
                       unsigned flags, CUdevice device) {
    return create_context(fleet, device, context,
                          [&] { return kInner(context, params, count, flags, device); });
  }
};
template <auto kInner>
struct Several<&::cuCtxCreate_v4, kInner> {
  static CUresult call(Fleet& fleet, CUcontext* context, CUctxCreateParams* params, unsigned flags,
                       CUdevice device) {
    return create_context(fleet, device, context,
                          [&] { return kInner(context, params, flags, device); });
  }
};
template <auto kInner>
struct Several<&::cuCtxDestroy_v2, kInner> {
  static CUresult call(Fleet& fleet, CUcontext context) {
    return destroy_context(fleet, context, [&] { return kInner(context); });
  }
};
template <auto kInner>
struct Several<&::cuCtxEnablePeerAccess, kInner> {
  static CUresult call(Fleet& fleet, CUcontext peer, unsigned flags) {
    return with_peer(fleet, peer, CUDA_ERROR_PEER_ACCESS_UNSUPPORTED,
                     [&] { return kInner(peer, flags); });
  }
};
template <auto kInner>
struct Several<&::cuCtxDisablePeerAccess, kInner> {
  static CUresult call(Fleet& fleet, CUcontext peer) {
    return with_peer(fleet, peer, CUDA_ERROR_PEER_ACCESS_NOT_ENABLED, [&] { return kInner(peer); });
  }
};
template <auto kInner>
struct Several<&::cuDeviceCanAccessPeer, kInner> {
  static CUresult call(Fleet& fleet, int* can, CUdevice device, CUdevice peer) {
    return between_devices(fleet, device, peer, can, [&] { return kInner(can, device, peer); });
  }
};
template <auto kInner>
struct Several<&::cuDeviceGetP2PAttribute, kInner> {
  static CUresult call(Fleet& fleet, int* value, CUdevice_P2PAttribute attribute, CUdevice device,
                       CUdevice peer) {
    return between_devices(fleet, device, peer, value,
                           [&] { return kInner(value, attribute, device, peer); });
  }
};

// --- memory that must lie apart: several_memory.cpp ----------------------------------------------
// Makes blocks until one is apart from all that other servers have handed out, keeping the others
// back meanwhile. Errors: as `make`; CUDA_ERROR_OUT_OF_MEMORY after limits::kAddressTriesMax.
CUresult allocate_apart(Fleet& fleet, CUdeviceptr* address, FunctionRef<CUresult()> make,
                        FunctionRef<void(CUdeviceptr)> release);
// A variable's address cannot be chosen.
// Errors: as `find`; CUDA_ERROR_NOT_SUPPORTED when another server has handed it out.
CUresult find_apart(Fleet& fleet, CUdeviceptr* address, FunctionRef<CUresult(CUdeviceptr*)> find);
void free_kept(CUdeviceptr address);
void free_kept_async(CUdeviceptr address, CUstream stream);
// Serves whoever made `handle`, or has the current context where it is null.
Client& maker_of(Fleet& fleet, std::uint64_t handle);

template <auto kInner>
struct Several<&::cuMemAlloc_v2, kInner> {
  static CUresult call(Fleet& fleet, CUdeviceptr* address, std::size_t bytes) {
    Serving serving(fleet, fleet.serving());
    return allocate_apart(
        fleet, address, [&] { return kInner(address, bytes); },
        [](CUdeviceptr kept) { free_kept(kept); });
  }
};
template <auto kInner>
struct Several<&::cuMemAllocPitch_v2, kInner> {
  static CUresult call(Fleet& fleet, CUdeviceptr* address, std::size_t* pitch, std::size_t width,
                       std::size_t height, unsigned element) {
    Serving serving(fleet, fleet.serving());
    return allocate_apart(
        fleet, address, [&] { return kInner(address, pitch, width, height, element); },
        [](CUdeviceptr kept) { free_kept(kept); });
  }
};
template <auto kInner>
struct Several<&::cuMemAllocAsync, kInner> {
  static CUresult call(Fleet& fleet, CUdeviceptr* address, std::size_t bytes, CUstream stream) {
    Serving serving(fleet, maker_of(fleet, id_of(stream)));
    return allocate_apart(
        fleet, address, [&] { return kInner(address, bytes, stream); },
        [&](CUdeviceptr kept) { free_kept_async(kept, stream); });
  }
};
template <auto kInner>
struct Several<&::cuMemAllocFromPoolAsync, kInner> {
  static CUresult call(Fleet& fleet, CUdeviceptr* address, std::size_t bytes, CUmemoryPool pool,
                       CUstream stream) {
    Serving serving(fleet, maker_of(fleet, id_of(pool)));
    return allocate_apart(
        fleet, address, [&] { return kInner(address, bytes, pool, stream); },
        [&](CUdeviceptr kept) { free_kept_async(kept, stream); });
  }
};
template <auto kInner>
struct Several<&::cuModuleGetGlobal_v2, kInner> {
  static CUresult call(Fleet& fleet, CUdeviceptr* address, std::size_t* bytes, CUmodule module,
                       const char* name) {
    Serving serving(fleet, maker_of(fleet, id_of(module)));
    return find_apart(fleet, address,
                      [&](CUdeviceptr* at) { return kInner(at, bytes, module, name); });
  }
};

// --- libraries: several_library.cpp --------------------------------------------------------------
struct LibraryImage {
  const void* image;
  CUjit_option* jit_options;
  void** jit_values;
  unsigned jit_count;
  CUlibraryOption* options;
  void** values;
  unsigned count;
};
CUresult load_library(Fleet& fleet, CUlibrary* library, const LibraryImage& image,
                      FunctionRef<CUresult()> load);
CUresult unload_library(Fleet& fleet, CUlibrary library, FunctionRef<CUresult(CUlibrary)> unload);
// The library for the server of the current context, which is served while `use` runs.
CUresult with_library(Fleet& fleet, CUlibrary library, FunctionRef<CUresult(CUlibrary)> use);

template <auto kInner>
struct Several<&::cuLibraryLoadData, kInner> {
  static CUresult call(Fleet& fleet, CUlibrary* library, const void* image,
                       CUjit_option* jit_options, void** jit_values, unsigned jit_count,
                       CUlibraryOption* options, void** values, unsigned count) {
    return load_library(
        fleet, library, {image, jit_options, jit_values, jit_count, options, values, count}, [&] {
          return kInner(library, image, jit_options, jit_values, jit_count, options, values, count);
        });
  }
};
// As cuLibraryLoadData: the file is read here either way.
template <auto kInner>
struct Several<&::cuLibraryLoadFromFile, kInner> {
  static CUresult call(Fleet&, CUlibrary* library, const char* file, CUjit_option* jit_options,
                       void** jit_values, unsigned jit_count, CUlibraryOption* options,
                       void** values, unsigned count) {
    std::vector<std::byte> image;
    CUresult read = read_image_file(file, &image);
    if (read != CUDA_SUCCESS) return read;
    // It is gone when this call returns.
    for (unsigned i = 0; options != nullptr && values != nullptr && i < count; ++i) {
      if (options[i] == CU_LIBRARY_BINARY_IS_PRESERVED) return CUDA_ERROR_INVALID_VALUE;
    }
    return ::cuLibraryLoadData(library, image.data(), jit_options, jit_values, jit_count, options,
                               values, count);
  }
};
template <auto kInner>
struct Several<&::cuLibraryUnload, kInner> {
  static CUresult call(Fleet& fleet, CUlibrary library) {
    return unload_library(fleet, library, [](CUlibrary one) { return kInner(one); });
  }
};
template <auto kInner>
struct Several<&::cuLibraryGetGlobal, kInner> {
  static CUresult call(Fleet& fleet, CUdeviceptr* address, std::size_t* bytes, CUlibrary library,
                       const char* name) {
    return with_library(fleet, library, [&](CUlibrary here) {
      return find_apart(fleet, address,
                        [&](CUdeviceptr* at) { return kInner(at, bytes, here, name); });
    });
  }
};
template <auto kInner>
struct Several<&::cuLibraryGetModule, kInner> {
  static CUresult call(Fleet& fleet, CUmodule* module, CUlibrary library) {
    return with_library(fleet, library, [&](CUlibrary here) { return kInner(module, here); });
  }
};

// --- kernel nodes of graphs: several_library.cpp -------------------------------------------------
// Serves whoever made `owner` (a graph, a node), with the node's kernel as it is there.
// Errors: CUDA_ERROR_INVALID_HANDLE for a function of another server's module, and for a node that
// is to run in a context of another server; as library_on.
CUresult with_node_kernel(Fleet& fleet, std::uint64_t owner, const CUDA_KERNEL_NODE_PARAMS* params,
                          FunctionRef<CUresult(const CUDA_KERNEL_NODE_PARAMS*)> use);

template <auto kInner>
struct Several<&::cuGraphAddKernelNode_v2, kInner> {
  static CUresult call(Fleet& fleet, CUgraphNode* node, CUgraph graph, const CUgraphNode* after,
                       std::size_t count, const CUDA_KERNEL_NODE_PARAMS* params) {
    return with_node_kernel(fleet, id_of(graph), params, [&](const auto* here) {
      return kInner(node, graph, after, count, here);
    });
  }
};
template <auto kInner>
struct Several<&::cuGraphKernelNodeSetParams_v2, kInner> {
  static CUresult call(Fleet& fleet, CUgraphNode node, const CUDA_KERNEL_NODE_PARAMS* params) {
    return with_node_kernel(fleet, id_of(node), params,
                            [&](const auto* here) { return kInner(node, here); });
  }
};
template <auto kInner>
struct Several<&::cuGraphExecKernelNodeSetParams_v2, kInner> {
  static CUresult call(Fleet& fleet, CUgraphExec exec, CUgraphNode node,
                       const CUDA_KERNEL_NODE_PARAMS* params) {
    return with_node_kernel(fleet, id_of(exec), params,
                            [&](const auto* here) { return kInner(exec, node, here); });
  }
};

}  // namespace farcall::shim
