// Modules, libraries and the functions in them. Files are read here: paths mean nothing on the
// server.
#include <algorithm>

#include "client_shim/behind.h"
#include "client_shim/entry.h"
#include "client_shim/modules.h"
#include "transport/api/rows.h"

using farcall::shim::Client;
using farcall::shim::handle_of;
using farcall::shim::id_of;
using farcall::shim::JitOptions;
using farcall::shim::LoadRequest;
using farcall::shim::with_client;
namespace row = farcall::api::row;
namespace limits = farcall::limits;

namespace {

CUresult load_module(Client& client, CUmodule* module, LoadRequest& request) {
  if (module == nullptr) return CUDA_ERROR_INVALID_VALUE;
  if (client.this_thread().current() == nullptr) return CUDA_ERROR_INVALID_CONTEXT;
  std::uint64_t id = 0;
  CUresult loaded = farcall::shim::load_image(client, request, &id);
  if (loaded == CUDA_SUCCESS) *module = handle_of<CUmodule>(id);
  return loaded;
}

struct LibraryArguments {
  CUjit_option* jit_options;
  void** jit_values;
  unsigned jit_count;
  CUlibraryOption* options;
  void** values;
  unsigned count;
};

// That the image stays where it is: not so for one that is read from a file. No list needs more
// entries than there are options; a count may be any number.
bool says_preserved(const CUlibraryOption* options, unsigned count) {
  const auto* const end = options + std::min<unsigned>(count, CU_LIBRARY_NUM_OPTIONS);
  return options != nullptr && std::find(options, end, CU_LIBRARY_BINARY_IS_PRESERVED) != end;
}

CUresult load_library(Client& client, CUlibrary* library, const void* image,
                      const LibraryArguments& arguments) {
  if (library == nullptr) return CUDA_ERROR_INVALID_VALUE;
  LoadRequest request;
  request.image = image;
  request.is_library = true;
  CUresult read = JitOptions::read(arguments.jit_count, arguments.jit_options, arguments.jit_values,
                                   &request.jit);
  if (read != CUDA_SUCCESS) return read;
  if (arguments.count != 0 && arguments.options == nullptr) return CUDA_ERROR_INVALID_VALUE;
  for (unsigned i = 0; i < arguments.count; ++i) {
    // That the image stays where it is concerns this process only: the server has its own copy.
    if (arguments.options[i] != CU_LIBRARY_BINARY_IS_PRESERVED) return CUDA_ERROR_NOT_SUPPORTED;
    request.is_preserved = true;
  }
  std::uint64_t id = 0;
  CUresult loaded = farcall::shim::load_image(client, request, &id);
  if (loaded == CUDA_SUCCESS) *library = handle_of<CUlibrary>(id);
  return loaded;
}

template <class Out, class Owner>
CUresult get_function(const farcall::api::RowInfo& info, Out* out, Owner owner, const char* name) {
  return with_client([&](Client& client) {
    if (info.id == row::cuModuleGetFunction::info().id) {
      if (CUresult bad = client.require_context(); bad != CUDA_SUCCESS) return bad;
    }
    if (out == nullptr || name == nullptr) return CUDA_ERROR_INVALID_VALUE;
    if (owner == nullptr) return CUDA_ERROR_INVALID_HANDLE;
    if (*name == 0) return CUDA_ERROR_NOT_FOUND;
    std::string text(name);
    if (text.size() >= limits::kStringBytesMax) return CUDA_ERROR_NOT_FOUND;
    std::uint64_t id = 0;
    CUresult found = farcall::shim::fetch_function(client, info, id_of(owner), text, &id);
    if (found == CUDA_SUCCESS) *out = handle_of<Out>(id);
    return found;
  });
}

}  // namespace

FARCALL_EXPORT cuModuleLoadData(CUmodule* module, const void* image) {
  return with_client([&](Client& client) {
    LoadRequest request;
    request.image = image;
    return load_module(client, module, request);
  });
}

FARCALL_EXPORT cuModuleLoadDataEx(CUmodule* module, const void* image, unsigned int numOptions,
                                  CUjit_option* options, void** optionValues) {
  return with_client([&](Client& client) {
    LoadRequest request;
    request.image = image;
    CUresult read = JitOptions::read(numOptions, options, optionValues, &request.jit);
    return read == CUDA_SUCCESS ? load_module(client, module, request) : read;
  });
}

FARCALL_EXPORT cuModuleLoadFatBinary(CUmodule* module, const void* fatCubin) {
  return cuModuleLoadData(module, fatCubin);
}

FARCALL_EXPORT cuModuleLoad(CUmodule* module, const char* fname) {
  return with_client([&](Client& client) {
    if (module == nullptr) return CUDA_ERROR_INVALID_VALUE;
    std::vector<std::byte> file;
    CUresult read = farcall::shim::read_image_file(fname, &file);
    if (read != CUDA_SUCCESS) return read;
    LoadRequest request;
    request.image = file.data();
    return load_module(client, module, request);
  });
}

FARCALL_EXPORT cuLibraryLoadData(CUlibrary* library, const void* code, CUjit_option* jitOptions,
                                 void** jitOptionsValues, unsigned int numJitOptions,
                                 CUlibraryOption* libraryOptions, void** libraryOptionValues,
                                 unsigned int numLibraryOptions) {
  return with_client([&](Client& client) {
    return load_library(client, library, code,
                        {jitOptions, jitOptionsValues, numJitOptions, libraryOptions,
                         libraryOptionValues, numLibraryOptions});
  });
}

FARCALL_EXPORT cuLibraryLoadFromFile(CUlibrary* library, const char* fileName,
                                     CUjit_option* jitOptions, void** jitOptionsValues,
                                     unsigned int numJitOptions, CUlibraryOption* libraryOptions,
                                     void** libraryOptionValues, unsigned int numLibraryOptions) {
  return with_client([&](Client& client) {
    if (says_preserved(libraryOptions, numLibraryOptions)) {
      return CUDA_ERROR_INVALID_VALUE;
    }
    std::vector<std::byte> file;
    CUresult read = farcall::shim::read_image_file(fileName, &file);
    if (read != CUDA_SUCCESS) return read;
    return load_library(client, library, file.data(),
                        {jitOptions, jitOptionsValues, numJitOptions, libraryOptions,
                         libraryOptionValues, numLibraryOptions});
  });
}

FARCALL_EXPORT cuModuleGetFunction(CUfunction* function, CUmodule module, const char* name) {
  return get_function(row::cuModuleGetFunction::info(), function, module, name);
}

FARCALL_EXPORT cuLibraryGetKernel(CUkernel* kernel, CUlibrary library, const char* name) {
  return get_function(row::cuLibraryGetKernel::info(), kernel, library, name);
}

FARCALL_EXPORT cuKernelGetFunction(CUfunction* function, CUkernel kernel) {
  return with_client([&](Client& client) {
    if (function == nullptr) return CUDA_ERROR_INVALID_VALUE;
    if (kernel == nullptr) return CUDA_ERROR_INVALID_HANDLE;
    std::uint64_t id = 0;
    CUresult found = farcall::shim::fetch_function(client, row::cuKernelGetFunction::info(),
                                                   id_of(kernel), std::string(), &id);
    if (found == CUDA_SUCCESS) *function = handle_of<CUfunction>(id);
    return found;
  });
}
