// Graphs that streams were captured into, as frameworks do it: pinned memory copied both ways at
// each launch, work forked to a second stream, memory that lives inside the graph, an update, a
// picture of the graph, and an object that lives as long as the graph.
#include <unistd.h>

#include <future>
#include <string>

#include "tests/e2e/programs/expect.h"

constexpr int kCount = 4096;

__global__ void add(int* to, const int* from, int more) {
  const int i = threadIdx.x + blockIdx.x * blockDim.x;
  to[i] = from[i] + more;
}

std::promise<void> ended;
void CUDART_CB end_object(void* data) {
  *static_cast<int*>(data) += 1;
  ended.set_value();
}

// in → device → +more on one stream, +2·more on another → out, with memory of the graph's own.
cudaGraph_t capture(cudaStream_t main, cudaStream_t side, int* in, int* out, int more) {
  cudaEvent_t fork, join;
  CUDA_OK(cudaEventCreateWithFlags(&fork, cudaEventDisableTiming));
  CUDA_OK(cudaEventCreateWithFlags(&join, cudaEventDisableTiming));
  CUDA_OK(cudaStreamBeginCapture(main, cudaStreamCaptureModeThreadLocal));
  int *data, *result;
  CUDA_OK(cudaMallocAsync(&data, 2 * kCount * 4, main));
  CUDA_OK(cudaMallocAsync(&result, 2 * kCount * 4, main));
  CUDA_OK(cudaMemcpyAsync(data, in, kCount * 4, cudaMemcpyHostToDevice, main));
  CUDA_OK(cudaEventRecord(fork, main));
  CUDA_OK(cudaStreamWaitEvent(side, fork, 0));
  add<<<kCount / 256, 256, 0, main>>>(result, data, more);
  add<<<kCount / 256, 256, 0, side>>>(result + kCount, data, 2 * more);
  CUDA_OK(cudaEventRecord(join, side));
  CUDA_OK(cudaStreamWaitEvent(main, join, 0));
  CUDA_OK(cudaMemcpyAsync(out, result, 2 * kCount * 4, cudaMemcpyDeviceToHost, main));
  CUDA_OK(cudaFreeAsync(data, main));
  CUDA_OK(cudaFreeAsync(result, main));
  cudaStreamCaptureStatus status;
  CUDA_OK(cudaStreamIsCapturing(side, &status));
  EXPECT(status == cudaStreamCaptureStatusActive);
  cudaGraph_t graph;
  CUDA_OK(cudaStreamEndCapture(main, &graph));
  return graph;
}

void launch_and_check(cudaGraphExec_t exec, cudaStream_t stream, int* in, int* out, int more) {
  for (int round = 0; round < 4; ++round) {
    for (int i = 0; i < kCount; ++i) in[i] = i * (round + 1);
    CUDA_OK(cudaGraphLaunch(exec, stream));
    CUDA_OK(cudaStreamSynchronize(stream));
    for (int i = 0; i < kCount; ++i) {
      EXPECT(out[i] == in[i] + more && out[kCount + i] == in[i] + 2 * more);
    }
  }
}

// The file holds a node for each node.
int count_nodes(const char* path) {
  std::FILE* file = std::fopen(path, "r");
  EXPECT(file != nullptr);
  std::string text(1 << 16, '\0');
  text.resize(std::fread(text.data(), 1, text.size(), file));
  std::fclose(file);
  int found = 0;
  for (std::size_t at = 0; (at = text.find("shape=", at)) != std::string::npos; ++at) ++found;
  return found;
}

