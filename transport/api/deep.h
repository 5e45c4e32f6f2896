// Deep<T>: how a struct with pointers or handles inside crosses the wire.
//
//   check()  in the client: may this one be sent?      put()  in the client: writes it
//   load()   in the server: reads it, pointers into scratch, ids made driver objects
//
// A struct without pointers needs none of this: it is listed in structs.def. To teach a new struct,
// add a specialisation here and its functions to deep.cpp.
#pragma once
#include "transport/api/load.h"

namespace farcall::api {

template <class T>
struct Deep;

// What a Deep codec looks like.
#define FARCALL_DEEP(T)                                \
  template <>                                          \
  struct Deep<T> {                                     \
    static CUresult check(const T& from);              \
    static void put(wire::Writer& out, const T& from); \
    static void load(Load& load, T& to);               \
  };

// Stream and attributes, events in them included. Used by occupancy rows and by launches.
FARCALL_DEEP(CUlaunchConfig)
// Handles for Windows are refused: the pointers they come with mean nothing on another machine.
FARCALL_DEEP(CUmemAllocationProp)
FARCALL_DEEP(CUmemPoolProps)
// An array, a mipmapped array or a device address behind a texture or surface.
FARCALL_DEEP(CUDA_RESOURCE_DESC)
// A copy between device addresses and arrays. The host's memory is not the driver's to read, so
// ends on the host are refused.
FARCALL_DEEP(CUDA_MEMCPY3D)
// Stream memory operations in a graph.
FARCALL_DEEP(CUDA_BATCH_MEM_OP_NODE_PARAMS)
#undef FARCALL_DEEP

// DeepAnswer<T>: the way back. answer() in the server names the handles, take() in the client
// reads.
template <class T>
struct DeepAnswer;

template <>
struct DeepAnswer<CUDA_RESOURCE_DESC> {
  static void answer(Answer& answer, const CUDA_RESOURCE_DESC& from);
  static void take(wire::Reader& in, CUDA_RESOURCE_DESC& to);
};
template <>
struct DeepAnswer<CUDA_MEMCPY3D> {
  static void answer(Answer& answer, const CUDA_MEMCPY3D& from);
  static void take(wire::Reader& in, CUDA_MEMCPY3D& to);
};
// Without accessDescs: the driver's list of them is not the caller's to keep.
template <>
struct DeepAnswer<CUDA_MEM_ALLOC_NODE_PARAMS> {
  static void answer(Answer& answer, const CUDA_MEM_ALLOC_NODE_PARAMS& from);
  static void take(wire::Reader& in, CUDA_MEM_ALLOC_NODE_PARAMS& to);
};

// One launch attribute, 72 bytes: {u32 id, u32 0, 64 bytes of value}. Events inside are handles.
// Attributes that need memory of the client are refused by check.
CUresult check_attribute(const CUlaunchAttribute& from);
void put_attribute(wire::Writer& out, const CUlaunchAttribute& from);
void load_attribute(Load& load, CUlaunchAttribute& to);

}  // namespace farcall::api
