#include "gpu_server/handle_table.h"

#include <sys/random.h>

#include <cstdlib>
#include <iterator>

namespace farcall::server {
namespace {

// Ids are drawn, not counted: an id tells nothing about how many objects there are, and a client
// that guesses finds nothing. One system call serves many ids.
std::uint64_t random_word() {
  thread_local std::uint64_t pool[32];
  thread_local std::size_t left = 0;
  if (left == 0) {
    // Up to 256 bytes never come back short once the pool of the system is initialised.
    if (::getrandom(pool, sizeof pool, 0) != static_cast<ssize_t>(sizeof pool)) std::abort();
    left = std::size(pool);
  }
  return pool[--left];
}

}  // namespace

void* HandleTable::find(Kind kind, std::uint64_t id) {
  auto state = state_.lock();
  auto found = state->entries.find(id);
  return found != state->entries.end() && found->second.kind == kind ? found->second.real : nullptr;
}

std::uint64_t HandleTable::id_of(Kind kind, const void* real) {
  auto state = state_.lock();
  auto found = state->by_real.find(Real{kind, real});
  return found == state->by_real.end() ? 0 : found->second;
}

std::uint64_t HandleTable::parent_of(std::uint64_t id) {
  auto state = state_.lock();
  auto found = state->entries.find(id);
  return found == state->entries.end() ? 0 : found->second.parent;
}

Result<std::uint64_t> HandleTable::add(Kind kind, void* real, std::uint64_t parent) {
  auto state = state_.lock();
  if (auto known = state->by_real.find(Real{kind, real}); known != state->by_real.end()) {
    return known->second;
  }
  if (state->entries.size() >= at_most_) {
    return Status(Code::kOverQuota, "the session holds as many handles as it may");
  }
  std::uint64_t id = fresh_id(*state);
  insert(*state, id, kind, real, parent);
  return id;
}

Result<std::uint64_t> HandleTable::reserve(Kind kind) {
  auto state = state_.lock();
  if (state->entries.size() >= at_most_) {
    return Status(Code::kOverQuota, "the session holds as many handles as it may");
  }
  std::uint64_t id = fresh_id(*state);
  insert(*state, id, kind, nullptr, 0);
  return id;
}

void HandleTable::fill(std::uint64_t id, void* real) {
  auto state = state_.lock();
  auto found = state->entries.find(id);
  if (found == state->entries.end()) return;
  forget_real(*state, id, found->second);
  found->second.real = real;
  if (real != nullptr) {
    state->by_real.insert_or_assign(Real{found->second.kind, real}, id);
    return;
  }
  while (std::uint64_t child = state->entries[id].first_child) {
    for (bool done = false; !done;) (void)remove_leaf(*state, child, &done);
  }
}

Status HandleTable::adopt(Kind kind, std::uint64_t id, void* real, std::uint64_t parent) {
  auto state = state_.lock();
  if (!api::is_client_id(id) || state->entries.contains(id)) {
    return Status(Code::kMalformed, "the client minted a handle that it may not use");
  }
  if (state->entries.size() >= at_most_) {
    return Status(Code::kOverQuota, "the session holds as many handles as it may");
  }
  insert(*state, id, kind, real, parent);
  return ok();
}

bool HandleTable::holds(std::uint64_t id) { return state_.lock()->entries.contains(id); }

bool HandleTable::taken(std::uint64_t id) {
  if (!api::is_client_id(id)) return true;
  return state_.lock()->entries.contains(id);
}

std::uint64_t HandleTable::fresh_id(State& state) {
  std::uint64_t id;
  do {
    const std::uint64_t random = random_word() & (api::kServerIdBit - 1);
    id = api::with_server(random, state.server) | api::kServerIdBit;
  } while (state.entries.contains(id));
  return id;
}

void HandleTable::forget_real(State& state, std::uint64_t id, const Entry& entry) {
  auto real = state.by_real.find(Real{entry.kind, entry.real});
  if (real != state.by_real.end() && real->second == id) state.by_real.erase(real);
}

void HandleTable::insert(State& state, std::uint64_t id, Kind kind, void* real,
                         std::uint64_t parent) {
  Entry entry{.kind = kind, .real = real};
  if (auto above = state.entries.find(parent); above != state.entries.end()) {
    entry.parent = parent;
    entry.next = above->second.first_child;
    above->second.first_child = id;
    if (entry.next != 0) state.entries[entry.next].before = id;
  }
  state.entries.emplace(id, entry);
  // An object known under two ids (one of ours, one adopted) answers with the newer one.
  if (real != nullptr) state.by_real.insert_or_assign(Real{kind, real}, id);
}

HandleTable::Entry HandleTable::remove_leaf(State& state, std::uint64_t id, bool* was_id) {
  std::uint64_t leaf = id;
  auto at = state.entries.find(leaf);
  while (at->second.first_child != 0) {
    leaf = at->second.first_child;
    at = state.entries.find(leaf);
  }
  Entry entry = at->second;
  state.entries.erase(at);
  if (entry.next != 0) state.entries[entry.next].before = entry.before;
  if (entry.before != 0) {
    state.entries[entry.before].next = entry.next;
  } else if (entry.parent != 0) {
    state.entries[entry.parent].first_child = entry.next;
  }
  forget_real(state, leaf, entry);
  *was_id = leaf == id;
  return entry;
}

void HandleTable::drop(std::uint64_t id) {
  auto state = state_.lock();
  if (!state->entries.contains(id)) return;
  for (bool done = false; !done;) (void)remove_leaf(*state, id, &done);
}

void HandleTable::drain(FunctionRef<void(Kind, void* real)> visit) {
  for (;;) {
    Entry entry;
    {
      auto state = state_.lock();
      if (state->entries.empty()) return;
      std::uint64_t root = state->entries.begin()->first;
      while (state->entries[root].parent != 0) root = state->entries[root].parent;
      bool was_root;
      entry = remove_leaf(*state, root, &was_root);
    }
    if (entry.real != nullptr)
      visit(entry.kind, entry.real);  // without the lock: it calls the driver
  }
}

std::size_t HandleTable::size() { return state_.lock()->entries.size(); }

}  // namespace farcall::server
