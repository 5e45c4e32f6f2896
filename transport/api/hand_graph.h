// Hand-written rows of graphs: the bodies of their messages, as in hand.h, which says how to read
// this page.
//
//   client:  out.put(SetHostNode{id, exec, node});
//   server:  auto set = in.get<SetHostNode>();
#pragma once
#include <cstdint>

#include "transport/api/hand.h"

namespace farcall::api::hand {

// --- 0x0f3b cuGraphAddHostNode
// --------------------------------------------------------------------------- Then u64
// node[dependency_count]. rep: u64 node.
struct AddHostNode {
  std::uint64_t id;  // as HostFunction::id
  std::uint64_t graph;
  std::uint32_t dependency_count;  // at most limits::kArrayItemsMax
  std::uint32_t zero;
};

// --- 0x0f3c cuGraphHostNodeSetParams, 0x0f3d cuGraphExecHostNodeSetParams.  rep: nothing
struct SetHostNode {
  std::uint64_t id;    // as HostFunction::id
  std::uint64_t exec;  // 0 for the node of a graph
  std::uint64_t node;
};

// --- 0x0f09 cuGraphExecUpdate_v2: u64 exec, u64 graph.  rep, always: UpdateResult
struct UpdateResult {
  std::uint32_t result;  // CUgraphExecUpdateResult
  std::uint32_t zero;
  std::uint64_t error_node;
  std::uint64_t error_from_node;
};

// --- 0x0f43 cuGraphAddKernelNode_v2: AddNode, u64 node[dependency_count], KernelNode,
// LaunchParams, the parameters as in a launch.  rep: u64 node
// --- 0x0f44 cuGraphKernelNodeSetParams_v2, 0x0f45 cuGraphExecKernelNodeSetParams_v2: SetNode,
// KernelNode, LaunchParams, the parameters.  rep: nothing
// --- 0x0f46 cuGraphKernelNodeGetParams_v2: u64 node. rep: KernelNode, u64 graph or 0,
// LaunchParams, the parameters.
struct AddNode {
  std::uint64_t graph;
  std::uint32_t dependency_count;  // at most limits::kArrayItemsMax
  std::uint32_t zero;
};
struct SetNode {
  std::uint64_t exec;  // 0 for the node of a graph
  std::uint64_t node;
};
struct KernelNode {
  std::uint64_t function;  // either of the two may be 0; the first that is not has the layout
  std::uint64_t kernel;
  std::uint64_t context;  // 0: the current one
  std::uint32_t grid[3];
  std::uint32_t block[3];
  std::uint32_t shared_bytes;
  std::uint32_t zero;
};
static_assert(sizeof(KernelNode) == 56);

// --- 0x0f47 cuGraphAddMemAllocNode: AddNode, u64 node[dependency_count], CUmemPoolProps, u64
// bytes, u32 access_count (at most limits::kArrayItemsMax), CUmemAccessDesc[access_count].  rep:
// u64 node, u64 address

// --- 0x0f4c cuGraphBatchMemOpNodeGetParams: u64 node. rep: u64 context, u64 graph or 0, u32 count,
// u32 flags, CUstreamBatchMemOpParams[count]

// --- 0x0f4d cuGraphAddNode_v2: AddNode, u64 node[dependency_count], ConditionalNode. rep: u64
// node, then u64 body[size]
struct ConditionalNode {
  std::uint64_t handle;
  std::uint64_t context;
  std::uint32_t type;
  std::uint32_t size;  // at most limits::kGraphBodiesMax
};

// --- 0x0f4e cuGraphHostNodeGetParams: u64 node. rep: u64 id, as HostFunction::id; 0: not a
// client's

// --- 0x0f50 cuGraphInstantiateWithParams: Instantiate.  rep, always: InstantiateResult
struct Instantiate {
  std::uint64_t graph;
  std::uint64_t flags;
  std::uint64_t upload_stream;
};
struct InstantiateResult {
  std::uint64_t exec;
  std::uint64_t error_node;
  std::uint32_t result;  // CUgraphInstantiateResult
  std::uint32_t zero;
};

// --- 0x0f51 cuUserObjectCreate: UserObject. Its destructor has one HostTurn to expect.  rep: u64
// id
struct UserObject {
  std::uint64_t destructor;  // as HostFunction::id
  std::uint32_t references;
  std::uint32_t flags;
};

// --- 0x0825 cuStreamGetCaptureInfo_v3: u64 stream. rep: CaptureInfo, u64 node[node_count], and
// CUgraphEdgeData[node_count] if has_edges
struct CaptureInfo {
  std::uint64_t id;
  std::uint64_t graph;
  std::uint32_t status;      // CUstreamCaptureStatus
  std::uint32_t node_count;  // at most limits::kArrayItemsMax
  std::uint32_t has_edges;
  std::uint32_t zero;
};

// --- 0x0f56 list_graph: ListGraph. rep: GraphListed, u64 node[count]; of kEdges, u64 to[count];
// of kEdges and what follows it, CUgraphEdgeData[count]
enum GraphListKind : std::uint32_t {
  kNodes = 0,
  kRootNodes = 1,
  kEdges = 2,
  kDependencies = 3,    // of a node; the others are of a graph
  kDependentNodes = 4,  // likewise
};
struct ListGraph {
  std::uint64_t owner;
  std::uint32_t kind;   // GraphListKind
  std::uint32_t first;  // from which item on
  std::uint32_t count;  // as many, at most limits::kGraphPageItems
  std::uint32_t zero;
};
struct GraphListed {
  std::uint32_t total;
  std::uint32_t count;
};

}  // namespace farcall::api::hand
