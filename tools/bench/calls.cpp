// What a CUDA call costs: microseconds of small calls, GB/s of big copies.
//
//   LD_PRELOAD=…/libcuda.so.1 bench_calls [--json FILE] [--rounds N] [--quick] [--copies]
//
// Posted calls (launches, copies to the device) are measured as a burst with one wait at its end,
// so that the figure holds the work of both ends, not only that of putting calls into a buffer.
// --copies: the big copies only.
#include <cstring>
#include <string>
#include <vector>

#include "tools/bench/driver.h"
#include "tools/bench/figures.h"

namespace farcall::bench {
namespace {

constexpr std::size_t kMiB = std::size_t{1} << 20;

struct Options {
  std::string json;
  int rounds = 9;
  int calls = 1000;
  int burst = 100'000;
  bool copies_only = false;
};

class Bench {
 public:
  Bench(const Driver& cuda, const Options& options) : cuda_(cuda), options_(options), ready_(cuda) {
    check(cuda_.allocate(&memory_, 256 * kMiB), "cuMemAlloc of 256 MiB");
    host_.assign(256 * kMiB, 0x5a);
  }

  void run() {
    char name[128] = "";
    check(cuda_.device_name(name, sizeof name, 0), "cuDeviceGetName");
    std::printf("device: %s\n", name);
    if (!options_.copies_only) small_calls();
    for (const auto& [bytes, label] : {std::pair{64, "64 B"}, std::pair{4096, "4 KiB"}}) {
      if (!options_.copies_only) copies(static_cast<std::size_t>(bytes), label);
    }
    for (unsigned mib : {1u, 16u, 256u}) bandwidth(mib);
    figures_.print();
  }

  bool write(const std::string& path) const { return figures_.write(path); }

 private:
  // Each round: `count` times `call`, then a wait; the figure is microseconds for each call.
  template <class Call>
  void each(const char* name, int count, const Call& call) {
    std::vector<double> rounds;
    for (int round = 0; round < options_.rounds + 1; round++) {
      const double took = seconds([&] {
        for (int i = 0; i < count; i++) call();
        check(cuda_.synchronize(), "cuCtxSynchronize");
      });
      if (round > 0) rounds.push_back(took * 1e6 / count);  // the first one warms up
    }
    figures_.add(name, "us", rounds);
  }

  void launch() { check(ready_.launch(cuda_, memory_), "cuLaunchKernel"); }

  void small_calls() {
    each("launch, in a burst", options_.burst, [this] { launch(); });
    each("stream synchronize", options_.calls,
         [this] { check(cuda_.synchronize_stream(ready_.stream), "cuStreamSynchronize"); });
    each("launch and synchronize", options_.calls, [this] {
      launch();
      check(cuda_.synchronize_stream(ready_.stream), "cuStreamSynchronize");
    });
    each("round trip (cuMemGetInfo)", options_.calls, [this] {
      std::size_t free_bytes = 0, total_bytes = 0;
      check(cuda_.memory_info(&free_bytes, &total_bytes), "cuMemGetInfo");
    });
    each("allocate and free 4 KiB", options_.calls, [this] {
      CUdeviceptr memory = 0;
      check(cuda_.allocate(&memory, 4096), "cuMemAlloc");
      check(cuda_.release(memory), "cuMemFree");
    });
  }

  void copies(std::size_t bytes, const char* label) {
    each((std::string("copy in ") + label).c_str(), options_.calls,
         [&] { check(cuda_.copy_in(memory_, host_.data(), bytes), "cuMemcpyHtoD"); });
    each((std::string("copy out ") + label).c_str(), options_.calls,
         [&] { check(cuda_.copy_out(host_.data(), memory_, bytes), "cuMemcpyDtoH"); });
  }

  void bandwidth(std::size_t mib) {
    const std::size_t bytes = mib * kMiB;
    const int times = mib >= 256 ? 1 : 16;
    std::vector<double> in, out;
    for (int round = 0; round < options_.rounds + 1; round++) {
      const double in_s = seconds([&] {
        for (int i = 0; i < times; i++) {
          check(cuda_.copy_in(memory_, host_.data(), bytes), "cuMemcpyHtoD");
        }
        check(cuda_.synchronize(), "cuCtxSynchronize");
      });
      const double out_s = seconds([&] {
        for (int i = 0; i < times; i++) {
          check(cuda_.copy_out(host_.data(), memory_, bytes), "cuMemcpyDtoH");
        }
      });
      if (round == 0) continue;
      in.push_back(static_cast<double>(bytes) * times * 1e-9 / in_s);
      out.push_back(static_cast<double>(bytes) * times * 1e-9 / out_s);
    }
    figures_.add("copy in " + std::to_string(mib) + " MiB", "GB/s", in);
    figures_.add("copy out " + std::to_string(mib) + " MiB", "GB/s", out);
  }

  const Driver& cuda_;
  const Options options_;
  const Ready ready_;
  Figures figures_;
  CUdeviceptr memory_ = 0;
  std::vector<unsigned char> host_;
};

int run(int argc, char** argv) {
  Options options;
  for (int i = 1; i < argc; i++) {
    if (std::strcmp(argv[i], "--quick") == 0) {
      options.rounds = 3;
      options.calls = 200;
      options.burst = 10'000;
    } else if (std::strcmp(argv[i], "--copies") == 0) {
      options.copies_only = true;
    } else if (std::strcmp(argv[i], "--json") == 0 && i + 1 < argc) {
      options.json = argv[++i];
    } else if (std::strcmp(argv[i], "--rounds") == 0 && i + 1 < argc) {
      options.rounds = std::max(1, std::atoi(argv[++i]));
    } else {
      std::fprintf(stderr,
                   "Usage: LD_PRELOAD=libcuda.so.1 %s [--json FILE] [--rounds N] [--quick] "
                   "[--copies]\n",
                   argv[0]);
      return 2;
    }
  }
  const Driver cuda = open_driver();
  Bench bench(cuda, options);
  bench.run();
  if (options.json.empty() || bench.write(options.json)) return 0;
  std::fprintf(stderr, "cannot write %s\n", options.json.c_str());
  return 1;
}

}  // namespace
}  // namespace farcall::bench

int main(int argc, char** argv) { return farcall::bench::run(argc, argv); }
