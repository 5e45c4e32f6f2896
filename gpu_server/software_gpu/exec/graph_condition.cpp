#include "gpu_server/software_gpu/exec/graph_condition.h"

#include <unordered_map>

#include "transport/base/guarded.h"

namespace farcall::softgpu {
namespace {

// Leaked: kernels may still run when static objects go.
Guarded<std::unordered_map<std::uint64_t, std::uint32_t>>& values() {
  static auto* const all = new Guarded<std::unordered_map<std::uint64_t, std::uint32_t>>;
  return *all;
}

}  // namespace

std::uint64_t new_graph_condition() {
  auto all = values().lock();
  const std::uint64_t handle = all->size() + 1;
  all->emplace(handle, 0);
  return handle;
}

void set_graph_condition(std::uint64_t handle, std::uint32_t value) {
  auto all = values().lock();
  if (auto at = all->find(handle); at != all->end()) at->second = value;
}

std::uint32_t graph_condition(std::uint64_t handle) {
  auto all = values().lock();
  auto at = all->find(handle);
  return at == all->end() ? 0 : at->second;
}

bool is_graph_condition(std::uint64_t handle) { return values().lock()->contains(handle); }

}  // namespace farcall::softgpu
