// Conditional nodes, which kernels decide: a loop that counts down, a branch with two sides, a
// choice among three; and memory that graphs allocate, counted and trimmed.
#include "tests/e2e/programs/expect.h"

__global__ void count_down(cudaGraphConditionalHandle handle, int* left, int* rounds) {
  ++*rounds;
  cudaGraphSetConditional(handle, --*left > 0);
}
__global__ void choose(cudaGraphConditionalHandle handle, const int* value) {
  cudaGraphSetConditional(handle, *value);
}
__global__ void put(int* to, int value) { *to = value; }

cudaGraphNode_t add_kernel(cudaGraph_t graph, cudaGraphNode_t after, void* function,
                           void** arguments) {
  cudaKernelNodeParams params{};
  params.func = function;
  params.gridDim = params.blockDim = dim3(1);
  params.kernelParams = arguments;
  cudaGraphNode_t node;
  CUDA_OK(cudaGraphAddKernelNode(&node, graph, &after, after == nullptr ? 0 : 1, &params));
  return node;
}

cudaGraphNode_t add_condition(cudaGraph_t graph, cudaGraphNode_t after,
                              cudaGraphConditionalHandle handle, cudaGraphConditionalNodeType type,
                              unsigned size, std::vector<cudaGraph_t>* bodies) {
  cudaGraphNodeParams params{};
  params.type = cudaGraphNodeTypeConditional;
  params.conditional.handle = handle;
  params.conditional.type = type;
  params.conditional.size = size;
  cudaGraphNode_t node;
  CUDA_OK(cudaGraphAddNode(&node, graph, &after, nullptr, after == nullptr ? 0 : 1, &params));
  bodies->assign(params.conditional.phGraph_out, params.conditional.phGraph_out + size);
  return node;
}

int value_of(const int* device) {
  int value;
  CUDA_OK(cudaMemcpy(&value, device, 4, cudaMemcpyDeviceToHost));
  return value;
}
void set(int* device, int value) { CUDA_OK(cudaMemcpy(device, &value, 4, cudaMemcpyHostToDevice)); }

// The choice that `value` leads to.
int chosen(cudaGraphConditionalNodeType type, unsigned size, int* value, int* result) {
  cudaGraph_t graph;
  CUDA_OK(cudaGraphCreate(&graph, 0));
  cudaGraphConditionalHandle handle;
  CUDA_OK(cudaGraphConditionalHandleCreate(&handle, graph, 0, 0));
  void* choose_arguments[] = {&handle, &value};
  auto first = add_kernel(graph, nullptr, (void*)choose, choose_arguments);
  std::vector<cudaGraph_t> bodies;
  add_condition(graph, first, handle, type, size, &bodies);
  for (unsigned i = 0; i < size; ++i) {
    int mark = 100 + static_cast<int>(i);
    void* arguments[] = {&result, &mark};
    add_kernel(bodies[i], nullptr, (void*)put, arguments);
  }
  cudaGraphExec_t exec;
  CUDA_OK(cudaGraphInstantiate(&exec, graph, 0));
  set(result, -1);
  CUDA_OK(cudaGraphLaunch(exec, nullptr));
  CUDA_OK(cudaDeviceSynchronize());
  CUDA_OK(cudaGraphExecDestroy(exec));
  CUDA_OK(cudaGraphDestroy(graph));
  return value_of(result);
}

// A graph that allocates, writes and frees, launched twice.
void own_memory(int* result) {
  cudaGraph_t graph;
  CUDA_OK(cudaGraphCreate(&graph, 0));
  cudaMemAllocNodeParams wanted{};
  wanted.poolProps.allocType = cudaMemAllocationTypePinned;
  wanted.poolProps.location = {cudaMemLocationTypeDevice, 0};
  wanted.bytesize = 1 << 20;
  cudaGraphNode_t made, written, copied, freed;
  CUDA_OK(cudaGraphAddMemAllocNode(&made, graph, nullptr, 0, &wanted));
  int value = 42;
  void* arguments[] = {&wanted.dptr, &value};
  written = add_kernel(graph, made, (void*)put, arguments);
  CUDA_OK(cudaGraphAddMemcpyNode1D(&copied, graph, &written, 1, result, wanted.dptr, 4,
                                   cudaMemcpyDeviceToDevice));
  CUDA_OK(cudaGraphAddMemFreeNode(&freed, graph, &copied, 1, wanted.dptr));
  cudaGraphExec_t exec;
  CUDA_OK(cudaGraphInstantiate(&exec, graph, 0));
  for (int i = 0; i < 2; ++i) {
    set(result, 0);
    CUDA_OK(cudaGraphLaunch(exec, nullptr));
    CUDA_OK(cudaDeviceSynchronize());
    EXPECT(value_of(result) == 42);
  }
  unsigned long long used = 1, high = 0;
  CUDA_OK(cudaDeviceGetGraphMemAttribute(0, cudaGraphMemAttrUsedMemCurrent, &used));
  CUDA_OK(cudaDeviceGetGraphMemAttribute(0, cudaGraphMemAttrUsedMemHigh, &high));
  EXPECT(used >= 1 << 20 && high >= used);
  CUDA_OK(cudaGraphExecDestroy(exec));
  CUDA_OK(cudaGraphDestroy(graph));
  CUDA_OK(cudaDeviceGraphMemTrim(0));
  CUDA_OK(cudaDeviceGetGraphMemAttribute(0, cudaGraphMemAttrReservedMemCurrent, &used));
  EXPECT(used == 0);
}

int main() {
  int *left, *rounds;
  CUDA_OK(cudaMalloc(&left, 4));
  CUDA_OK(cudaMalloc(&rounds, 4));
  cudaGraph_t graph;
  CUDA_OK(cudaGraphCreate(&graph, 0));
  cudaGraphConditionalHandle handle;
  CUDA_OK(cudaGraphConditionalHandleCreate(&handle, graph, 1, cudaGraphCondAssignDefault));
  std::vector<cudaGraph_t> bodies;
  add_condition(graph, nullptr, handle, cudaGraphCondTypeWhile, 1, &bodies);
  void* arguments[] = {&handle, &left, &rounds};
  add_kernel(bodies[0], nullptr, (void*)count_down, arguments);
  cudaGraphExec_t exec;
  CUDA_OK(cudaGraphInstantiate(&exec, graph, 0));
  for (int n : {5, 9}) {
    set(left, n);
    set(rounds, 0);
    CUDA_OK(cudaGraphLaunch(exec, nullptr));
    CUDA_OK(cudaDeviceSynchronize());
    EXPECT(value_of(rounds) == n);
  }
  CUDA_OK(cudaGraphExecDestroy(exec));
  CUDA_OK(cudaGraphDestroy(graph));

  int answers[5], at = 0;
  for (int value : {0, 1}) {
    set(left, value);
    answers[at++] = chosen(cudaGraphCondTypeIf, 2, left, rounds);
  }
  for (int value : {0, 2, 7}) {
    set(left, value);
    answers[at++] = chosen(cudaGraphCondTypeSwitch, 3, left, rounds);
  }
  EXPECT(answers[0] == 101 && answers[1] == 100);
  EXPECT(answers[2] == 100 && answers[3] == 102 && answers[4] == -1);
  own_memory(rounds);
  std::printf("conditions: if %d %d, switch %d %d %d\n", answers[0], answers[1], answers[2],
              answers[3], answers[4]);
  return 0;
}
