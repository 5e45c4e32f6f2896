// A graph made node by node: kernels, copies from and to host memory that changes between launches,
// host functions that look at what was copied and prepare what is copied next, a child graph, and
// what can be asked of nodes and changed in an instantiated graph.
#include <cstring>
#include <vector>

#include "tests/e2e/programs/expect.h"

constexpr int kCount = 1024;

__global__ void scale(int* data, int factor) {
  data[threadIdx.x + blockIdx.x * blockDim.x] *= factor;
}

__global__ void sum(const int* data, int* total) {
  atomicAdd(total, data[threadIdx.x + blockIdx.x * blockDim.x]);
}

struct Host {
  std::vector<int> in = std::vector<int>(kCount);
  int total = -1;         // written by the graph
  std::vector<int> seen;  // totals, as the host function found them
  int* next = nullptr;    // what the first host function fills
  int round = 0;
};

// Before the copy to the device: fills what it copies.
void CUDART_CB prepare(void* data) {
  auto& host = *static_cast<Host*>(data);
  ++host.round;
  for (int i = 0; i < kCount; ++i) host.next[i] = host.round;
}

// Behind the copy to the host: keeps what it brought.
void CUDART_CB keep(void* data) {
  auto& host = *static_cast<Host*>(data);
  host.seen.push_back(host.total);
}

cudaGraphNode_t add_copy(cudaGraph_t graph, std::vector<cudaGraphNode_t> after, void* to,
                         const void* from, size_t bytes, cudaMemcpyKind kind) {
  cudaGraphNode_t node;
  CUDA_OK(
      cudaGraphAddMemcpyNode1D(&node, graph, after.data(), after.size(), to, from, bytes, kind));
  return node;
}

cudaGraphNode_t add_kernel(cudaGraph_t graph, std::vector<cudaGraphNode_t> after, void* function,
                           void** arguments, cudaKernelNodeParams* params) {
  *params = {};
  params->func = function;
  params->gridDim = dim3(kCount / 256);
  params->blockDim = dim3(256);
  params->kernelParams = arguments;
  cudaGraphNode_t node;
  CUDA_OK(cudaGraphAddKernelNode(&node, graph, after.data(), after.size(), params));
  return node;
}

cudaGraphNode_t add_host(cudaGraph_t graph, std::vector<cudaGraphNode_t> after, cudaHostFn_t f,
                         Host* host) {
  cudaHostNodeParams params{f, host};
  cudaGraphNode_t node;
  CUDA_OK(cudaGraphAddHostNode(&node, graph, after.data(), after.size(), &params));
  return node;
}

// What a launch allocates and no node frees, cudaFree does; then the graph may run again.
void free_what_a_graph_allocated(cudaStream_t stream) {
  cudaGraph_t graph;
  CUDA_OK(cudaGraphCreate(&graph, 0));
  cudaMemAllocNodeParams memory{};
  memory.poolProps.allocType = cudaMemAllocationTypePinned;
  memory.poolProps.location.type = cudaMemLocationTypeDevice;
  memory.bytesize = kCount * 4;
  cudaGraphNode_t node;
  CUDA_OK(cudaGraphAddMemAllocNode(&node, graph, nullptr, 0, &memory));
  cudaGraphExec_t exec;
  CUDA_OK(cudaGraphInstantiate(&exec, graph, 0));
  for (int round = 0; round < 2; ++round) {
    CUDA_OK(cudaGraphLaunch(exec, stream));
    CUDA_OK(cudaMemsetAsync(memory.dptr, round, kCount * 4, stream));
    CUDA_OK(cudaStreamSynchronize(stream));
    CUDA_OK(cudaFree(memory.dptr));
  }
  CUDA_OK(cudaGraphExecDestroy(exec));
  CUDA_OK(cudaGraphDestroy(graph));
}

