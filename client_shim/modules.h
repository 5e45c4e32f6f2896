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

namespace farcall::shim {

// JIT options in the form CUDA passes them: values are numbers or, for logs, host buffers.
struct JitOptions {
  struct Plain {
    std::uint32_t option = 0;
    std::uint64_t value = 0;
  };
  std::vector<Plain> plain;  // what the server gets
  // Where the driver's words go; sizes as the program gave them.
  struct Log {
    char* at = nullptr;
    std::size_t bytes = 0;
    void** size_slot = nullptr;  // the option's value, which CUDA overwrites with the length
  };
  Log info;
  Log error;

  // Errors: CUDA_ERROR_INVALID_VALUE (null arrays), CUDA_ERROR_NOT_SUPPORTED (an option that passes
  // a pointer we cannot send).
  static CUresult read(unsigned count, const CUjit_option* options, void** values, JitOptions* out);
};

struct LoadRequest {
  const void* image = nullptr;
  JitOptions jit;
  bool is_library = false;
};

// id: of the module or library.  The driver's log goes into the program's buffers either way.
CUresult load_image(Client& client, LoadRequest& request, std::uint64_t* id);

// A file as an image: its bytes and zeros behind them, so that PTX text ends.
// Errors: CUDA_ERROR_FILE_NOT_FOUND, CUDA_ERROR_OUT_OF_MEMORY.
CUresult read_image_file(const char* path, std::vector<std::byte>* out);

// Asks for a function by name (module or library) or of a kernel (empty name), and enters its
// facts.
CUresult fetch_function(Client& client, const api::RowInfo& row, std::uint64_t owner,
                        const std::string& name, std::uint64_t* id);

}  // namespace farcall::shim
