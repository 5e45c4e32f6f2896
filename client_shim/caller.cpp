// The seam of transport/api/caller.h: what generated client calls are carried by.
#include "transport/api/caller.h"

#include <sys/random.h>

#include <set>
#include <string>

#include "client_shim/entry.h"
#include "transport/api/handles.h"

namespace farcall::api {
namespace {

using shim::Client;
using shim::kLinkLost;
using shim::Reply;
using shim::with_client;

CUresult take_success(Reply& reply, Take take) {
  if (reply.status != CUDA_SUCCESS) return reply.status;
  if (take(reply.in)) return CUDA_SUCCESS;
  reply.in.fail();
  return kLinkLost;
}

// Unpredictable, so that an id cannot be guessed, and far from the end of the client's range.
std::uint64_t first_id() {
  std::uint64_t random = 0;
  if (::getrandom(&random, sizeof random, GRND_NONBLOCK) != sizeof random) {
    random = static_cast<std::uint64_t>(system_clock().now_ns());
  }
  return kClientIdMin + (random & ((std::uint64_t{1} << (kServerShift - 1)) - 1));
}

}  // namespace

CUresult caller_post(const RowInfo& row, Encode encode) noexcept {
  return with_client([&](Client& client) { return client.post(row, encode); });
}

CUresult caller_ask(const RowInfo& row, Encode encode, Take take) noexcept {
  return with_client([&](Client& client) {
    return client.ask(row, encode, [&](Reply& reply) { return take_success(reply, take); });
  });
}

CUresult caller_cached(const RowInfo& row, Encode encode, Take take) noexcept {
  return with_client([&](Client& client) {
    ReplyCache::Key key(row, encode);
    if (auto known = client.replies().find(key, take)) {
      client.stats().count(shim::CallKind::kCached, row.name);
      return *known;
    }
    return client.ask(row, encode, [&](Reply& reply) {
      CUresult result = take_success(reply, take);
      // Successes only: a failure may be a deferred error of another call.
      if (result == CUDA_SUCCESS) client.replies().keep(key, reply.body);
      return result;
    });
  });
}

std::uint64_t mint_id() noexcept {
  static std::atomic<std::uint64_t>* const next = new std::atomic<std::uint64_t>(first_id());
  const Client* client = shim::current_client();
  return with_server(next->fetch_add(1, std::memory_order_relaxed),
                     client == nullptr ? 0 : client->number());
}

const char* keep_name(std::span<const std::byte> text) noexcept {
  try {
    static Guarded<std::set<std::string>>* const names = new Guarded<std::set<std::string>>;
    std::string name(reinterpret_cast<const char*>(text.data()), text.size());
    return names->lock()->insert(std::move(name)).first->c_str();
  } catch (const std::exception&) {
    return nullptr;
  }
}

}  // namespace farcall::api
