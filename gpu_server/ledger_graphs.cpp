// Memory nodes of graphs: they allocate when their graph is launched, and the device keeps the
// memory for the next launch until it is trimmed.
//
// Until a session has made such a node, or may have by capturing an allocation, graphs are not
// looked at. From then on each is, when it is instantiated; its first launch charges all it may
// need, and later ones find that charged.
#include "gpu_server/ledger_driver.h"

namespace farcall::server {
namespace {

class NodeCount {
 public:
  // Adds what the nodes of `graph` and of its child graphs allocate. False: too much to look at.
  bool add(const api::Driver& real, CUgraph graph, unsigned depth, GraphBytes* need) {
    std::size_t count = 0;
    if (depth > limits::kGraphNestingMetered || real.cuGraphGetNodes == nullptr ||
        real.cuGraphGetNodes(graph, nullptr, &count) != CUDA_SUCCESS) {
      return false;
    }
    seen_ += count;
    if (seen_ > limits::kGraphNodesMetered) return false;
    std::vector<CUgraphNode> nodes(count);
    if (count > 0 && real.cuGraphGetNodes(graph, nodes.data(), &count) != CUDA_SUCCESS) {
      return false;
    }
    for (CUgraphNode node : nodes) {
      if (!add_node(real, node, depth, need)) return false;
    }
    return true;
  }

