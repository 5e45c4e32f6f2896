#include "gpu_server/software_gpu/graph_params.h"

#include "gpu_server/software_gpu/driver.h"

namespace farcall::softgpu {

InnerGraphs::InnerGraphs(std::vector<std::shared_ptr<Graph>> inner) : graphs(std::move(inner)) {
  for (const auto& graph : graphs) handles.push_back(driver().graphs.add<CUgraph>(graph));
}

InnerGraphs::~InnerGraphs() {
  if (!owns_handles) return;
  for (CUgraph handle : handles) driver().graphs.remove(handle);
}

}  // namespace farcall::softgpu
