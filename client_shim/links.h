// Links: run-time links of this session: where the driver's words go, and the linked images.
//
//   links.add(id, jit);                                    // cuLinkCreate
//   std::shared_ptr<Link> link = links.find(id);           // null: no such link
//
// CUDA keeps the buffers that cuLinkCreate was given until cuLinkDestroy, and so do we; the image
// that cuLinkComplete returns lives as long.
// Owner: one per client.  Threads: any; one link is one thread's at a time, as CUDA asks.
#pragma once
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <unordered_map>

#include "client_shim/jit_options.h"
#include "transport/base/guarded.h"

namespace farcall::shim {

struct Link {
  struct Free {
    void operator()(void* at) const { std::free(at); }
  };
  JitOptions jit;
  std::unique_ptr<std::byte, Free> image;
  std::size_t image_bytes = 0;
};

class Links {
 public:
  void add(std::uint64_t id, JitOptions jit) {
    auto link = std::make_shared<Link>();
    link->jit = std::move(jit);
    (*links_.lock())[id] = std::move(link);
  }
  std::shared_ptr<Link> find(std::uint64_t id) {
    auto links = links_.lock();
    auto found = links->find(id);
    return found != links->end() ? found->second : nullptr;
  }
  void drop(std::uint64_t id) { links_.lock()->erase(id); }

 private:
  Guarded<std::unordered_map<std::uint64_t, std::shared_ptr<Link>>> links_;
};

}  // namespace farcall::shim
