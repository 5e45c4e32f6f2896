// A client that guesses handles and works all the while: what containment stops.
//   probe_handles GUESSES
// Prints "probed" when all guesses have been answered, works until its standard input ends, and
// prints "fine" if all of that work was right.
#include <poll.h>
#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <vector>

#include "tests/e2e/programs/expect_driver.h"

__global__ void count(unsigned* all) { atomicAdd(all, 1u); }

int main(int argc, char** argv) {
  std::setvbuf(stdout, nullptr, _IONBF, 0);
  const int guesses = argc > 1 ? std::atoi(argv[1]) : 0;
  unsigned* all = nullptr;
  CUDA_OK(cudaMalloc(&all, sizeof *all));
  CUDA_OK(cudaMemset(all, 0, sizeof *all));
  std::uint64_t id = 0x2545f4914f6cdd1d;
  for (int i = 0; i < guesses; i++) {
    id = id * 6364136223846793005u + 1442695040888963407u;
    if (cuEventQuery(reinterpret_cast<CUevent>(id | 1)) == CUDA_SUCCESS) return 4;
  }
  std::printf("probed\n");
  pollfd input{STDIN_FILENO, POLLIN, 0};
  for (unsigned rounds = 1; poll(&input, 1, 0) == 0; rounds++) {
    count<<<1, 32>>>(all);
    unsigned seen = 0;
    CUDA_OK(cudaMemcpy(&seen, all, sizeof seen, cudaMemcpyDeviceToHost));
    if (seen != rounds * 32) return 5;
  }
  std::printf("fine\n");
  return 0;
}
