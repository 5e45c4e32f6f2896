// GraphCopies: copies between host memory and a device that are part of a graph.
//
//   copies.capture(shape, info, stream);               // a copy in a stream that is being captured
//   copies.stand_in(shape, graph, &device, &regions);  // a memcpy node's descriptor
//   copies.launch(exec, stream);
//
// The host's memory is this process's, and a graph runs on the server. So device memory of ours
// stands in for it there: a mirror. Before each launch the bytes of what the graph reads are copied
// into their mirrors in the order of the stream, behind it the mirrors of what it writes are copied
// back, as landings: all of it posted. Where a graph has host functions, a function finds what was
// copied to the host before it, and what is copied to the device behind it is what it left there;
// such a launch is waited for.
//
// A mirror belongs to the nodes that use it and to what was instantiated from them. Graphs that
// share mirrors, because they were instantiated from one, are launched one after the other.
// Limits: the bytes of a source are read when the graph is launched, as with any copy to the device
// (client_shim/README.md); two copies of one graph meet in the same host memory only if they name
// the same range; inside a child graph every host function counts as coming after every copy to the
// host and before every copy to the device.
// Owner: one per client.  Threads: any. Its lock is a leaf, and not held over calls.
#pragma once
#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <vector>

#include "client_shim/capture_info.h"
#include "client_shim/shape.h"
#include "transport/base/guarded.h"

namespace farcall::shim {

class Client;

class GraphCopies {
 public:
  explicit GraphCopies(Client& client) : client_(client) {}
  GraphCopies(const GraphCopies&) = delete;
  GraphCopies& operator=(const GraphCopies&) = delete;

  struct Mirror;
  // One host side of a copy.
  struct Region {
    std::shared_ptr<Mirror> mirror;
    Side host;
    std::uint64_t width = 0, rows = 1, slices = 1;
    bool is_source = false;  // the graph reads it
  };
  using Regions = std::vector<Region>;

  // Puts mirrors in the place of host sides; `graph` is where the node will be.
  CUresult stand_in(const Shape& shape, CUgraph graph, Shape* device, Regions* regions);
  // The same, for a descriptor.  regions: empty when neither side is the host's.
  CUresult stand_in(const CUDA_MEMCPY3D& copy, CUgraph graph, CUDA_MEMCPY3D* device,
                    Regions* regions);
  // What the program gave, from what the server has.
  void restore(CUDA_MEMCPY3D* copy);
  // A copy with a host side in a capture that is active.
  CUresult capture(const Shape& shape, const CaptureInfo& info, CUstream stream);

  // --- what is in graphs. Regions replace those the node had.
  void added(CUgraph graph, CUgraphNode node, Regions regions);
  void added(CUgraph graph, CUgraphNode node, std::uint64_t function);
  void added_child(CUgraph graph, CUgraphNode node, CUgraph child);
  void added_bodies(CUgraph graph, CUgraphNode node, std::vector<CUgraph> bodies);
  void changed(CUgraphNode node, Regions regions);
  void changed(CUgraphNode node, std::uint64_t function);
  void removed(CUgraphNode node);
  void cloned(CUgraph from, CUgraph to);
  void destroyed(CUgraph graph);
  CUgraph graph_of(CUgraphNode node);
  // It has ended, and what stood in for host memory in it is nobody's any more.
  void drop_context(CUcontext context);

  // --- what was instantiated
  void instantiated(CUgraph graph, CUgraphExec exec);
  void changed(CUgraphExec exec, CUgraphNode node, Regions regions);
  void changed(CUgraphExec exec, CUgraphNode node, std::uint64_t function);
  void changed(CUgraphExec exec, CUgraphNode node, CUgraph child);
  void destroyed(CUgraphExec exec);
  // Sends it, with what it reads before it and what it writes behind it.
  CUresult launch(CUgraphExec exec, CUstream stream);

  // Around a host function of a graph, on the thread that calls it.
  void before_function(std::uint64_t function);
  void after_function(std::uint64_t function);

 private:
  struct Item;
  using Items = std::vector<Item>;
  struct Item {
    CUgraphNode node = nullptr;
    Regions regions;
    std::uint64_t function = 0;
    Items child;
    std::vector<CUgraph> bodies;
  };
  // What a host function comes between.
  struct Around {
    Regions before, after;
  };
  struct Plan {
    Items items;
    Regions sources, targets;
    std::map<std::uint64_t, Around> functions;
  };
  // Launches of one context with mirrors, which follow one another.
  struct Chain {
    CUevent event = nullptr;
    CUstream last = nullptr;
    std::uint32_t thread = 0;
  };
  struct State {
    std::map<CUgraph, Items> graphs;
    std::map<CUgraphExec, std::shared_ptr<Plan>> plans;
    std::map<std::uint64_t, std::weak_ptr<Mirror>> mirrors;  // by address
    std::map<CUcontext, Chain> chains;
    std::map<CUcontext, CUstream> side_streams;  // of the thread that runs host functions
  };
  using Order = std::vector<std::pair<CUgraphNode, CUgraphNode>>;

  CUresult make_region(const Side& host, const Shape& shape, CUgraph graph, Region* region);
  static Item& item_of(Items& items, CUgraphNode node);
  static Item* find_in(Items& items, CUgraphNode node);
  static Item* find_item(State& state, CUgraphNode node);
  static Items renamed(const Items& items, CUgraph copy);
  static bool remove_from(Items& items, CUgraphNode node, Items* gone);
  Items items_of(CUgraph graph);
  static void gather(State& state, const Items& items, Regions* all,
                     std::vector<std::uint64_t>* functions);
  static void replan(State& state, Plan& plan, const Order* order);
  Order order_of(CUgraph graph);
  CUresult follow(CUcontext context, CUstream stream);
  void mark(CUcontext context, CUstream stream);
  void transfer(std::uint64_t function, bool is_before);

  Client& client_;
  std::atomic<bool> any_{false};  // there was a mirror once
  Guarded<State> state_;
};

}  // namespace farcall::shim
