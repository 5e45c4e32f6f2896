// Kernels as nvcc writes them; ptx/nvcc_kernels.cu is the source.
#include <doctest/doctest.h>

#include <cmath>
#include <thread>

#include "tests/gpu_server/software_gpu/exec/harness.h"

namespace farcall::softgpu::test {
namespace {

using u32 = std::uint32_t;

struct Loaded {
  Device device;
  std::unique_ptr<Program> program = load(device, ptx_file("nvcc_kernels"));
  void run(const char* kernel, Shape shape, const std::vector<std::byte>& params,
           Isa isa = Isa::kBest, int threads = 3) {
    const Fault fault = test::run(device, *program, kernel, shape, params, isa, threads);
    CHECK_MESSAGE(fault.kind == FaultKind::kNone, fault.text);
  }
};

TEST_CASE("vadd of nvcc adds vectors, their end included") {
  Loaded at;
  const u32 n = 10007;
  float* a = at.device.array<float>(n);
  float* b = at.device.array<float>(n);
  float* c = at.device.array<float>(n);
  for (u32 i = 0; i < n; ++i) {
    a[i] = static_cast<float>(i);
    b[i] = static_cast<float>(i % 13) * 0.25f;
  }
  for (const Isa isa : kIsas) {
    std::fill(c, c + n, 0.0f);
    at.run("vadd", {(n + 255) / 256, 256}, pack(a, b, c, n), isa);
    for (u32 i = 0; i < n; ++i) REQUIRE(c[i] == a[i] + b[i]);
  }
}

TEST_CASE("a reduction with barriers, shuffles and an atomic gives the sum") {
  Loaded at;
  const u32 n = 100000;
  float* in = at.device.array<float>(n);
  float* out = at.device.array<float>(1);
  for (u32 i = 0; i < n; ++i) in[i] = static_cast<float>(i % 10);
  for (const Isa isa : kIsas) {
    *out = 0;
    at.run("reduce", {(n + 255) / 256, 256}, pack(in, out, n), isa);
    CHECK(*out == 450000.0f);
  }
}

TEST_CASE("a tiled matrix product on 16 x 16 blocks") {
  Loaded at;
  const u32 n = 64;
  float* a = at.device.array<float>(n * n);
  float* b = at.device.array<float>(n * n);
  float* c = at.device.array<float>(n * n);
  for (u32 i = 0; i < n * n; ++i) {
    a[i] = static_cast<float>(i % 7);
    b[i] = static_cast<float>(i % 5);
  }
  for (const Isa isa : kIsas) {
    Launch launch;
    launch.kernel = at.program->kernel("matmul");
    launch.grid[0] = launch.grid[1] = n / 16;
    launch.block[0] = launch.block[1] = 16;
    const auto params = pack(a, b, c, n);
    launch.params = params;
    const Fault fault = at.device.engine(isa).run(launch);
    CHECK_MESSAGE(fault.kind == FaultKind::kNone, fault.text);
    for (u32 y = 0; y < n; ++y) {
      for (u32 x = 0; x < n; ++x) {
        float want = 0;
        for (u32 k = 0; k < n; ++k) want += a[y * n + k] * b[k * n + x];
        REQUIRE(c[y * n + x] == want);
      }
    }
  }
}

struct Item {
  int a;
  double b;
  float c[3];
};

int fib(int n) { return n < 2 ? n : fib(n - 1) + fib(n - 2); }

TEST_CASE("calls pass structures, recurse, and diverge") {
  Loaded at;
  Item* items = at.device.array<Item>(64);
  int* numbers = at.device.array<int>(64);
  for (int i = 0; i < 64; ++i) items[i] = Item{i, i * 0.5, {1, 2, 3}};
  at.run("calls", {1, 64}, pack(items, numbers, 40));
  for (int i = 0; i < 64; ++i) {
    CHECK(items[i].a == (i < 40 ? 2 * i : i));
    CHECK(items[i].b == i * 0.5);
    for (int k = 0; k < 3; ++k) {
      CHECK(items[i].c[k] == static_cast<float>(k + 1 + (i < 40 && i % 3 == k ? 1 : 0)));
    }
    CHECK(numbers[i] == fib(i % 12));
  }
}

TEST_CASE("calls through a table of function pointers") {
  Loaded at;
  float* p = at.device.array<float>(64);
  for (int i = 0; i < 64; ++i) p[i] = static_cast<float>(i);
  at.run("pointers", {1, 64}, pack(p));
  for (int i = 0; i < 64; ++i) CHECK(p[i] == static_cast<float>((i & 1) != 0 ? 2 * i : i + 1));
}

TEST_CASE("printf formats as the host would, assert stops the grid") {
  Loaded at;
  at.run("prints", {1, 32}, pack(3), Isa::kBest, 1);
  CHECK(at.device.printed ==
        "thread 0 of kernel:  4.50 123456789012345 ff z %|3   |\n"
        "thread 1 of kernel:  4.50 123456789012345 ff z %|3   |\n");
  at.device.printed.clear();
  const Fault fault = test::run(at.device, *at.program, "prints", {1, 1}, pack(9));
  CHECK(fault.kind == FaultKind::kAssert);
  CHECK(at.device.printed.find("void prints(int): block: [0,0,0], thread: [0,0,0] Assertion "
                               "`x != 9` failed.") != std::string::npos);
}

TEST_CASE("malloc and free in kernels") {
  Loaded at;
  int* out = at.device.array<int>(64);
  const std::size_t before = at.device.memory().used();
  at.run("heap", {1, 64}, pack(out));
  for (int i = 0; i < 64; ++i) CHECK(out[i] == 2 * i);
  CHECK(at.device.memory().used() == before);
}

TEST_CASE("a cooperative grid synchronises all its blocks") {
  Loaded at;
  int* data = at.device.array<int>(40 * 64);
  at.run("grid_sync", {40, 64, 0, true}, pack(data, 5));
  for (int i = 0; i < 40 * 64; ++i) REQUIRE(data[i] == 5);
}

TEST_CASE("spin locks make progress, within a warp and between blocks") {
  Loaded at;
  int* counter = at.device.array<int>(1);
  for (const int threads : {1, 3}) {
    *counter = 0;
    at.run("spin_lock", {8, 64}, pack(counter), Isa::kBest, threads);
    CHECK(*counter == 512);
    *counter = 0;
    at.run("careless_lock", {4, 64}, pack(counter), Isa::kBest, threads);
    CHECK(*counter == 256);
  }
}

TEST_CASE("a block may wait for one that starts later") {
  Loaded at;
  int* started = at.device.array<int>(100);
  at.run("wait_for_later", {100, 64}, pack(started, 100), Isa::kBest, 1);
  for (int b = 0; b < 100; ++b) CHECK(started[b] == 2);
}

TEST_CASE("the mathematics library of nvcc comes out as the host's") {
  Loaded at;
  const int n = 4096;
  float* in = at.device.array<float>(n);
  float* out = at.device.array<float>(n);
  const auto weights = at.program->global("g_weights");
  REQUIRE(weights.has_value());
  for (int i = 0; i < 16; ++i) reinterpret_cast<float*>(weights->base)[i] = 0.5f;
  for (int i = 0; i < n; ++i) in[i] = static_cast<float>(i - 2000) * 0.01f;
  for (const Isa isa : kIsas) {
    at.run("math", {16, 256}, pack(in, out, n), isa);
    for (int i = 0; i < n; ++i) {
      const float x = in[i];
      float want = 0.5f * std::atan(x);
      switch (i & 7) {
        case 0: want = std::sin(x); break;
        case 1: want = std::exp(x); break;
        case 2: want = std::log(std::fabs(x) + 1e-3f); break;
        case 3: want = std::pow(std::fabs(x), 1.7f); break;
        case 4: want = std::fmod(x, 3.0f); break;
        case 5: want = std::erf(x); break;
        case 6: want = static_cast<float>(std::cos(static_cast<double>(x) * 1000.0)); break;
        default: break;
      }
      const float allowed = std::fabs(want) * 4e-6f + 2e-6f;
      REQUIRE_MESSAGE(std::fabs(out[i] - want) <= allowed, "case " << (i & 7) << " x " << x);
    }
  }
}

TEST_CASE("half precision of nvcc") {
  Loaded at;
  float* in = at.device.array<float>(33);
  float* out = at.device.array<float>(32);
  for (int i = 0; i < 33; ++i) in[i] = static_cast<float>(i) * 0.25f;
  at.run("halves", {1, 32}, pack(in, out));
  for (int i = 0; i < 32; ++i) {
    CHECK(out[i] == doctest::Approx(in[i] * in[i] + in[i + 1] * in[i + 1] + 2).epsilon(0.002));
  }
}

TEST_CASE("a histogram in shared memory and a scan in dynamic shared memory") {
  Loaded at;
  const int n = 50000;
  auto* data = at.device.array<unsigned char>(n);
  u32* bins = at.device.array<u32>(256);
  u32 want[256] = {};
  for (int i = 0; i < n; ++i) {
    data[i] = static_cast<unsigned char>(static_cast<u32>(i) * 2654435761u >> 20);
    ++want[data[i]];
  }
  at.run("histogram", {7, 128}, pack(data, bins, n));
  for (int b = 0; b < 256; ++b) CHECK(bins[b] == want[b]);
  int* in = at.device.array<int>(512);
  int* out = at.device.array<int>(512);
  for (int i = 0; i < 512; ++i) in[i] = i % 9;
  at.run("scan", {1, 512, 4096}, pack(in, out, 512));
  int sum = 0;
  for (int i = 0; i < 512; ++i) {
    CHECK(out[i] == sum);
    sum += in[i];
  }
}

TEST_CASE("several threads launch at once on one engine") {
  Loaded at;
  const u32 n = 20000;
  std::vector<float*> results;
  float* a = at.device.array<float>(n);
  for (u32 i = 0; i < n; ++i) a[i] = static_cast<float>(i);
  for (int t = 0; t < 4; ++t) results.push_back(at.device.array<float>(n));
  Engine& engine = at.device.engine(Isa::kBest, 3);
  std::vector<std::thread> streams;
  std::vector<Fault> faults(4);
  for (std::size_t t = 0; t < 4; ++t) {
    streams.emplace_back([&, t] {
      const auto params = pack(a, a, results[t], n);
      Launch launch;
      launch.kernel = at.program->kernel("vadd");
      launch.grid[0] = (n + 127) / 128;
      launch.block[0] = 128;
      launch.params = params;
      for (int k = 0; k < 10 && faults[t].kind == FaultKind::kNone; ++k)
        faults[t] = engine.run(launch);
    });
  }
  for (std::thread& stream : streams) stream.join();
  for (std::size_t t = 0; t < 4; ++t) {
    CHECK_MESSAGE(faults[t].kind == FaultKind::kNone, faults[t].text);
    for (u32 i = 0; i < n; ++i) REQUIRE(results[t][i] == 2 * a[i]);
  }
}

}  // namespace
}  // namespace farcall::softgpu::test
