// Graphs made node by node: wrong calls, edges, clones, instantiation.
#include <algorithm>
#include <vector>

#include "tests/parity/setup.h"

using namespace parity;

BODY(graph_nodes) {
  Primary primary;
  CUgraph graph = nullptr;
  CUgraphNode one = nullptr;
  CUgraphNode two = nullptr;
  CALL(cuGraphCreate, nullptr, 0);
  CALL(cuGraphCreate, &graph, 1);
  CALL(cuGraphCreate, &graph, 0);
  CALL(cuGraphAddEmptyNode, nullptr, graph, nullptr, 0);
  CALL(cuGraphAddEmptyNode, &one, nullptr, nullptr, 0);
  CALL(cuGraphAddEmptyNode, &one, graph, nullptr, 1);
  CALL(cuGraphAddEmptyNode, &one, graph, nullptr, 0);
  CALL(cuGraphAddEmptyNode, &two, graph, &one, 1);
  CUgraphNodeType type{};
  CALL(cuGraphNodeGetType, one, &type);
  VALUE("type", type);
  CALL(cuGraphNodeGetType, one, nullptr);
  CALL(cuGraphNodeGetType, nullptr, &type);
  size_t count = 77;
  CALL(cuGraphGetNodes, graph, nullptr, &count);
  VALUE("nodes", static_cast<long long>(count));
  CALL(cuGraphGetNodes, graph, nullptr, nullptr);
  CALL(cuGraphGetRootNodes, graph, nullptr, &count);
  VALUE("roots", static_cast<long long>(count));
  std::vector<CUgraphNode> nodes(4, bogus<CUgraphNode>());
  count = 4;
  CALL(cuGraphGetNodes, graph, nodes.data(), &count);
  VALUE("nodes", static_cast<long long>(count));
  VALUE("rest null", nodes[2] == nullptr && nodes[3] == nullptr);
  CALL(cuGraphAddDependencies, graph, &one, &two, 1);
  CALL(cuGraphAddDependencies, graph, &two, &one, 1);
  CALL(cuGraphAddDependencies, graph, &one, &one, 1);
  CALL(cuGraphAddDependencies, graph, nullptr, nullptr, 1);
  CALL(cuGraphAddDependencies, graph, nullptr, nullptr, 0);
  CALL(cuGraphRemoveDependencies, graph, &one, &two, 1);
  CALL(cuGraphRemoveDependencies, graph, &one, &two, 1);
  CALL(cuGraphDestroyNode, two);
  CALL(cuGraphDestroyNode, two);
  CALL(cuGraphDestroyNode, nullptr);
  CUgraph other = nullptr;
  CALL(cuGraphCreate, &other, 0);
  CALL(cuGraphAddEmptyNode, &two, other, &one, 1);
  CALL(cuGraphDestroy, graph);
  CALL(cuGraphDestroy, graph);
  CALL(cuGraphDestroy, nullptr);
  CALL(cuGraphNodeGetType, one, &type);
}

BODY(graph_instantiate) {
  Primary primary;
  Kernels kernels;
  const CUstream stream = new_stream();
  CUgraph graph = nullptr;
  CUgraphExec executable = nullptr;
  need(CU(cuGraphCreate)(&graph, 0), "cuGraphCreate");
  CALL(cuGraphInstantiateWithFlags, nullptr, graph, 0);
  CALL(cuGraphInstantiateWithFlags, &executable, nullptr, 0);
  CALL(cuGraphInstantiateWithFlags, &executable, graph, 0x100);
  CALL(cuGraphInstantiateWithFlags, &executable, graph, 0);
  CALL(cuGraphLaunch, executable, stream);
  CALL(cuGraphLaunch, nullptr, stream);
  CALL(cuStreamSynchronize, stream);
  CUdeviceptr p = allocate(64);
  int value = 3;
  int count = 4;
  void* parameters[] = {&p, &value, &count};
  CUDA_KERNEL_NODE_PARAMS node{};
  node.func = kernels.get("fill");
  node.gridDimX = node.gridDimY = node.gridDimZ = 1;
  node.blockDimX = 64;
  node.blockDimY = node.blockDimZ = 1;
  node.kernelParams = parameters;
  CUgraphNode added = nullptr;
  CALL(cuGraphAddKernelNode_v2, &added, graph, nullptr, 0, nullptr);
  node.gridDimX = 0;
  CALL(cuGraphAddKernelNode_v2, &added, graph, nullptr, 0, &node);
  node.gridDimX = 1;
  const CUfunction kept = node.func;
  node.func = nullptr;
  CALL(cuGraphAddKernelNode_v2, &added, graph, nullptr, 0, &node);
  node.func = kept;
  CALL(cuGraphAddKernelNode_v2, &added, graph, nullptr, 0, &node);
  value = 4;  // it was copied
  CUgraphExec second = nullptr;
  CALL(cuGraphInstantiateWithFlags, &second, graph, 0);
  CALL(cuGraphLaunch, second, stream);
  CALL(cuStreamSynchronize, stream);
  VALUE("memory", text(read_back(p, 4)));
  CALL(cuGraphExecKernelNodeSetParams_v2, second, added, &node);
  CALL(cuGraphLaunch, second, stream);
  CALL(cuStreamSynchronize, stream);
  VALUE("memory", text(read_back(p, 4)));
  CUgraphExecUpdateResultInfo info{};
  CALL(cuGraphExecUpdate_v2, second, graph, &info);
  VALUE("result", info.result);
  CALL(cuGraphExecUpdate_v2, executable, graph, &info);
  VALUE("result", info.result);
  CUgraph clone = nullptr;
  CALL(cuGraphClone, &clone, graph);
  CALL(cuGraphClone, nullptr, graph);
  CALL(cuGraphClone, &clone, nullptr);
  CUgraphNode found = nullptr;
  CALL(cuGraphNodeFindInClone, &found, added, clone);
  CALL(cuGraphNodeFindInClone, &found, added, graph);
  CALL(cuGraphExecDestroy, second);
  CALL(cuGraphExecDestroy, nullptr);
}

