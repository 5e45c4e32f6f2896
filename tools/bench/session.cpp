// One session among others, told what to do on its standard input: what an idle one costs, and how
// many share a machine.
//
//   LD_PRELOAD=…/libcuda.so.1 bench_session idle      # "bare" ⏎ "ready" ⏎
//   LD_PRELOAD=…/libcuda.so.1 bench_session share N   # "ready" ⏎ seconds of N turns
//
// It prints a word at each stage and goes on when it reads a line, so that whoever started many can
// let them run at the same moment. A turn is 100 launches and a synchronize, ten round trips, and
// 64 KiB there and back, which must come back as they went.
#include <cstring>
#include <iostream>
#include <string>
#include <vector>

#include "tools/bench/driver.h"
#include "tools/bench/figures.h"

namespace farcall::bench {
namespace {

constexpr std::size_t kBytes = 64 * 1024;

void stage(const std::string& word) {
  std::cout << word << "\n" << std::flush;
  std::string go;
  std::getline(std::cin, go);
}

class Session {
 public:
  Session() : cuda_(open_driver()), ready_(cuda_) {
    check(cuda_.allocate(&memory_, kBytes), "cuMemAlloc");
    turn(0);
  }

  void turn(int number) {
    for (int i = 0; i < 100; i++) check(ready_.launch(cuda_, memory_), "cuLaunchKernel");
    check(cuda_.synchronize_stream(ready_.stream), "cuStreamSynchronize");
    for (int i = 0; i < 10; i++) {
      std::size_t free_bytes = 0, total_bytes = 0;
      check(cuda_.memory_info(&free_bytes, &total_bytes), "cuMemGetInfo");
    }
    std::vector<unsigned char> out(kBytes, static_cast<unsigned char>(number)), in(kBytes);
    check(cuda_.copy_in(memory_, out.data(), kBytes), "cuMemcpyHtoD");
    check(cuda_.copy_out(in.data(), memory_, kBytes), "cuMemcpyDtoH");
    if (in != out) {
      std::fprintf(stderr, "turn %d: not what was sent\n", number);
      std::exit(1);
    }
  }

 private:
  const Driver cuda_;
  const Ready ready_;
  CUdeviceptr memory_ = 0;
};

int run(int argc, char** argv) {
  if (argc == 2 && std::strcmp(argv[1], "idle") == 0) {
    stage("bare");
    const Session session;
    stage("ready");
    return 0;
  }
  if (argc == 3 && std::strcmp(argv[1], "share") == 0) {
    const int turns = std::atoi(argv[2]);
    Session session;
    stage("ready");
    std::cout << seconds([&] {
      for (int i = 0; i < turns; i++) session.turn(i);
    }) << "\n";
    return 0;
  }
  std::fprintf(stderr, "Usage: LD_PRELOAD=libcuda.so.1 %s idle | share TURNS\n", argv[0]);
  return 2;
}

}  // namespace
}  // namespace farcall::bench

int main(int argc, char** argv) { return farcall::bench::run(argc, argv); }
