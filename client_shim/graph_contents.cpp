// GraphCopies: which copies and host functions are in which graph, and in what order.
#include <algorithm>
#include <set>

#include "client_shim/client.h"
#include "client_shim/entry.h"
#include "client_shim/graph_copies.h"
#include "client_shim/graph_lists.h"
#include "transport/api/client_call.h"
#include "transport/api/rows.h"
#include "transport/base/limits.h"
#include "transport/base/program_limits.h"

namespace farcall::shim {

namespace row = api::row;

GraphCopies::Item* GraphCopies::find_in(Items& items, CUgraphNode node) {
  if (node == nullptr) return nullptr;
  for (Item& item : items) {
    if (item.node == node) return &item;
    if (Item* inner = find_in(item.child, node)) return inner;
  }
  return nullptr;
}

GraphCopies::Item& GraphCopies::item_of(Items& items, CUgraphNode node) {
  if (Item* known = find_in(items, node)) return *known;
  items.push_back({});
  items.back().node = node;
  return items.back();
}

GraphCopies::Item* GraphCopies::find_item(State& state, CUgraphNode node) {
  for (auto& [graph, items] : state.graphs) {
    if (Item* item = find_in(items, node)) return item;
  }
  return nullptr;
}

// What is in a copy of a graph, under the names of the copy's own nodes; the server is asked for
// each.  copy: null when it is not known; then its nodes have no names.
GraphCopies::Items GraphCopies::renamed(const Items& items, CUgraph copy) {
  Items made = items;
  for (Item& item : made) {
    const CUgraphNode original = item.node;
    item.node = nullptr;
    CUgraphNode own = nullptr;
    if (copy != nullptr && original != nullptr &&
        api::call<row::cuGraphNodeFindInClone>(&own, original, copy) == CUDA_SUCCESS) {
      item.node = own;
    }
    if (item.child.empty()) continue;
    CUgraph inner = nullptr;
    if (own != nullptr) (void)api::call<row::cuGraphChildGraphNodeGetGraph>(own, &inner);
    item.child = renamed(item.child, inner);
  }
  return made;
}

void GraphCopies::added(CUgraph graph, CUgraphNode node, Regions regions) {
  auto state = state_.lock();
  item_of(state->graphs[graph], node).regions = std::move(regions);
}

void GraphCopies::added(CUgraph graph, CUgraphNode node, std::uint64_t function) {
  auto state = state_.lock();
  item_of(state->graphs[graph], node).function = function;
}

void GraphCopies::added_child(CUgraph graph, CUgraphNode node, CUgraph child) {
  Items items = items_of(child);
  if (items.empty()) return;
  CUgraph inner = nullptr;
  if (any_.load(std::memory_order_acquire)) {
    (void)api::call<row::cuGraphChildGraphNodeGetGraph>(node, &inner);
  }
  items = renamed(items, inner);
  auto state = state_.lock();
  item_of(state->graphs[graph], node).child.swap(items);
}

void GraphCopies::added_bodies(CUgraph graph, CUgraphNode node, std::vector<CUgraph> bodies) {
  auto state = state_.lock();
  item_of(state->graphs[graph], node).bodies = std::move(bodies);
}

void GraphCopies::changed(CUgraphNode node, Regions regions) {
  auto state = state_.lock();
  if (Item* item = find_item(*state, node)) item->regions.swap(regions);
}

void GraphCopies::changed(CUgraphNode node, std::uint64_t function) {
  auto state = state_.lock();
  if (Item* item = find_item(*state, node)) item->function = function;
}

void GraphCopies::removed(CUgraphNode node) {
  Items gone;  // mirrors go after the lock
  auto state = state_.lock();
  for (auto& [graph, items] : state->graphs) {
    if (remove_from(items, node, &gone)) return;
  }
}

bool GraphCopies::remove_from(Items& items, CUgraphNode node, Items* gone) {
  for (auto at = items.begin(); at != items.end(); ++at) {
    if (node != nullptr && at->node == node) {
      gone->push_back(std::move(*at));
      items.erase(at);
      return true;
    }
    if (remove_from(at->child, node, gone)) return true;
  }
  return false;
}

GraphCopies::Items GraphCopies::items_of(CUgraph graph) {
  auto state = state_.lock();
  auto at = state->graphs.find(graph);
  return at == state->graphs.end() ? Items() : at->second;
}

void GraphCopies::cloned(CUgraph from, CUgraph to) {
  Items items = items_of(from);
  if (items.empty()) return;
  const bool is_asked = any_.load(std::memory_order_acquire);
  items = renamed(items, is_asked ? to : nullptr);
  state_.lock()->graphs[to].swap(items);
}

void GraphCopies::destroyed(CUgraph graph) {
  std::vector<Items> gone;
  std::vector<CUgraph> next{graph};
  auto state = state_.lock();
  while (!next.empty()) {
    auto at = state->graphs.find(next.back());
    next.pop_back();
    if (at == state->graphs.end()) continue;
    for (const Item& item : at->second) {
      next.insert(next.end(), item.bodies.begin(), item.bodies.end());
    }
    gone.push_back(std::move(at->second));
    state->graphs.erase(at);
  }
}

CUgraph GraphCopies::graph_of(CUgraphNode node) {
  auto state = state_.lock();
  for (auto& [graph, items] : state->graphs) {
    if (find_in(items, node) != nullptr) return graph;
  }
  return nullptr;
}

// --- what was instantiated

void GraphCopies::gather(State& state, const Items& items, Regions* all,
                         std::vector<std::uint64_t>* functions) {
  for (const Item& item : items) {
    all->insert(all->end(), item.regions.begin(), item.regions.end());
    if (item.function != 0) functions->push_back(item.function);
    gather(state, item.child, all, functions);
    for (CUgraph body : item.bodies) {
      auto at = state.graphs.find(body);
      if (at != state.graphs.end()) gather(state, at->second, all, functions);
    }
  }
}

// Edges of a graph; none when they cannot be had.
GraphCopies::Order GraphCopies::order_of(CUgraph graph) {
  GraphList edges;
  Order order;
  const GraphListOf what{api::hand::kEdges, reinterpret_cast<std::uint64_t>(graph)};
  if (read_graph_list(client_, what, limits::kGraphListItemsMax, &edges) != CUDA_SUCCESS) {
    return order;
  }
  for (std::size_t i = 0; i < edges.first.size(); ++i) {
    order.emplace_back(edges.first[i], edges.second[i]);
  }
  return order;
}

namespace {

using Edges = std::map<CUgraphNode, std::vector<CUgraphNode>>;

// Everything that is reached from `node`, itself included.
std::set<CUgraphNode> reached(const Edges& edges, CUgraphNode node) {
  std::set<CUgraphNode> found;
  std::vector<CUgraphNode> next{node};
  while (!next.empty()) {
    const CUgraphNode at = next.back();
    next.pop_back();
    if (!found.insert(at).second) continue;
    auto onwards = edges.find(at);
    if (onwards == edges.end()) continue;
    next.insert(next.end(), onwards->second.begin(), onwards->second.end());
  }
  return found;
}

// What a node copied is replaced by what it copies now, where it was in a list.
void exchange(GraphCopies::Regions& list, const GraphCopies::Regions& old,
              const GraphCopies::Regions& now, bool sources) {
  const std::size_t erased = std::erase_if(list, [&](const GraphCopies::Region& each) {
    return std::any_of(old.begin(), old.end(), [&](const GraphCopies::Region& was) {
      return was.mirror == each.mirror && was.is_source == each.is_source;
    });
  });
  if (erased == 0) return;
  for (const GraphCopies::Region& region : now) {
    if (region.is_source == sources) list.push_back(region);
  }
}

}  // namespace

void GraphCopies::replan(State& state, Plan& plan, const Order* order) {
  Regions all;
  std::vector<std::uint64_t> names;
  gather(state, plan.items, &all, &names);
  plan.sources.clear();
  plan.targets.clear();
  for (const Region& region : all) {
    (region.is_source ? plan.sources : plan.targets).push_back(region);
  }
  if (all.empty() || order == nullptr) return;
  plan.functions.clear();
  Edges onwards, back;
  for (const auto& [from, to] : *order) {
    onwards[from].push_back(to);
    back[to].push_back(from);
  }
  for (const Item& mine : plan.items) {
    Regions inner;
    std::vector<std::uint64_t> functions;
    gather(state, {mine}, &inner, &functions);
    if (functions.empty()) continue;
    const auto earlier = reached(back, mine.node);
    const auto later = reached(onwards, mine.node);
    for (std::uint64_t function : functions) {
      Around& around = plan.functions[function];
      for (const Item& other : plan.items) {
        Regions regions;
        std::vector<std::uint64_t> unused;
        gather(state, {other}, &regions, &unused);
        const bool knows = mine.node != nullptr && other.node != nullptr && &mine != &other;
        const bool is_before = !knows || earlier.contains(other.node);
        const bool is_after = !knows || later.contains(other.node);
        for (const Region& region : regions) {
          if (is_before && !region.is_source) around.before.push_back(region);
          if (is_after && region.is_source) around.after.push_back(region);
        }
      }
    }
  }
}

void GraphCopies::instantiated(CUgraph graph, CUgraphExec exec) {
  if (!any_.load(std::memory_order_acquire)) return;
  bool has_functions = false;
  auto plan = std::make_shared<Plan>();
  {
    auto state = state_.lock();
    auto at = state->graphs.find(graph);
    if (at == state->graphs.end()) return;
    plan->items = at->second;
    Regions all;
    std::vector<std::uint64_t> functions;
    gather(*state, plan->items, &all, &functions);
    if (all.empty()) return;
    has_functions = !functions.empty();
  }
  const Order order = has_functions ? order_of(graph) : Order{};
  auto state = state_.lock();
  replan(*state, *plan, &order);
  state->plans[exec].swap(plan);
}

void GraphCopies::changed(CUgraphExec exec, CUgraphNode node, Regions regions) {
  auto plan = std::make_shared<Plan>();  // mirrors go after the lock
  auto state = state_.lock();
  auto at = state->plans.find(exec);
  if (at == state->plans.end()) {
    if (regions.empty()) return;
    at = state->plans.emplace(exec, std::make_shared<Plan>()).first;
  }
  // Launches under way keep the plan they began with.
  *plan = *at->second;
  Item& item = item_of(plan->items, node);
  for (auto& [function, around] : plan->functions) {
    exchange(around.before, item.regions, regions, false);
    exchange(around.after, item.regions, regions, true);
  }
  item.regions.swap(regions);
  replan(*state, *plan, nullptr);
  at->second.swap(plan);
}

void GraphCopies::changed(CUgraphExec exec, CUgraphNode node, std::uint64_t function) {
  auto plan = std::make_shared<Plan>();  // mirrors go after the lock
  auto state = state_.lock();
  auto at = state->plans.find(exec);
  if (at == state->plans.end()) return;
  *plan = *at->second;
  Item& item = item_of(plan->items, node);
  auto known = plan->functions.extract(item.function);
  item.function = function;
  if (!known.empty()) {
    known.key() = function;
    plan->functions.insert(std::move(known));
  }
  at->second.swap(plan);
}

void GraphCopies::changed(CUgraphExec exec, CUgraphNode node, CUgraph child) {
  auto plan = std::make_shared<Plan>();  // mirrors go after the lock
  auto state = state_.lock();
  auto at = state->plans.find(exec);
  auto from = state->graphs.find(child);
  if (at == state->plans.end() || from == state->graphs.end()) return;
  *plan = *at->second;
  item_of(plan->items, node).child = from->second;
  replan(*state, *plan, nullptr);
  at->second.swap(plan);
}

void GraphCopies::destroyed(CUgraphExec exec) {
  std::shared_ptr<Plan> gone;
  auto state = state_.lock();
  auto at = state->plans.find(exec);
  if (at == state->plans.end()) return;
  gone = std::move(at->second);
  state->plans.erase(at);
}

}  // namespace farcall::shim
