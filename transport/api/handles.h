// Handles: the server's view of the ids a client uses for driver objects.
//
//   void* event = handles.find(Kind::kEvent, id);          // null: unknown, or another kind
//   std::uint64_t id = handles.add(Kind::kModule, module); // names it for the client
//
// A client never sees a driver pointer and cannot make one up: every handle in a call is an id that
// must be known here under the kind its parameter has.
//   ids minted by the client  from kClientIdMin, below kServerIdBit, beginning unpredictably
//   ids minted by the server  kServerIdBit set, the bit above it clear
//   0                         the null handle; passed on as null
// A program may have sessions with several servers. Four bits of every id say which one it belongs
// to, so that the owner of a handle is known without a table: see server_of().
// Ids are never used twice in a session.  Threads: any (the implementation locks).
#pragma once
#include <cstdint>

#include "transport/base/limits.h"
#include "transport/cuda/cuda_abi.h"

namespace farcall::api {

enum class Kind : std::uint8_t {
  kNone = 0,
  kContext,
  kModule,
  kFunction,
  kLibrary,
  kKernel,
  kStream,
  kEvent,
  kArray,
  kMipmappedArray,
  kMemoryPool,
  kGraph,
  kGraphNode,
  kGraphExec,
  kLinkState,
  kGreenContext,
  kResourceDescription,
  kTextureReference,
  kSurfaceReference,
  kUserObject,
};
inline constexpr int kKinds = 20;
const char* kind_name(Kind kind);  // "event"

template <class T>
inline constexpr Kind kKindOf = Kind::kNone;  // a parameter of such a type does not compile
template <>
inline constexpr Kind kKindOf<CUcontext> = Kind::kContext;
template <>
inline constexpr Kind kKindOf<CUmodule> = Kind::kModule;
template <>
inline constexpr Kind kKindOf<CUfunction> = Kind::kFunction;
template <>
inline constexpr Kind kKindOf<CUlibrary> = Kind::kLibrary;
template <>
inline constexpr Kind kKindOf<CUkernel> = Kind::kKernel;
template <>
inline constexpr Kind kKindOf<CUstream> = Kind::kStream;
template <>
inline constexpr Kind kKindOf<CUevent> = Kind::kEvent;
template <>
inline constexpr Kind kKindOf<CUarray> = Kind::kArray;
template <>
inline constexpr Kind kKindOf<CUmipmappedArray> = Kind::kMipmappedArray;
template <>
inline constexpr Kind kKindOf<CUmemoryPool> = Kind::kMemoryPool;
template <>
inline constexpr Kind kKindOf<CUgraph> = Kind::kGraph;
template <>
inline constexpr Kind kKindOf<CUgraphNode> = Kind::kGraphNode;
template <>
inline constexpr Kind kKindOf<CUgraphExec> = Kind::kGraphExec;
template <>
inline constexpr Kind kKindOf<CUlinkState> = Kind::kLinkState;
template <>
inline constexpr Kind kKindOf<CUgreenCtx> = Kind::kGreenContext;
template <>
inline constexpr Kind kKindOf<CUdevResourceDesc> = Kind::kResourceDescription;
template <>
inline constexpr Kind kKindOf<CUtexref> = Kind::kTextureReference;
template <>
inline constexpr Kind kKindOf<CUsurfref> = Kind::kSurfaceReference;
template <>
inline constexpr Kind kKindOf<CUuserObject> = Kind::kUserObject;

// No id has the top bit: as a pointer of user space has not, and bindings of other languages keep
// handles in signed numbers (cuda-python's refuses a negative one).
inline constexpr std::uint64_t kServerIdBit = std::uint64_t{1} << 62;
// Below it lie the stream values that CUDA itself defines (1 legacy, 2 per thread).
inline constexpr std::uint64_t kClientIdMin = 0x1000;
constexpr bool is_client_id(std::uint64_t id) { return id >= kClientIdMin && id < kServerIdBit; }

// The number a client gave its server in the open request; 0 where there is one only.
inline constexpr int kServerShift = 58;
inline constexpr std::uint64_t kServerMask = std::uint64_t{limits::kServersMax - 1} << kServerShift;
constexpr unsigned server_of(std::uint64_t id) {
  return static_cast<unsigned>((id & kServerMask) >> kServerShift);
}
constexpr std::uint64_t with_server(std::uint64_t id, unsigned server) {
  return (id & ~kServerMask) | (std::uint64_t{server} << kServerShift);
}

class Handles {
 public:
  virtual ~Handles() = default;
  // The driver object behind an id; null when the id is unknown or of another kind.
  virtual void* find(Kind kind, std::uint64_t id) = 0;
  // Names a driver object: its present id when it has one, else a new id. `parent` (0: none) is the
  // id whose drop takes this one along. 0 when the table is full.
  virtual std::uint64_t add(Kind kind, void* real, std::uint64_t parent) = 0;
  // Was this id ever used in the session?
  virtual bool is_taken(std::uint64_t id) = 0;
  // Enters an object under an id the client minted. False when taken or the table is full.
  virtual bool adopt(Kind kind, std::uint64_t id, void* real) = 0;
  // Forgets an id and all that name it as parent. Unknown ids are ignored.
  virtual void drop(Kind kind, std::uint64_t id) = 0;
  // What a graph's nodes go with: the id itself, or for a node the id it was named under.
  virtual std::uint64_t graph_of(std::uint64_t id) { return id; }
  // The stream that CU_STREAM_PER_THREAD means for the client thread of the present call; null when
  // it could not be created.
  virtual CUstream thread_stream() = 0;
};

}  // namespace farcall::api
