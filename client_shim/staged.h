// Staged: a request, encoded before any lock of the link's is taken.
//
//   Staged staged(encode);
//   client.post(row, staged);
//
// While there is mirrored memory (mirrors.h) an encoder may touch a page that has to be fetched
// first, which needs the link that sending holds. So what the program's pointers point to is read
// here. Wiped afterwards.
// Owner: one call.  Threads: one.
#pragma once
#include <cstddef>
#include <memory>

#include "transport/api/caller.h"
#include "transport/base/limits.h"
#include "transport/base/secure_arena.h"
#include "transport/wire/writer.h"

namespace farcall::shim {

class Staged {
 public:
  explicit Staged(api::Encode encode)
      : room_(new std::byte[limits::kFrameBodyBytesMax]),
        written_({room_.get(), limits::kFrameBodyBytesMax}) {
    encode(written_);
  }
  ~Staged() { wipe(room_.get(), written_.size()); }
  Staged(const Staged&) = delete;
  Staged& operator=(const Staged&) = delete;

  void operator()(wire::Writer& out) const {
    if (!written_.ok()) return out.fail();
    out.bytes(written_.view().data(), written_.size());
  }

 private:
  const std::unique_ptr<std::byte[]> room_;
  wire::Writer written_;
};

}  // namespace farcall::shim
