// Host functions in streams and graphs: they run in the stream's order, hold back what is behind
// them and nothing else, and may wait for the thread that enqueued them.
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <condition_variable>
#include <mutex>

#include "tests/e2e/programs/expect.h"

__global__ void add_to(int* cell, int term) { *cell += term; }

// What a host function and its caller share.
struct Meeting {
  std::mutex mutex;
  std::condition_variable changed;
  bool has_begun = false;
  bool may_end = false;

  void attend() {
    std::unique_lock<std::mutex> lock(mutex);
    has_begun = true;
    changed.notify_all();
    changed.wait(lock, [this] { return may_end; });
  }
  void wait_for_begin() {
    std::unique_lock<std::mutex> lock(mutex);
    changed.wait(lock, [this] { return has_begun; });
  }
  void end() {
    std::lock_guard<std::mutex> lock(mutex);
    may_end = true;
    changed.notify_all();
  }
};

void attend(void* meeting) { static_cast<Meeting*>(meeting)->attend(); }

void told(cudaStream_t, cudaError_t status, void* data) {
  *static_cast<int*>(data) = status == cudaSuccess ? 1 : -1;
}

struct Look {
  const int* cell;
  int seen;
};
void look(void* data) {
  auto* mine = static_cast<Look*>(data);
  mine->seen = *mine->cell;
}

void count(void* counter) { ++*static_cast<std::atomic<int>*>(counter); }

// The function waits for its caller, who meanwhile works in another stream, and forks.
void waits_for_caller(cudaStream_t held, cudaStream_t other, int* cells) {
  Meeting meeting;
  int status = 0;
  CUDA_OK(cudaLaunchHostFunc(held, attend, &meeting));
  add_to<<<1, 1, 0, held>>>(cells, 5);
  CUDA_OK(cudaStreamAddCallback(held, told, &status, 0));
  meeting.wait_for_begin();
  add_to<<<1, 1, 0, other>>>(cells + 1, 7);
  CUDA_OK(cudaStreamSynchronize(other));
  int* freed = nullptr;
  CUDA_OK(cudaMalloc(&freed, 1 << 20));
  EXPECT(cudaStreamQuery(held) == cudaErrorNotReady);
  EXPECT(status == 0);
  const pid_t child = fork();
  if (child == 0) _exit(9);
  int code = 0;
  EXPECT(waitpid(child, &code, 0) == child && WEXITSTATUS(code) == 9);
  meeting.end();
  CUDA_OK(cudaStreamSynchronize(held));
  EXPECT(status == 1);
  CUDA_OK(cudaFree(freed));
  std::printf("host_functions: cells %d %d\n", to_host(cells, 1)[0], to_host(cells + 1, 1)[0]);
}

// Each function sees what the copy before it brought, and not what comes behind.
void sees_its_moment(cudaStream_t stream, int* cell) {
  int* pinned = nullptr;
  CUDA_OK(cudaMallocHost(&pinned, sizeof *pinned));
  Look looks[20];
  for (Look& each : looks) {
    each = {pinned, -1};
    add_to<<<1, 1, 0, stream>>>(cell, 1);
    CUDA_OK(cudaMemcpyAsync(pinned, cell, sizeof *pinned, cudaMemcpyDeviceToHost, stream));
    CUDA_OK(cudaLaunchHostFunc(stream, look, &each));
  }
  CUDA_OK(cudaStreamSynchronize(stream));
  int sum = 0;
  for (int i = 0; i < 20; i++) sum += looks[i].seen - looks[0].seen - i;
  std::printf("host_functions: 20 looks, off by %d\n", sum);
  CUDA_OK(cudaFreeHost(pinned));
}

void runs_with_its_graph(cudaStream_t stream, int* cell) {
  std::atomic<int> runs{0};
  cudaGraph_t graph;
  cudaGraphExec_t exec;
  CUDA_OK(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal));
  add_to<<<1, 1, 0, stream>>>(cell, 1);
  CUDA_OK(cudaLaunchHostFunc(stream, count, &runs));
  add_to<<<1, 1, 0, stream>>>(cell, 1);
  CUDA_OK(cudaStreamEndCapture(stream, &graph));
  cudaHostNodeParams params{};
  params.fn = count;
  params.userData = &runs;
  cudaGraphNode_t node;
  CUDA_OK(cudaGraphAddHostNode(&node, graph, nullptr, 0, &params));
  EXPECT(runs == 0);
  CUDA_OK(cudaGraphInstantiate(&exec, graph, 0));
  for (int launch = 1; launch <= 4; launch++) {
    CUDA_OK(cudaGraphLaunch(exec, stream));
    CUDA_OK(cudaStreamSynchronize(stream));
    EXPECT(runs == 2 * launch);
  }
  CUDA_OK(cudaGraphExecDestroy(exec));
  CUDA_OK(cudaGraphDestroy(graph));
  std::printf("host_functions: %d runs in a graph\n", runs.load());
}

int main() {
  int* cells = to_device(std::vector<int>{0, 0});
  cudaStream_t held, other;
  CUDA_OK(cudaStreamCreateWithFlags(&held, cudaStreamNonBlocking));
  CUDA_OK(cudaStreamCreateWithFlags(&other, cudaStreamNonBlocking));
  waits_for_caller(held, other, cells);
  sees_its_moment(other, cells);
  runs_with_its_graph(held, cells);
  static std::atomic<int> late{0};
  CUDA_OK(cudaLaunchHostFunc(held, count, &late));
  return 0;  // and does not wait for it
}
