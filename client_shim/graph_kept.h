// GraphKept: memory that CUDA gives out with the life of a node or a stream: the arguments of a
// kernel node, the bodies of a conditional one, the nodes that a capture goes on from.
//
//   GraphKept::Node& kept = graph_kept.node(node, graph);   // replaces what was kept of the node
//   graph_kept.drop(node);  graph_kept.drop_graph(graph);
//
// Pointers into it stay valid until the same thing is asked for again, or the node is gone.
// Owner: one per client.  Threads: any; CUDA asks callers to serialise their calls on one graph.
#pragma once
#include <cstdint>
#include <map>
#include <memory>
#include <vector>

#include "client_shim/capture_info.h"
#include "transport/base/guarded.h"

namespace farcall::shim {

class GraphKept {
 public:
  struct Node {
    CUgraph graph = nullptr;
    std::vector<std::byte> arguments;
    std::vector<void*> pointers;
    std::size_t bytes = 0;
    std::vector<CUstreamBatchMemOpParams> mem_ops;
    std::vector<CUgraph> bodies;
    std::vector<CUmemAccessDesc> access;
  };
  // Empty, in place of what was kept.
  Node& node(CUgraphNode node, CUgraph graph) {
    auto made = std::make_unique<Node>();
    made->graph = graph;
    Node& here = *made;
    state_.lock()->nodes[node] = std::move(made);
    return here;
  }
  // Null: nothing is kept of it.
  Node* find(CUgraphNode node) {
    auto state = state_.lock();
    auto at = state->nodes.find(node);
    return at == state->nodes.end() ? nullptr : at->second.get();
  }
  void drop(CUgraphNode node) { state_.lock()->nodes.erase(node); }
  void drop_graph(CUgraph graph) {
    auto state = state_.lock();
    std::erase_if(state->nodes, [&](const auto& each) { return each.second->graph == graph; });
  }
  // Who asked about a capture. The default streams are each context's own, and one of them each
  // thread's.
  struct Asker {
    CUstream stream = nullptr;
    CUcontext context = nullptr;
    std::uint32_t thread = 0;
    auto operator<=>(const Asker&) const = default;
  };
  // Keeps what a stream is told of its capture, in place of what it was told last.
  // Whoever is answered holds on to it until it has answered: another thread may ask meanwhile.
  std::shared_ptr<const CaptureInfo> keep(Asker asker, CaptureInfo told) {
    const bool is_own = asker.stream != nullptr && asker.stream != CU_STREAM_LEGACY &&
                        asker.stream != CU_STREAM_PER_THREAD;
    if (is_own) asker.context = nullptr;
    if (asker.stream != CU_STREAM_PER_THREAD) asker.thread = 0;
    std::shared_ptr<const CaptureInfo> made = std::make_shared<CaptureInfo>(std::move(told));
    state_.lock()->captures[asker] = made;
    return made;
  }
  void drop(CUstream stream) {
    auto state = state_.lock();
    std::erase_if(state->captures, [&](const auto& each) { return each.first.stream == stream; });
  }

 private:
  struct State {
    std::map<CUgraphNode, std::unique_ptr<Node>> nodes;
    std::map<Asker, std::shared_ptr<const CaptureInfo>> captures;
  };
  Guarded<State> state_;
};

}  // namespace farcall::shim