int main() {
  cudaStream_t main_stream, side;
  CUDA_OK(cudaStreamCreateWithFlags(&main_stream, cudaStreamNonBlocking));
  CUDA_OK(cudaStreamCreateWithFlags(&side, cudaStreamNonBlocking));
  int *in, *out;
  CUDA_OK(cudaMallocHost(&in, kCount * 4));
  CUDA_OK(cudaMallocHost(&out, 2 * kCount * 4));

  cudaGraph_t graph = capture(main_stream, side, in, out, 10);
  size_t nodes = 0;
  CUDA_OK(cudaGraphGetNodes(graph, nullptr, &nodes));
  EXPECT(nodes == 8);
  const std::string path = "/tmp/farcall-graph-" + std::to_string(getpid()) + ".dot";
  CUDA_OK(cudaGraphDebugDotPrint(graph, path.c_str(), cudaGraphDebugDotFlagsVerbose));
  EXPECT(count_nodes(path.c_str()) >= 8);
  std::remove(path.c_str());
  int object = 0;
  cudaUserObject_t held;
  CUDA_OK(cudaUserObjectCreate(&held, &object, end_object, 1, cudaUserObjectNoDestructorSync));
  CUDA_OK(cudaGraphRetainUserObject(graph, held, 1, cudaGraphUserObjectMove));
  cudaGraphExec_t exec;
  CUDA_OK(cudaGraphInstantiateWithFlags(&exec, graph, cudaGraphInstantiateFlagAutoFreeOnLaunch));
  CUDA_OK(cudaGraphDestroy(graph));
  CUDA_OK(cudaGraphUpload(exec, main_stream));
  launch_and_check(exec, main_stream, in, out, 10);
  EXPECT(object == 0);

  // A graph of another shape does not fit.
  cudaGraph_t other;
  CUDA_OK(cudaGraphCreate(&other, 0));
  cudaGraphExecUpdateResultInfo info;
  EXPECT(cudaGraphExecUpdate(exec, other, &info) == cudaErrorGraphExecUpdateFailure);
  EXPECT(info.result == cudaGraphExecUpdateErrorTopologyChanged);
  CUDA_OK(cudaGraphDestroy(other));

  CUDA_OK(cudaGraphExecDestroy(exec));
  ended.get_future().wait();
  EXPECT(object == 1);

  // An update by a graph of the same shape.
  int *device, *copy;
  CUDA_OK(cudaMalloc(&device, kCount * 4));
  CUDA_OK(cudaMalloc(&copy, kCount * 4));
  exec = nullptr;
  for (int more = 1; more <= 3; ++more) {
    CUDA_OK(cudaStreamBeginCapture(main_stream, cudaStreamCaptureModeGlobal));
    CUDA_OK(cudaMemcpyAsync(device, in, kCount * 4, cudaMemcpyHostToDevice, main_stream));
    add<<<kCount / 256, 256, 0, main_stream>>>(copy, device, more);
    CUDA_OK(cudaMemcpyAsync(out, copy, kCount * 4, cudaMemcpyDeviceToHost, main_stream));
    CUDA_OK(cudaStreamEndCapture(main_stream, &graph));
    if (exec == nullptr) {
      CUDA_OK(cudaGraphInstantiate(&exec, graph, 0));
    } else {
      CUDA_OK(cudaGraphExecUpdate(exec, graph, &info));
    }
    CUDA_OK(cudaGraphDestroy(graph));
    CUDA_OK(cudaGraphLaunch(exec, side));
    CUDA_OK(cudaStreamSynchronize(side));
    for (int i = 0; i < kCount; ++i) EXPECT(out[i] == in[i] + more);
  }
  CUDA_OK(cudaGraphExecDestroy(exec));

  // What a capture may not do ends it.
  CUDA_OK(cudaStreamBeginCapture(main_stream, cudaStreamCaptureModeRelaxed));
  EXPECT(cudaStreamSynchronize(main_stream) == cudaErrorStreamCaptureUnsupported);
  EXPECT(cudaStreamEndCapture(main_stream, &graph) == cudaErrorStreamCaptureInvalidated);
  (void)cudaGetLastError();
  CUDA_OK(cudaDeviceSynchronize());
  std::printf("captured graphs: %zu nodes, last value %d\n", nodes, out[kCount - 1]);
  return 0;
}
