// Libraries: the libraries of a program with several servers, each loaded where it is used.
//
//   libraries.loaded(library, {image, is_preserved}, options);  // by cuLibraryLoadData
//   libraries.kernel_on(client, kernel, &there);                 // the same kernel, for this
//   server libraries.unload(library);
//
// To CUDA a library belongs to no context: its kernels run on every device. So its handle, which is
// that of the server it was loaded on first, stands for the same library everywhere. Another server
// gets it when a kernel of it is wanted there for the first time; until then only the image is
// kept, or its address where the program promised to preserve it.
// Owner: the fleet.  Threads: any; those that give a client are serving it (fleet.h).  Its lock is
// a leaf: two threads may load the same library at once, and the later one unloads it again.
#pragma once
#include <cstdint>
#include <map>
#include <memory>
#include <vector>

#include "client_shim/modules.h"
#include "transport/base/guarded.h"
#include "transport/cuda/cuda_abi.h"

namespace farcall::shim {

class Libraries {
 public:
  // Of a library that `home` has loaded. is_preserved: the program keeps the image where it is.
  // Errors: CUDA_ERROR_INVALID_IMAGE.
  CUresult loaded(std::uint64_t library, const void* image, bool is_preserved,
                  std::vector<JitOptions::Plain> options);
  // What `library` is on `client`'s server, loaded there if it was not.
  // Errors: CUDA_ERROR_INVALID_HANDLE for one that is not known; as load_image.
  CUresult library_on(Client& client, std::uint64_t library, std::uint64_t* there);
  // home: the client whose kernel it is.
  // Errors: CUDA_ERROR_INVALID_HANDLE for no kernel of a library; as library_on.
  CUresult kernel_on(Client& home, Client& client, std::uint64_t kernel, std::uint64_t* there);
  // Forgets it; returns its handles on the other servers, which are the caller's to unload.
  std::vector<std::uint64_t> forget(std::uint64_t library);

 private:
  struct Source {
    const void* image = nullptr;
    std::vector<std::byte> copy;
    std::vector<JitOptions::Plain> options;
  };
  struct Library {
    std::shared_ptr<const Source> source;         // shared with a load under way
    std::map<unsigned, std::uint64_t> elsewhere;  // by server
  };
  struct Kernel {
    std::uint64_t there = 0;
    std::uint64_t library = 0;
  };
  struct State {
    std::map<std::uint64_t, Library> libraries;
    std::map<std::pair<std::uint64_t, unsigned>, Kernel> kernels;  // by kernel and server
  };
  Guarded<State> state_;
};

}  // namespace farcall::shim
