// cuGraphDebugDotPrint: a graph as a DOT file. It is written here, from what the server answers
// about the graph: the file is the program's. Kernels are named where their names are known.
#include <cstdio>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "client_shim/entry.h"
#include "transport/base/limits.h"

namespace limits = farcall::limits;
using farcall::shim::Client;
using farcall::shim::id_of;
using farcall::shim::with_client;

namespace {

const char* text_of(CUgraphNodeType type) {
  switch (type) {
    case CU_GRAPH_NODE_TYPE_KERNEL: return "KERNEL";
    case CU_GRAPH_NODE_TYPE_MEMCPY: return "MEMCPY";
    case CU_GRAPH_NODE_TYPE_MEMSET: return "MEMSET";
    case CU_GRAPH_NODE_TYPE_HOST: return "HOST";
    case CU_GRAPH_NODE_TYPE_GRAPH: return "GRAPH";
    case CU_GRAPH_NODE_TYPE_EMPTY: return "EMPTY";
    case CU_GRAPH_NODE_TYPE_WAIT_EVENT: return "EVENT_WAIT";
    case CU_GRAPH_NODE_TYPE_EVENT_RECORD: return "EVENT_RECORD";
    case CU_GRAPH_NODE_TYPE_MEM_ALLOC: return "MEM_ALLOC";
    case CU_GRAPH_NODE_TYPE_MEM_FREE: return "MEM_FREE";
    case CU_GRAPH_NODE_TYPE_BATCH_MEM_OP: return "BATCH_MEM_OP";
    case CU_GRAPH_NODE_TYPE_CONDITIONAL: return "CONDITIONAL";
    default: return "NODE";
  }
}

// Names of kernels may hold anything.
std::string quoted(const std::string& text) {
  std::string out;
  for (char letter : text) {
    if (letter == '"' || letter == '\\' || letter == '{' || letter == '}' || letter == '|') {
      out += '\\';
    }
    out += letter;
  }
  return out;
}

std::string kernel_text(Client& client, CUgraphNode node) {
  CUDA_KERNEL_NODE_PARAMS params{};
  if (cuGraphKernelNodeGetParams_v2(node, &params) != CUDA_SUCCESS) return {};
  auto function =
      client.functions().find(params.func != nullptr ? id_of(params.func) : id_of(params.kern));
  char shape[160];
  std::snprintf(shape, sizeof shape, "\\n\\<\\<\\<(%u,%u,%u),(%u,%u,%u),%u\\>\\>\\>",
                params.gridDimX, params.gridDimY, params.gridDimZ, params.blockDimX,
                params.blockDimY, params.blockDimZ, params.sharedMemBytes);
  return (function == nullptr ? std::string() : "\\n" + quoted(function->name)) + shape;
}

struct Nodes {
  std::vector<CUgraphNode> all, from, to;
  std::vector<CUgraphEdgeData> data;
};

CUresult read_nodes(CUgraph graph, Nodes* nodes) {
  std::size_t count = 0, edges = 0;
  CUresult asked = cuGraphGetNodes(graph, nullptr, &count);
  if (asked != CUDA_SUCCESS) return asked;
  if (count > limits::kArrayItemsMax) return CUDA_ERROR_NOT_SUPPORTED;
  nodes->all.resize(count);
  if (count > 0) asked = cuGraphGetNodes(graph, nodes->all.data(), &count);
  if (asked == CUDA_SUCCESS) {
    asked = cuGraphGetEdges_v2(graph, nullptr, nullptr, nullptr, &edges);
  }
  if (asked != CUDA_SUCCESS || edges == 0) return asked;
  if (edges > limits::kArrayItemsMax) return CUDA_ERROR_NOT_SUPPORTED;
  nodes->from.resize(edges);
  nodes->to.resize(edges);
  nodes->data.resize(edges);
  return cuGraphGetEdges_v2(graph, nodes->from.data(), nodes->to.data(), nodes->data.data(),
                            &edges);
}

CUresult write(Client& client, CUgraph graph, std::FILE* file) {
  Nodes nodes;
  CUresult read = read_nodes(graph, &nodes);
  if (read != CUDA_SUCCESS) return read;
  std::map<CUgraphNode, std::size_t> number;
  std::fputs("digraph dot {\nsubgraph cluster_1 {\nlabel=\"graph_1\" graph[style=\"dashed\"];\n",
             file);
  for (CUgraphNode node : nodes.all) {
    const std::size_t index = number.emplace(node, number.size()).first->second;
    CUgraphNodeType type{};
    read = cuGraphNodeGetType(node, &type);
    if (read != CUDA_SUCCESS) return read;
    const std::string more = type == CU_GRAPH_NODE_TYPE_KERNEL ? kernel_text(client, node) : "";
    std::fprintf(file,
                 "\"graph_1_node_%zu\"[style=\"solid\" shape=\"record\" label=\"%zu\\n%s%s\"];\n",
                 index, index, text_of(type), more.c_str());
  }
  for (std::size_t i = 0; i < nodes.from.size(); ++i) {
    std::fprintf(file, "\"graph_1_node_%zu\" -> \"graph_1_node_%zu\";\n", number[nodes.from[i]],
                 number[nodes.to[i]]);
  }
  std::fputs("}\n}\n", file);
  return CUDA_SUCCESS;
}

}  // namespace

FARCALL_EXPORT cuGraphDebugDotPrint(CUgraph graph, const char* path, unsigned) {
  return with_client([&](Client& client) {
    if (graph == nullptr || path == nullptr) return CUDA_ERROR_INVALID_VALUE;
    std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(std::fopen(path, "we"), std::fclose);
    if (file == nullptr) return CUDA_ERROR_OPERATING_SYSTEM;
    const CUresult written = write(client, graph, file.get());
    const bool is_closed = std::fclose(file.release()) == 0;
    return written != CUDA_SUCCESS || is_closed ? written : CUDA_ERROR_OPERATING_SYSTEM;
  });
}
