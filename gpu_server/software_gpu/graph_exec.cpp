// GraphExec: a graph that was instantiated.
#include <algorithm>
#include <functional>

#include "gpu_server/software_gpu/driver.h"
#include "gpu_server/software_gpu/exec/graph_condition.h"
#include "gpu_server/software_gpu/graph.h"
#include "gpu_server/software_gpu/graph_params.h"

namespace farcall::softgpu {
namespace {

using Run = std::function<void()>;

Run run_of(const GraphExec& exec, const Context& context);

Run conditional_run(const GraphExec::Step& step, const Context& context) {
  const CUDA_CONDITIONAL_NODE_PARAMS& wanted = step.work.params->told.conditional;
  std::vector<Run> bodies;
  for (const auto& body : step.inner) bodies.push_back(run_of(*body, context));
  const std::uint64_t handle = wanted.handle;
  const auto type = wanted.type;
  return [handle, type, bodies = std::move(bodies), &context] {
    std::uint32_t value = graph_condition(handle);
    if (type == CU_GRAPH_COND_TYPE_SWITCH) {
      if (value < bodies.size()) bodies[value]();
    } else if (type == CU_GRAPH_COND_TYPE_WHILE) {
      for (; value != 0 && context.status() == CUDA_SUCCESS; value = graph_condition(handle)) {
        bodies[0]();
      }
    } else if (value != 0) {
      bodies[0]();
    } else if (bodies.size() > 1) {
      bodies[1]();
    }
  };
}

Run run_of(const GraphExec& exec, const Context& context) {
  std::vector<Run> enabled;
  for (const GraphExec::Step& step : exec.steps) {
    if (!step.enabled) continue;
    if (step.type == CU_GRAPH_NODE_TYPE_CONDITIONAL) {
      enabled.push_back(conditional_run(step, context));
    } else if (!step.inner.empty()) {
      enabled.push_back(run_of(*step.inner[0], context));
    } else if (step.work.run) {
      enabled.push_back(step.work.run);
    }
  }
  return [enabled = std::move(enabled), &context] {
    for (const Run& run : enabled) {
      if (context.status() != CUDA_SUCCESS) return;
      run();
    }
  };
}

void collect_conditions(const GraphExec& exec, std::vector<Graph::Condition>* all) {
  all->insert(all->end(), exec.conditions.begin(), exec.conditions.end());
  for (const GraphExec::Step& step : exec.steps) {
    for (const auto& inner : step.inner) collect_conditions(*inner, all);
  }
}

using References = std::vector<std::shared_ptr<UserReferences>>;

void collect_references(const GraphExec& exec, References* all) {
  all->push_back(exec.references);
  for (const GraphExec::Step& step : exec.steps) {
    for (const auto& inner : step.inner) collect_references(*inner, all);
  }
}

void collect_memory(const GraphExec& exec, std::vector<const NodeParams*>* all) {
  for (const GraphExec::Step& step : exec.steps) {
    const bool is_memory =
        step.type == CU_GRAPH_NODE_TYPE_MEM_ALLOC || step.type == CU_GRAPH_NODE_TYPE_MEM_FREE;
    if (is_memory && step.work.params) all->push_back(step.work.params.get());
    for (const auto& inner : step.inner) collect_memory(*inner, all);
  }
}

}  // namespace

CUresult GraphExec::put(Step& step, Work work) {
  std::vector<std::shared_ptr<GraphExec>> inner;
  if (work.params && work.params->inner) {
    for (const auto& graph : work.params->inner->graphs) {
      std::shared_ptr<GraphExec> made;
      if (CUresult failed = make(*graph, &made)) return failed;
      inner.push_back(std::move(made));
    }
  }
  step.work = std::move(work);
  step.inner = std::move(inner);
  return CUDA_SUCCESS;
}

CUresult GraphExec::make(const Graph& graph, std::shared_ptr<GraphExec>* exec) {
  const std::vector<GraphNode*> order = graph.in_order();
  if (order.empty() && !graph.nodes.empty()) return CUDA_ERROR_INVALID_VALUE;
  auto made = std::make_shared<GraphExec>();
  for (GraphNode* node : order) {
    made->step_of[node] = made->steps.size();
    Step step;
    step.node = node;
    step.type = node->type;
    if (CUresult failed = put(step, node->work)) return failed;
    if (step.work.params && step.work.params->instances) {
      made->memory_nodes.push_back(step.work.params->instances);
    }
    for (const GraphNode* earlier : node->after) step.after.push_back(made->step_of[earlier]);
    made->steps.push_back(std::move(step));
  }
  made->conditions = graph.conditions;
  made->references = std::make_shared<UserReferences>(*graph.references);
  *exec = std::move(made);
  return CUDA_SUCCESS;
}

Work GraphExec::work(const Context& context, GraphMemory::Pointers held) const {
  std::vector<Graph::Condition> all;
  collect_conditions(*this, &all);
  References objects;
  collect_references(*this, &objects);
  return {[run = run_of(*this, context), all = std::move(all), held = std::move(held),
           objects = std::move(objects)] {
    for (const Graph::Condition& each : all) {
      if (each.is_assigned) set_graph_condition(each.handle, each.value);
    }
    run();
  }};
}

CUresult GraphExec::begin_memory(GraphMemory::Pointers* held) const {
  const bool auto_free = (flags & CUDA_GRAPH_INSTANTIATE_FLAG_AUTO_FREE_ON_LAUNCH) != 0;
  std::vector<const NodeParams*> all;
  collect_memory(*this, &all);
  for (const NodeParams* params : all) {
    if (params->memory) held->push_back(params->memory);
  }
  if (!GraphMemory::begin(*held, auto_free)) return CUDA_ERROR_INVALID_VALUE;
  for (const NodeParams* params : all) {
    if (params->memory) continue;
    if (auto ended = GraphMemory::end(params->told.free.dptr)) held->push_back(std::move(ended));
  }
  return CUDA_SUCCESS;
}

CUresult GraphExec::update(const Graph& graph, CUgraphExecUpdateResultInfo* info) {
  *info = {};
  const auto differs = [&](CUgraphExecUpdateResult how, GraphNode* node) {
    info->result = how;
    info->errorNode = node == nullptr ? nullptr : node->handle();
    return CUDA_ERROR_GRAPH_EXEC_UPDATE_FAILURE;
  };
  const std::vector<GraphNode*> order = graph.in_order();
  if (order.size() != steps.size()) {
    return differs(CU_GRAPH_EXEC_UPDATE_ERROR_TOPOLOGY_CHANGED, nullptr);
  }
  std::map<const GraphNode*, std::size_t> place;
  for (std::size_t i = 0; i < order.size(); ++i) {
    place[order[i]] = i;
    if (order[i]->type != steps[i].type) {
      return differs(CU_GRAPH_EXEC_UPDATE_ERROR_NODE_TYPE_CHANGED, order[i]);
    }
    std::vector<std::size_t> after;
    for (const GraphNode* earlier : order[i]->after) after.push_back(place[earlier]);
    std::sort(after.begin(), after.end());
    std::vector<std::size_t> known = steps[i].after;
    std::sort(known.begin(), known.end());
    if (after != known) return differs(CU_GRAPH_EXEC_UPDATE_ERROR_TOPOLOGY_CHANGED, order[i]);
  }
  for (std::size_t i = 0; i < order.size(); ++i) {
    if (steps[i].type == CU_GRAPH_NODE_TYPE_MEM_ALLOC ||
        steps[i].type == CU_GRAPH_NODE_TYPE_MEM_FREE) {
      continue;  // its address is the one it was instantiated with
    }
    if (CUresult failed = put(steps[i], order[i]->work)) return failed;
  }
  return CUDA_SUCCESS;
}

}  // namespace farcall::softgpu
