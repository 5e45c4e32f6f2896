// How large the value behind a void* is, by the attribute that names it. 0: no such attribute.
// Used by InSized and OutSized. Sources: CUDA Driver API 13.0, the enum comments in cuda.h.
#pragma once
#include <cstddef>
#include <cstdint>

#include "transport/api/words.h"

namespace farcall::api {

std::size_t pool_attribute_bytes(std::uint64_t attribute);          // CUmemPool_attribute
std::size_t graph_memory_attribute_bytes(std::uint64_t attribute);  // CUgraphMem_attribute
std::size_t pointer_attribute_set_bytes(std::uint64_t attribute);   // cuPointerSetAttribute
// CUstreamAttrID: only those whose value holds no handle of the client's.
std::size_t stream_attribute_bytes(std::uint64_t attribute);
std::size_t node_attribute_bytes(std::uint64_t attribute);  // CUkernelNodeAttrID, likewise

// The words for such values: InPoolValue<1> is a value whose attribute is parameter 1. A row counts
// its words by their commas, so a word with two template arguments needs such a name.
template <int N>
using InPoolValue = InSized<N, pool_attribute_bytes>;
template <int N>
using OutPoolValue = OutSized<N, pool_attribute_bytes>;
template <int N>
using InGraphMemoryValue = InSized<N, graph_memory_attribute_bytes>;
template <int N>
using OutGraphMemoryValue = OutSized<N, graph_memory_attribute_bytes>;
template <int N>
using InPointerValue = InSized<N, pointer_attribute_set_bytes>;
template <int N>
using InStreamValue = InSized<N, stream_attribute_bytes>;
template <int N>
using OutStreamValue = OutSized<N, stream_attribute_bytes>;
template <int N>
using InNodeValue = InSized<N, node_attribute_bytes>;
template <int N>
using OutNodeValue = OutSized<N, node_attribute_bytes>;

}  // namespace farcall::api
