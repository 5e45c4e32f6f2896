// Links: what must outlive the calls of a run-time link: the buffers that the driver writes its log
// into from cuLinkCreate on.
//
//   std::shared_ptr<JitOptions> options = links.find(id);       // null: no such link
//
// A link that its context took along has lost its handle without cuLinkDestroy; what is kept for it
// goes when room is made for another.
// Owner: a session.  Threads: any; the options of one link belong to whoever carries out its call,
// and CUDA asks its callers to make one at a time.
#pragma once
#include <cstdint>
#include <memory>
#include <unordered_map>

#include "gpu_server/jit_options.h"
#include "transport/base/function_ref.h"
#include "transport/base/guarded.h"
#include "transport/base/program_limits.h"

namespace farcall::server {

class Links {
 public:
  using Options = std::shared_ptr<JitOptions>;
  // Room for one more? A session may have limits::kLinksMax. Forgets those whose handle is gone.
  bool make_room(FunctionRef<bool(std::uint64_t)> is_alive) {
    auto links = links_.lock();
    if (links->size() < limits::kLinksMax) return true;
    return std::erase_if(*links, [&](const auto& each) { return !is_alive(each.first); }) != 0;
  }
  void add(std::uint64_t id, Options options) { (*links_.lock())[id] = std::move(options); }
  Options find(std::uint64_t id) {
    auto links = links_.lock();
    auto found = links->find(id);
    return found != links->end() ? found->second : nullptr;
  }
  void drop(std::uint64_t id) { links_.lock()->erase(id); }

 private:
  Guarded<std::unordered_map<std::uint64_t, Options>> links_;
};

}  // namespace farcall::server
