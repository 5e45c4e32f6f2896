// Modules: sending images to the server, and asking for the functions in them.
//
//   LoadRequest request{image, options};
//   CUresult result = load_image(client, row::cuModuleLoadData::info(), request, &id);
//
// Threads: any.  The image is read in place and streamed: it may be 500 MB.
#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "client_shim/client.h"
#include "client_shim/jit_options.h"

namespace farcall::shim {

struct LoadRequest {
  const void* image = nullptr;
  JitOptions jit;
  bool is_library = false;
  bool is_preserved = false;  // CU_LIBRARY_BINARY_IS_PRESERVED, by which the runtime loads its own
};

// id: of the module or library.  The driver's log goes into the program's buffers either way.
CUresult load_image(Client& client, LoadRequest& request, std::uint64_t* id);

// A file as an image: its bytes and kFileZerosBehind zeros behind them, so that PTX text ends and a
// whole header fits behind a file that ends within one.
// Errors: CUDA_ERROR_FILE_NOT_FOUND, CUDA_ERROR_OUT_OF_MEMORY.
inline constexpr std::size_t kFileZerosBehind = 64;
CUresult read_image_file(const char* path, std::vector<std::byte>* out);

// Asks for a function by name (module or library) or of a kernel (empty name), and enters its
// facts.
CUresult fetch_function(Client& client, const api::RowInfo& row, std::uint64_t owner,
                        const std::string& name, std::uint64_t* id);

}  // namespace farcall::shim