// As many nodes as graphs of large models have: the lists are whole, the work is done.
BODY(graph_of_ten_thousand) {
  Primary primary;
  constexpr size_t kNodes = 10000;
  const CUstream stream = new_stream();
  const CUdeviceptr p = allocate(kNodes);
  need(CU(cuMemsetD8_v2)(p, 0, kNodes), "cuMemsetD8");
  CALL(cuStreamBeginCapture_v2, stream, CU_STREAM_CAPTURE_MODE_THREAD_LOCAL);
  for (size_t i = 0; i < kNodes; ++i) {
    need(CU(cuMemsetD8Async)(p + i, 1, 1, stream), "cuMemsetD8Async");
  }
  CUgraph graph = nullptr;
  CALL(cuStreamEndCapture, stream, &graph);
  size_t count = 0;
  CALL(cuGraphGetNodes, graph, nullptr, &count);
  VALUE("nodes", static_cast<long long>(count));
  std::vector<CUgraphNode> nodes(kNodes + 2, bogus<CUgraphNode>());
  count = nodes.size();
  CALL(cuGraphGetNodes, graph, nodes.data(), &count);
  VALUE("nodes", static_cast<long long>(count));
  VALUE("rest null", nodes[kNodes] == nullptr && nodes[kNodes + 1] == nullptr);
  std::sort(nodes.begin(), nodes.begin() + kNodes);
  VALUE("each once", std::unique(nodes.begin(), nodes.begin() + kNodes) - nodes.begin());
  std::vector<CUgraphNode> from(kNodes), to(kNodes);
  count = kNodes;
  CALL(cuGraphGetEdges, graph, from.data(), to.data(), &count);
  VALUE("edges", static_cast<long long>(count));
  size_t chained = 0;
  for (size_t i = 1; i < count; ++i) chained += from[i] == to[i - 1];
  VALUE("in a row", static_cast<long long>(chained));
  count = kNodes - 5;
  CALL(cuGraphGetNodes, graph, nodes.data(), &count);
  VALUE("no more than there is room for", static_cast<long long>(count));
  CUgraphExec executable = nullptr;
  CALL(cuGraphInstantiateWithFlags, &executable, graph, 0);
  CALL(cuGraphLaunch, executable, stream);
  CALL(cuStreamSynchronize, stream);
  VALUE("memory", text(read_back(p, kNodes / 4)));
}

// More edges than a message holds, added and taken away at once.
BODY(graph_of_many_edges) {
  Primary primary;
  constexpr size_t kEdges = 5000;
  CUgraph graph = nullptr;
  need(CU(cuGraphCreate)(&graph, 0), "cuGraphCreate");
  std::vector<CUgraphNode> later(kEdges);
  CUgraphNode first = nullptr;
  need(CU(cuGraphAddEmptyNode)(&first, graph, nullptr, 0), "cuGraphAddEmptyNode");
  for (CUgraphNode& node : later) {
    need(CU(cuGraphAddEmptyNode)(&node, graph, nullptr, 0), "cuGraphAddEmptyNode");
  }
  const std::vector<CUgraphNode> from(kEdges, first);
  CALL(cuGraphAddDependencies, graph, from.data(), later.data(), kEdges);
  size_t count = 0;
  CALL(cuGraphNodeGetDependentNodes, first, nullptr, &count);
  VALUE("dependent nodes", static_cast<long long>(count));
  std::vector<CUgraphNode> told(kEdges);
  count = kEdges;
  CALL(cuGraphNodeGetDependentNodes, first, told.data(), &count);
  std::sort(told.begin(), told.end());
  VALUE("each once", std::unique(told.begin(), told.end()) - told.begin());
  CALL(cuGraphRemoveDependencies, graph, from.data(), later.data(), kEdges);
  count = kEdges + 1;
  std::vector<CUgraphNode> roots(count);
  CALL(cuGraphGetRootNodes, graph, roots.data(), &count);
  VALUE("roots", static_cast<long long>(count));
}
