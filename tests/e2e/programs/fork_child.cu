// A program that forks: before CUDA starts, and after. The child before may use CUDA; the child
// after may not, and must neither hang nor disturb its parent.
#include <sys/wait.h>
#include <unistd.h>

#include "tests/e2e/programs/expect.h"

__global__ void triple(int* value) { *value *= 3; }

int tripled(int start) {
  int* device = to_device(std::vector<int>{start});
  triple<<<1, 1>>>(device);
  const int result = to_host(device, 1)[0];
  CUDA_OK(cudaFree(device));
  return result;
}

int exit_code(pid_t child) {
  int status = 0;
  EXPECT(waitpid(child, &status, 0) == child);
  EXPECT(WIFEXITED(status));
  return WEXITSTATUS(status);
}

int main() {
  // A child of its own, before the parent has touched CUDA.
  pid_t child = fork();
  if (child == 0) _exit(tripled(14) == 42 ? 7 : 1);
  std::printf("fork_child: early child ended with %d\n", exit_code(child));

  int* kept = to_device(std::vector<int>{5});
  child = fork();
  if (child == 0) {
    // CUDA is not to be used here; an error or success, but an answer.
    int value = 0;
    const cudaError_t error = cudaMemcpy(&value, kept, sizeof value, cudaMemcpyDeviceToHost);
    _exit(error != cudaSuccess || value == 5 ? 8 : 1);
  }
  std::printf("fork_child: late child ended with %d\n", exit_code(child));

  child = fork();
  if (child == 0) execl("/bin/sh", "sh", "-c", "exit 9", static_cast<char*>(nullptr));
  std::printf("fork_child: executed child ended with %d\n", exit_code(child));

  triple<<<1, 1>>>(kept);
  EXPECT(to_host(kept, 1)[0] == 15);
  EXPECT(tripled(2) == 6);
  std::printf("fork_child: the parent goes on\n");
  return 0;  // and exits without freeing: the driver cleans up
}
