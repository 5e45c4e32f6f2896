#include "client_shim/several.h"

namespace farcall::shim {

CUresult load_library(Fleet& fleet, CUlibrary* library, const LibraryImage& image,
                      FunctionRef<CUresult()> load) {
  Serving serving(fleet, fleet.serving());
  JitOptions jit;
  CUresult read = JitOptions::read(image.jit_count, image.jit_options, image.jit_values, &jit);
  if (read != CUDA_SUCCESS) return read;
  if (CUresult loaded = load(); loaded != CUDA_SUCCESS) return loaded;
  bool is_preserved = false;
  for (unsigned i = 0; i < image.count && image.values != nullptr; ++i) {
    const bool is_set = image.values[i] != nullptr;
    is_preserved |= is_set && image.options[i] == CU_LIBRARY_BINARY_IS_PRESERVED;
  }
  return fleet.libraries().loaded(id_of(*library), image.image, is_preserved, std::move(jit.plain));
}

CUresult unload_library(Fleet& fleet, CUlibrary library, FunctionRef<CUresult(CUlibrary)> unload) {
  Client* home = fleet.owner_of(id_of(library));
  if (home == nullptr) return CUDA_ERROR_INVALID_HANDLE;
  CUresult unloaded = CUDA_SUCCESS;
  {
    Serving serving(fleet, *home);
    unloaded = unload(library);
  }
  // A server that has gone has unloaded it.
  for (std::uint64_t there : fleet.libraries().forget(id_of(library))) {
    Serving serving(fleet, *fleet.owner_of(there));
    (void)unload(handle_of<CUlibrary>(there));
  }
  return unloaded;
}

CUresult with_library(Fleet& fleet, CUlibrary library, FunctionRef<CUresult(CUlibrary)> use) {
  Client& here = fleet.serving();
  Serving serving(fleet, here);
  std::uint64_t there = 0;
  CUresult found = fleet.libraries().library_on(here, id_of(library), &there);
  return found == CUDA_SUCCESS ? use(handle_of<CUlibrary>(there)) : found;
}

CUresult with_node_kernel(Fleet& fleet, std::uint64_t owner, const CUDA_KERNEL_NODE_PARAMS* params,
                          FunctionRef<CUresult(const CUDA_KERNEL_NODE_PARAMS*)> use) {
  Client& here = maker_of(fleet, owner);
  // Without a context of its own a node is for the current one.
  if (params != nullptr) {
    const CUcontext context = params->ctx != nullptr ? params->ctx : fleet.current();
    Client* runs = fleet.owner_of(id_of(context));
    if (runs != nullptr && runs != &here) {
      return refuse_crossing("a kernel node", CUDA_ERROR_INVALID_HANDLE);
    }
  }
  Serving serving(fleet, here);
  if (params == nullptr) return use(nullptr);
  // Both may be given for one kernel; the kernel is the one that can be moved.
  const std::uint64_t kernel = params->kern != nullptr ? id_of(params->kern) : id_of(params->func);
  Client* home = fleet.owner_of(kernel);
  if (home == nullptr || home == &here) return use(params);
  CUDA_KERNEL_NODE_PARAMS moved = *params;
  std::uint64_t there = 0;
  CUresult found = fleet.libraries().kernel_on(*home, here, kernel, &there);
  if (found != CUDA_SUCCESS) return found;
  moved.func = nullptr;
  moved.kern = handle_of<CUkernel>(there);
  return use(&moved);
}

}  // namespace farcall::shim
