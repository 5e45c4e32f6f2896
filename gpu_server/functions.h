// Functions: what a launch must know of a kernel, asked of the driver once.
//
//   std::shared_ptr<const ParamLayout> layout = functions.layout(driver, id, function, is_kernel);
//
// The driver takes one pointer per parameter, the wire carries the parameters back to back: their
// sizes turn one into the other. Sizes go by index and never by offset, because offsets differ
// between GPU architectures.
// Owner: a session.  Threads: any.
#pragma once
#include <cstdint>
#include <memory>
#include <unordered_map>
#include <vector>

#include "transport/api/driver.h"
#include "transport/base/guarded.h"

namespace farcall::server {

using api::Driver;

struct ParamLayout {
  bool known = false;  // false: the driver cannot tell
  std::uint32_t total_bytes = 0;
  std::vector<std::uint32_t> bytes;
};

class Functions {
 public:
  using Layout = std::shared_ptr<const ParamLayout>;
  // id: the handle, which is never used for another object and so never stale.
  //   is_kernel  `real` is a CUkernel rather than a CUfunction
  Layout layout(const Driver& driver, std::uint64_t id, void* real, bool is_kernel);

 private:
  Guarded<std::unordered_map<std::uint64_t, Layout>> known_;
};

}  // namespace farcall::server