int main() {
  Host host;
  int *data, *total;
  CUDA_OK(cudaMalloc(&data, kCount * 4));
  CUDA_OK(cudaMalloc(&total, 4));
  cudaStream_t stream;
  CUDA_OK(cudaStreamCreate(&stream));

  // Copy in, scale, sum, copy out, look.
  cudaGraph_t graph;
  CUDA_OK(cudaGraphCreate(&graph, 0));
  auto in = add_copy(graph, {}, data, host.in.data(), kCount * 4, cudaMemcpyHostToDevice);
  cudaMemsetParams zero{total, 0, 0, 4, 1, 1};
  cudaGraphNode_t clear;
  CUDA_OK(cudaGraphAddMemsetNode(&clear, graph, nullptr, 0, &zero));
  int factor = 2;
  void* scale_arguments[] = {&data, &factor};
  cudaKernelNodeParams scale_params, sum_params, told;
  auto scaled = add_kernel(graph, {in}, (void*)scale, scale_arguments, &scale_params);
  void* sum_arguments[] = {&data, &total};
  auto summed = add_kernel(graph, {scaled, clear}, (void*)sum, sum_arguments, &sum_params);
  auto out = add_copy(graph, {summed}, &host.total, total, 4, cudaMemcpyDeviceToHost);
  auto looked = add_host(graph, {out}, keep, &host);

  size_t nodes = 0, edges = 0;
  CUDA_OK(cudaGraphGetNodes(graph, nullptr, &nodes));
#if CUDART_VERSION >= 13000
  CUDA_OK(cudaGraphGetEdges(graph, nullptr, nullptr, nullptr, &edges));
#else
  CUDA_OK(cudaGraphGetEdges(graph, nullptr, nullptr, &edges));
#endif
  EXPECT(nodes == 6 && edges == 5);
  CUDA_OK(cudaGraphKernelNodeGetParams(scaled, &told));
  EXPECT(told.func == (void*)scale && told.blockDim.x == 256);
  EXPECT(*static_cast<int*>(told.kernelParams[1]) == 2);
  cudaMemcpy3DParms copied;
  CUDA_OK(cudaGraphMemcpyNodeGetParams(in, &copied));
  EXPECT(copied.srcPtr.ptr == host.in.data() && copied.dstPtr.ptr == data);
  cudaHostNodeParams function;
  CUDA_OK(cudaGraphHostNodeGetParams(looked, &function));
  EXPECT(function.fn == keep && function.userData == &host);

  cudaGraphExec_t exec;
  CUDA_OK(cudaGraphInstantiate(&exec, graph, 0));
  for (int round = 1; round <= 3; ++round) {
    for (int i = 0; i < kCount; ++i) host.in[i] = round;
    host.total = -1;
    CUDA_OK(cudaGraphLaunch(exec, stream));
    CUDA_OK(cudaStreamSynchronize(stream));
    EXPECT(host.total == round * 2 * kCount && host.seen.back() == host.total);
  }
  // The same memory read many times over, without a wait in between.
  for (int i = 0; i < 40; ++i) CUDA_OK(cudaGraphLaunch(exec, stream));
  CUDA_OK(cudaStreamSynchronize(stream));
  EXPECT(host.seen.size() == 43 && host.seen.back() == 6 * kCount);

  // In the instantiated graph: another factor, other memory, no look.
  factor = 5;
  CUDA_OK(cudaGraphExecKernelNodeSetParams(exec, scaled, &scale_params));
  int elsewhere = -1;
  CUDA_OK(
      cudaGraphExecMemcpyNodeSetParams1D(exec, out, &elsewhere, total, 4, cudaMemcpyDeviceToHost));
  host.total = -1;
  CUDA_OK(cudaGraphLaunch(exec, stream));
  CUDA_OK(cudaStreamSynchronize(stream));
  EXPECT(elsewhere == 15 * kCount && host.total == -1);
  CUDA_OK(cudaGraphExecDestroy(exec));

  // A host function that fills what is copied behind it, and the first graph as a child.
  std::vector<int> staged(kCount);
  host.next = staged.data();
  host.seen.clear();
  cudaGraph_t outer;
  CUDA_OK(cudaGraphCreate(&outer, 0));
  auto filled = add_host(outer, {}, prepare, &host);
  auto moved = add_copy(outer, {filled}, data, staged.data(), kCount * 4, cudaMemcpyHostToDevice);
  int once = 1;
  void* same_arguments[] = {&data, &once};
  auto kept = add_kernel(outer, {moved}, (void*)scale, same_arguments, &told);
  CUDA_OK(cudaGraphAddMemsetNode(&clear, outer, &kept, 1, &zero));
  auto added = add_kernel(outer, {clear}, (void*)sum, sum_arguments, &sum_params);
  auto back = add_copy(outer, {added}, &host.total, total, 4, cudaMemcpyDeviceToHost);
  add_host(outer, {back}, keep, &host);
  CUDA_OK(cudaGraphInstantiate(&exec, outer, 0));
  for (int i = 0; i < 3; ++i) CUDA_OK(cudaGraphLaunch(exec, stream));
  CUDA_OK(cudaStreamSynchronize(stream));
  EXPECT(host.seen == std::vector<int>({kCount, 2 * kCount, 3 * kCount}));
  EXPECT(host.total == 3 * kCount);
  CUDA_OK(cudaGraphExecDestroy(exec));

  cudaGraph_t parent;
  CUDA_OK(cudaGraphCreate(&parent, 0));
  cudaGraphNode_t child;
  CUDA_OK(cudaGraphAddChildGraphNode(&child, parent, nullptr, 0, graph));
  CUDA_OK(cudaGraphInstantiate(&exec, parent, 0));
  for (int i = 0; i < kCount; ++i) host.in[i] = 7;
  CUDA_OK(cudaGraphLaunch(exec, stream));
  CUDA_OK(cudaStreamSynchronize(stream));
  EXPECT(host.total == 14 * kCount);
  CUDA_OK(cudaGraphExecDestroy(exec));
  for (cudaGraph_t each : {graph, outer, parent}) CUDA_OK(cudaGraphDestroy(each));
  free_what_a_graph_allocated(stream);
  std::printf("graphs made of nodes: %zu nodes, %zu edges, total %d\n", nodes, edges, host.total);
  return 0;
}
