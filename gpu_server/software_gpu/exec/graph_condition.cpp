#include "gpu_server/software_gpu/exec/graph_condition.h"

#include <unordered_map>

#include "transport/base/guarded.h"

namespace farcall::softgpu {
namespace {

struct Book {
  std::unordered_map<std::uint64_t, std::uint32_t> values;
  std::uint64_t last = 0;
};

// Leaked: kernels may still run when static objects go.
Guarded<Book>& book() {
  static auto* const all = new Guarded<Book>;
  return *all;
}

}  // namespace

std::uint64_t new_graph_condition() {
  auto all = book().lock();
  all->values.emplace(++all->last, 0);
  return all->last;
}

void end_graph_condition(std::uint64_t handle) { book().lock()->values.erase(handle); }

void set_graph_condition(std::uint64_t handle, std::uint32_t value) {
  auto all = book().lock();
  if (auto at = all->values.find(handle); at != all->values.end()) at->second = value;
}

std::uint32_t graph_condition(std::uint64_t handle) {
  auto all = book().lock();
  auto at = all->values.find(handle);
  return at == all->values.end() ? 0 : at->second;
}

bool is_graph_condition(std::uint64_t handle) { return book().lock()->values.contains(handle); }

}  // namespace farcall::softgpu
