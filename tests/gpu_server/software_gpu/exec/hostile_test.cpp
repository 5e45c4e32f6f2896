// Kernels made to exhaust whoever runs them: a page of PTX must not become gigabytes or hours.
#include <doctest/doctest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "gpu_server/software_gpu/exec/bounds.h"
#include "tests/gpu_server/software_gpu/exec/harness.h"

using namespace farcall;
using namespace farcall::softgpu;
using namespace farcall::softgpu::test;

namespace {

std::string number(std::size_t n) { return std::to_string(n); }

// Functions f0 … f(count-1), each of which has `body` and then calls the next, `times` times.
std::string chain(std::size_t count, std::size_t times, const std::string& body) {
  std::string text;
  for (std::size_t i = count; i-- > 0;) {
    text += ".func f" + number(i) + "()\n{\n" + body;
    for (std::size_t k = 0; i + 1 < count && k < times; ++k) {
      text += "call.uni f" + number(i + 1) + ";\n";
    }
    text += "ret;\n}\n";
  }
  return text;
}

Status decode(Device& device, const std::string& body, const std::string& outside = "") {
  const auto program = load(device, module_of("", body, outside));
  return program->kernel("k")->decode();
}

}  // namespace

TEST_CASE("functions that many ways of calls lead to are looked at once") {
  Device device;
  // Two ways from each to the next: 2^200 in all.
  CHECK(decode(device, "call.uni f0; ret;", chain(200, 2, "")).ok());
}

TEST_CASE("a chain of calls of any length is laid out, and runs as deep as the stack goes") {
  Device device;
  const auto program = load(device, module_of("", "call.uni f0; ret;", chain(100'000, 1, "")));
  REQUIRE(program->kernel("k")->decode().ok());
  CHECK(run(device, *program, "k", {}, {}).kind == FaultKind::kIllegalAddress);
  const auto shorter = load(device, module_of("", "call.uni f0; ret;", chain(500, 1, "")));
  CHECK(run(device, *shorter, "k", {}, {}).kind == FaultKind::kNone);
}

TEST_CASE("local memory of a chain of calls is what a device has, or refused") {
  Device device;
  const std::string much = ".local .b8 a[400000];\n";
  CHECK(decode(device, "call.uni f0; ret;", chain(1, 1, much)).ok());
  // 20,000 of them would be more than 32 bits count.
  for (std::size_t count : {2u, 20'000u}) {
    const Status refused = decode(device, "call.uni f0; ret;", chain(count, 1, much));
    CHECK(refused.code() == Code::kUnsupported);
    CHECK(refused.text().find("local memory") != std::string::npos);
  }
}

TEST_CASE("recursion without end is a fault, also of functions that need no memory") {
  Device device;
  const auto program = load(device, module_of("", "call.uni f; ret;",
                                              ".func f();\n.func f()\n{\ncall.uni f;\nret;\n}\n"));
  const Fault fault = run(device, *program, "k", {}, {});
  CHECK(fault.kind == FaultKind::kIllegalAddress);
  CHECK(fault.text.find("overflows the stack") != std::string::npos);
}

TEST_CASE("a million registers are a few warps' at most") {
  Device device;
  std::string body = ".reg .b64 %rd<500000>;\n.reg .b32 %r<500000>;\n";
  // Only those that are used take room.
  std::string used;
  for (std::size_t i = 0; i < 400'000; ++i) used += "mov.u64 %rd" + number(i) + ", 1;\n";
  const auto program = load(device, module_of("", body + used));
  CHECK(run(device, *program, "k", {1, 32}, {}).kind == FaultKind::kNone);
  const auto bound = load(device, module_of("", body + "bar.sync 0;\n" + used + "bar.sync 0;\n"));
  CHECK(run(device, *bound, "k", {1, 1024}, {}).kind == FaultKind::kInvalidLaunch);
}

TEST_CASE("blocks under way at once have a bound together, however many host threads there are") {
  const std::vector<std::uint64_t> sizes = {1, 1 << 20, 1 << 29, kBlockBytesMax};
  for (const std::uint64_t bytes : sizes) {
    for (const std::uint64_t threads : {1u, 16u, 1000u}) {
      const std::uint64_t workers = std::min(threads, workers_max(bytes));
      CHECK(workers >= 1);
      CHECK(workers * resident_max(bytes, workers) <= kResidentBytesMax / bytes);
    }
  }
}

TEST_CASE("a cooperative launch whose blocks do not fit together is refused") {
  Device device;
  const auto program = load(device, module_of("",
                                              ".local .b8 a[400000];\n.reg .b64 %rd<2>;\n"
                                              "mov.u64 %rd1, a; st.local.u8 [%rd1], 1;"
                                              "bar.sync 0;"));
  Launch launch;
  launch.kernel = program->kernel("k");
  launch.block[0] = 1024;
  launch.grid[0] = 100'000;
  launch.cooperative = true;
  const Fault fault = device.engine().run(launch);
  CHECK_MESSAGE(fault.kind == FaultKind::kInvalidLaunch, fault.text);
  launch.grid[0] = 1;
  CHECK(device.engine().run(launch).kind == FaultKind::kNone);
}

TEST_CASE("a million labels and branches are decoded") {
  Device device;
  std::string body;
  for (std::size_t i = 0; i < 1'000'000; ++i) body += "L" + number(i) + ":\n";
  body += "bra L7;\n";
  CHECK(decode(device, ".reg .pred %p<2>;\nret;\n" + body).ok());
}

TEST_CASE("shared memory beyond any device's is refused at the launch") {
  Device device;
  for (const char* bytes : {"300000", "2147483648", "1099511627776"}) {
    const auto program = load(
        device, module_of("", ".shared .align 8 .b8 a[" + std::string(bytes) +
                                  "];\n.shared .b8 b[64];\n.reg .b64 %rd<3>;\nmov.u64 %rd1, a;\n"
                                  "mov.u64 %rd2, b;\nst.shared.u8 [%rd2], 1;"));
    const Fault fault = run(device, *program, "k", {}, {});
    CHECK_MESSAGE(fault.kind == FaultKind::kInvalidLaunch, fault.text);
  }
}
