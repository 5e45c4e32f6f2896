// Ending: a call that ends something on the server, and whether it has.
//
//   Ending ending(client);
//   CUresult result = ending.of(api::call<row::cuModuleUnload>(module));
//   if (ending.is_over()) …                       // forget what the module brought along
//
// The server carries such calls out even when the thread is owed the failure of an earlier, posted
// call, and reports that failure in place of their own result. So a failure means that nothing has
// ended only where nothing was owed.
// Threads: the one that makes the call.
#pragma once
#include "client_shim/client.h"

namespace farcall::shim {

class Ending {
 public:
  explicit Ending(Client& client) {
    ThreadState& thread = client.this_thread();
    // After a fault posted calls are refused here, and tell nothing of the server.
    is_owed_ = thread.has_posts && client.contexts().fault(thread.current()) == CUDA_SUCCESS;
  }
  CUresult of(CUresult result) {
    is_over_ = result == CUDA_SUCCESS || (is_owed_ && result != kLinkLost);
    return result;
  }
  bool is_over() const { return is_over_; }

 private:
  bool is_owed_ = false;
  bool is_over_ = false;
};

}  // namespace farcall::shim
