// ReplyCache: replies to Cached rows, which never change while the session lasts.
//
//   ReplyCache::Key key(row, encode);
//   if (auto status = cache.find(key, take)) return *status;
//   …one round trip…
//   cache.keep(key, reply_body);                  // the u32 status and the answers
//
// The lock is held to look and to store, never while a reply is awaited: two threads may ask the
// same question at once, and the second reply is the same as the first.
// Owner: one session.  Threads: any.  Bounded by limits::kCachedRepliesMax and kCachedBytesMax;
// what does not fit is simply asked again. Holds device facts and names, never a tenant's data.
#pragma once
#include <array>
#include <optional>
#include <string>
#include <unordered_map>

#include "transport/api/caller.h"
#include "transport/base/guarded.h"
#include "transport/base/limits.h"

namespace farcall::api {

class ReplyCache {
 public:
  class Key {
   public:
    Key(const RowInfo& row, Encode encode);
    bool fits() const { return used_ != 0; }  // false: ask without the cache
    std::string_view view() const { return {reinterpret_cast<const char*>(bytes_.data()), used_}; }

   private:
    std::array<std::byte, limits::kCachedBytesMax> bytes_;
    std::size_t used_ = 0;
  };

  // The status of the kept reply, its answers taken; nothing when there is none.
  std::optional<CUresult> find(const Key& key, Take take);
  // Keeps a reply of CUDA_SUCCESS. Others are not kept: the status may be that of an earlier call.
  void keep(const Key& key, std::span<const std::byte> reply_body);
  void clear() { replies_.lock()->clear(); }

 private:
  Guarded<std::unordered_map<std::string, std::string>> replies_;
};

// Reads a reply body: the status, and on success the answers by `take`. False when the body is not
// what the row says; `status` is then CUDA_ERROR_SYSTEM_DRIVER_MISMATCH.
bool read_reply(std::span<const std::byte> body, Take take, CUresult* status);

}  // namespace farcall::api
