// NodeParams: what a node of a graph was made with, for who asks for it again, and for who makes
// the node anew with something changed.
//
//   if (node->work.params) *out = node->work.params->told.memset;
//
// Owner: shared by nodes, clones and instantiated graphs; never changed once a node has it.
// Threads: any may read.
#pragma once
#include <map>
#include <memory>
#include <vector>

#include "gpu_server/software_gpu/graph_memory.h"
#include "gpu_server/software_gpu/launch.h"
#include "transport/cuda/cuda_abi.h"

namespace farcall::softgpu {

struct Graph;

// Graphs inside a node: its child, or the bodies of a condition. The program may name and change
// them for as long as the node lives.
struct InnerGraphs {
  std::vector<std::shared_ptr<Graph>> graphs;
  std::vector<CUgraph> handles;
  bool owns_handles = true;  // they end with this; not those of a child that is yet to move in

  explicit InnerGraphs(std::vector<std::shared_ptr<Graph>> inner);
  ~InnerGraphs();
  InnerGraphs(const InnerGraphs&) = delete;
  InnerGraphs& operator=(const InnerGraphs&) = delete;
};

struct NodeParams {
  CUgraphNodeParams told{};  // its pointers lead into what follows
  std::shared_ptr<const LaunchPlan> launch;
  std::vector<void*> arguments;  // into launch->params
  std::map<int, CUlaunchAttributeValue> attributes;
  std::vector<CUstreamBatchMemOpParams> mem_ops;
  std::vector<CUmemAccessDesc> access;
  std::shared_ptr<InnerGraphs> inner;
  std::shared_ptr<GraphMemory> memory;  // that the node allocates
  // Of a node that allocates or frees: each instance that is alive holds it, too.
  std::shared_ptr<const int> instances;
};

}  // namespace farcall::softgpu
