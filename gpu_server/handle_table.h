// HandleTable: the driver objects a client may name, by unforgeable typed ids.
//
//   auto id = table.add(Kind::kModule, module, context_id);       // we mint the id
//   table.adopt(Kind::kEvent, client_id, event, context_id);      // the client minted it
//   void* real = table.find(Kind::kEvent, client_id);             // null: unknown or another kind
//   table.drop(context_id);                                        // and everything that hangs on
//   it
//
// No pointer of the driver ever leaves this process, and no number of the client's is ever used as
// a pointer: an id means something only through this table, only in this session, and only for the
// kind of object it was made for. Objects hang on the object they die with (a function on its
// module, a stream on its context), so a freed parent takes its dependants' ids along, and a
// pointer which the driver uses again cannot be reached through an old id. Ids the client mints
// have the top bit clear, ours have it set, so the two never meet. Owner: a session.  Threads: any.
// Never calls the driver.
#pragma once
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <unordered_map>

#include "transport/api/handles.h"
#include "transport/base/function_ref.h"
#include "transport/base/guarded.h"
#include "transport/base/limits.h"
#include "transport/base/status.h"

namespace farcall::server {

using api::Kind;

class HandleTable {
 public:
  // at_most bounds what one client can make us remember.
  explicit HandleTable(std::size_t at_most = limits::kHandlesMax) : at_most_(at_most) {}

  // A lower bound than that: what a lease allows. Before the first add.
  void hold_at_most(std::size_t handles) { at_most_ = std::min(at_most_, handles); }

  // Every id minted from here on names this server of the client's (api::server_of).
  void mark(unsigned server) { state_.lock()->server = server; }

  // The driver object behind `id`, or null when the id is unknown or of another kind.
  void* find(Kind kind, std::uint64_t id);
  // The id under which `real` is known, or 0.
  std::uint64_t id_of(Kind kind, const void* real);

  // The id that `id` dies with, or 0.
  std::uint64_t parent_of(std::uint64_t id);

  // An id for `real`, minted here; the same one while the same object lives.
  //   parent  id of the object it dies with, or 0; an unknown parent counts as 0
  // Errors: kOverQuota.
  Result<std::uint64_t> add(Kind kind, void* real, std::uint64_t parent);
  // Takes over an id that the client minted.
  // Errors: kMalformed (not a client id, or taken), kOverQuota.
  Status adopt(Kind kind, std::uint64_t id, void* real, std::uint64_t parent);
  // An id whose object does not exist yet: find() answers null until fill(). A primary context has
  // one id for the life of the session, however often it is retained and released.
  // Errors: kOverQuota.
  Result<std::uint64_t> reserve(Kind kind);
  // Puts the object behind a reserved id, or takes it away (null) with all its dependants.
  void fill(std::uint64_t id, void* real);
  // Is there anything of this id, of whatever kind?
  bool holds(std::uint64_t id);
  // Would adopt() refuse this id?
  bool taken(std::uint64_t id);

  // Forgets `id` and all its dependants. Unknown ids are ignored.
  void drop(std::uint64_t id);
  // Forgets everything, dependants first, and shows each object once.
  void drain(FunctionRef<void(Kind, void* real)> visit);

  std::size_t size();

 private:
  struct Entry {
    Kind kind = Kind::kNone;
    void* real = nullptr;
    std::uint64_t parent = 0;
    std::uint64_t first_child = 0;  // the children of one parent form a doubly linked list
    std::uint64_t next = 0;
    std::uint64_t before = 0;
  };
  struct Real {
    Kind kind;
    const void* real;
    bool operator==(const Real&) const = default;
  };
  struct RealHash {
    std::size_t operator()(const Real& key) const {
      auto mixed = reinterpret_cast<std::uintptr_t>(key.real) * 0x9e3779b97f4a7c15u;
      return mixed ^ static_cast<std::uintptr_t>(key.kind);
    }
  };
  struct State {
    std::unordered_map<std::uint64_t, Entry> entries;
    std::unordered_map<Real, std::uint64_t, RealHash> by_real;
    unsigned server = 0;
  };
  static std::uint64_t fresh_id(State& state);
  static void insert(State& state, std::uint64_t id, Kind kind, void* real, std::uint64_t parent);
  static void forget_real(State& state, std::uint64_t id, const Entry& entry);
  // Removes the youngest descendant of `id` that has no children itself; may be `id`.
  static Entry remove_leaf(State& state, std::uint64_t id, bool* was_id);

  std::size_t at_most_;
  Guarded<State> state_;
};

}  // namespace farcall::server