 private:
  bool add_node(const api::Driver& real, CUgraphNode node, unsigned depth, GraphBytes* need) {
    CUgraphNodeType type = CU_GRAPH_NODE_TYPE_EMPTY;
    if (real.cuGraphNodeGetType(node, &type) != CUDA_SUCCESS) return false;
    if (type == CU_GRAPH_NODE_TYPE_GRAPH) {
      CUgraph child = nullptr;
      return real.cuGraphChildGraphNodeGetGraph != nullptr &&
             real.cuGraphChildGraphNodeGetGraph(node, &child) == CUDA_SUCCESS &&
             add(real, child, depth + 1, need);
    }
    if (type != CU_GRAPH_NODE_TYPE_MEM_ALLOC) return true;
    CUDA_MEM_ALLOC_NODE_PARAMS params{};
    if (real.cuGraphMemAllocNodeGetParams == nullptr ||
        real.cuGraphMemAllocNodeGetParams(node, &params) != CUDA_SUCCESS) {
      return false;
    }
    std::uint64_t& bytes = (*need)[params.poolProps.location.id];
    return !__builtin_add_overflow(bytes, charged_bytes(params.bytesize), &bytes);
  }
  std::size_t seen_ = 0;
};

}  // namespace

bool LedgerDriver::is_capturing(CUstream stream) const {
  CUstreamCaptureStatus status = CU_STREAM_CAPTURE_STATUS_NONE;
  return captures_ && real_.cuStreamIsCapturing != nullptr &&
         real_.cuStreamIsCapturing(stream, &status) == CUDA_SUCCESS &&
         status != CU_STREAM_CAPTURE_STATUS_NONE;
}

CUresult LedgerDriver::graph_need(CUgraph graph, GraphBytes* need) {
  if (!graph_memory_ || !has_memory_limit()) return CUDA_SUCCESS;
  if (!NodeCount().add(real_, graph, 0, need)) return CUDA_ERROR_OUT_OF_MEMORY;
  for (const auto& [device, bytes] : *need) {
    if (bytes > ledger_.limits().memory_bytes) return CUDA_ERROR_OUT_OF_MEMORY;
  }
  return CUDA_SUCCESS;
}

void LedgerDriver::keep_graph(CUgraphExec exec, GraphBytes need) {
  if (!need.empty()) graphs_.lock()->execs[exec] = {std::move(need), false};
}

bool LedgerDriver::charge_all(const GraphBytes& need) {
  for (auto each = need.begin(); each != need.end(); ++each) {
    if (ledger_.charge({Account::kMemory, each->first}, each->second)) continue;
    for (auto charged = need.begin(); charged != each; ++charged) {
      ledger_.give_back({Account::kMemory, charged->first}, charged->second);
    }
    return false;
  }
  return true;
}

// Where there is no room, what earlier graphs left is trimmed; that needs their work to be over,
// as far as it is ahead in the same stream.
bool LedgerDriver::charge_graph(CUgraphExec exec, CUstream stream) {
  if (!graph_memory_) return true;
  GraphBytes need;
  {
    auto graphs = graphs_.lock();
    auto found = graphs->execs.find(exec);
    if (found == graphs->execs.end() || found->second.is_charged) return true;
    need = found->second.need;
  }
  bool charged = charge_all(need);
  if (!charged) {
    if (real_.cuStreamSynchronize != nullptr) (void)real_.cuStreamSynchronize(stream);
    settle(true);
    charged = charge_all(need);
  }
  if (!charged) return false;
  auto graphs = graphs_.lock();
  for (const auto& [device, bytes] : need) graphs->charged[device] += bytes;
  auto found = graphs->execs.find(exec);
  if (found != graphs->execs.end()) found->second.is_charged = true;
  return true;
}

void LedgerDriver::forget_graph(CUgraphExec exec) { graphs_.lock()->execs.erase(exec); }

// After a trim the device says what graphs still hold. Those whose memory went are charged again
// when they are launched again.
void LedgerDriver::settle_graphs() {
  if (!graph_memory_) return;
  if (!real_.cuDeviceGraphMemTrim || !real_.cuDeviceGetGraphMemAttribute) return;
  GraphBytes devices;
  devices = graphs_.lock()->charged;
  for (const auto& [device, before] : devices) {
    (void)real_.cuDeviceGraphMemTrim(device);
    cuuint64_t now = 0;
    if (real_.cuDeviceGetGraphMemAttribute(device, CU_GRAPH_MEM_ATTR_RESERVED_MEM_CURRENT, &now) !=
        CUDA_SUCCESS) {
      continue;
    }
    auto graphs = graphs_.lock();
    std::uint64_t& charged = graphs->charged[device];
    const Place place{Account::kMemory, device};
    if (now >= charged) {
      ledger_.charge_anyway(place, now - charged);
    } else {
      ledger_.give_back(place, charged - now);
      for (auto& [exec, memory] : graphs->execs) {
        if (memory.need.contains(device)) memory.is_charged = false;
      }
    }
    charged = now;
  }
}

namespace metered {

CUresult cuGraphAddMemAllocNode(CUgraphNode* node, CUgraph graph, const CUgraphNode* after,
                                std::size_t count, CUDA_MEM_ALLOC_NODE_PARAMS* params) {
  LedgerDriver& meter = LedgerDriver::get();
  meter.note_graph_memory();
  return meter.real().cuGraphAddMemAllocNode(node, graph, after, count, params);
}

CUresult cuStreamBeginCapture_v2(CUstream stream, CUstreamCaptureMode mode) {
  LedgerDriver& meter = LedgerDriver::get();
  meter.note_capture();
  return meter.real().cuStreamBeginCapture_v2(stream, mode);
}

CUresult cuStreamBeginCaptureToGraph(CUstream stream, CUgraph graph, const CUgraphNode* after,
                                     const CUgraphEdgeData* edges, std::size_t count,
                                     CUstreamCaptureMode mode) {
  LedgerDriver& meter = LedgerDriver::get();
  meter.note_capture();
  return meter.real().cuStreamBeginCaptureToGraph(stream, graph, after, edges, count, mode);
}

CUresult cuGraphInstantiateWithFlags(CUgraphExec* exec, CUgraph graph, unsigned long long flags) {
  LedgerDriver& meter = LedgerDriver::get();
  GraphBytes need;
  if (CUresult no = meter.graph_need(graph, &need); no != CUDA_SUCCESS) return no;
  CUresult done = meter.real().cuGraphInstantiateWithFlags(exec, graph, flags);
  if (done == CUDA_SUCCESS) meter.keep_graph(*exec, std::move(need));
  return done;
}

// With CUDA_GRAPH_INSTANTIATE_FLAG_UPLOAD the driver allocates at once.
CUresult cuGraphInstantiateWithParams(CUgraphExec* exec, CUgraph graph,
                                      CUDA_GRAPH_INSTANTIATE_PARAMS* params) {
  LedgerDriver& meter = LedgerDriver::get();
  GraphBytes need;
  if (CUresult no = meter.graph_need(graph, &need); no != CUDA_SUCCESS) return no;
  CUresult done = meter.real().cuGraphInstantiateWithParams(exec, graph, params);
  if (done != CUDA_SUCCESS) return done;
  meter.keep_graph(*exec, std::move(need));
  const bool uploads = (params->flags & CUDA_GRAPH_INSTANTIATE_FLAG_UPLOAD) != 0;
  if (!uploads || meter.charge_graph(*exec, params->hUploadStream)) return done;
  meter.forget_graph(*exec);
  if (meter.real().cuGraphExecDestroy != nullptr) (void)meter.real().cuGraphExecDestroy(*exec);
  return CUDA_ERROR_OUT_OF_MEMORY;
}

CUresult cuGraphUpload(CUgraphExec exec, CUstream stream) {
  LedgerDriver& meter = LedgerDriver::get();
  if (!meter.charge_graph(exec, stream)) return CUDA_ERROR_OUT_OF_MEMORY;
  return meter.real().cuGraphUpload(exec, stream);
}

CUresult cuGraphLaunch(CUgraphExec exec, CUstream stream) {
  LedgerDriver& meter = LedgerDriver::get();
  if (!meter.charge_graph(exec, stream)) return CUDA_ERROR_OUT_OF_MEMORY;
  return meter.real().cuGraphLaunch(exec, stream);
}

CUresult cuGraphExecDestroy(CUgraphExec exec) {
  LedgerDriver& meter = LedgerDriver::get();
  CUresult done = meter.real().cuGraphExecDestroy(exec);
  if (done == CUDA_SUCCESS) meter.forget_graph(exec);
  return done;
}

CUresult cuDeviceGraphMemTrim(CUdevice device) {
  LedgerDriver& meter = LedgerDriver::get();
  CUresult done = meter.real().cuDeviceGraphMemTrim(device);
  if (done == CUDA_SUCCESS) meter.settle_graphs();
  return done;
}

}  // namespace metered
}  // namespace farcall::server
