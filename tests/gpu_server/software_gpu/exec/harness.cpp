#include "tests/gpu_server/software_gpu/exec/harness.h"

#include <doctest/doctest.h>

#include <cmath>
#include <cstdio>
#include <fstream>
#include <random>
#include <sstream>

namespace farcall::softgpu::test {

Device::Device() : memory_(Memory::create(std::size_t{256} << 20).value().release()) {}

Engine& Device::engine(Isa isa, int threads) {
  for (auto& [key, engine] : engines_) {
    if (key == std::make_pair(isa, threads)) return *engine;
  }
  EngineOptions options;
  options.threads = threads;
  options.isa = isa;
  options.output = [this](std::string_view text) { printed += text; };
  engines_.emplace_back(std::make_pair(isa, threads),
                        std::make_unique<Engine>(*memory_, std::move(options)));
  return *engines_.back().second;
}

std::uint64_t Device::allocate(std::size_t bytes) {
  const Result<std::uint64_t> at = memory_->allocate(bytes);
  REQUIRE(at.ok());
  return Result<std::uint64_t>(at).value();
}

std::string module_of(const std::string& params, const std::string& body,
                      const std::string& outside) {
  return ".version 8.0\n.target sm_90\n.address_size 64\n" + outside + "\n.visible .entry k(" +
         params + ")\n{\n" + body + "\n ret;\n}\n";
}

std::string ptx_file(const std::string& name) {
  std::ifstream file(std::string(FARCALL_EXEC_TEST_PTX) + "/" + name + ".ptx");
  REQUIRE(file.good());
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

std::unique_ptr<Program> load(Device& device, const std::string& text) {
  Result<std::unique_ptr<Program>> program = Program::load({text}, device.memory());
  REQUIRE_MESSAGE(program.ok(), program.status().to_string());
  return std::move(program).value();
}

Fault run(Device& device, const Program& program, const std::string& kernel, Shape shape,
          const std::vector<std::byte>& params, Isa isa, int threads) {
  Launch launch;
  launch.kernel = program.kernel(kernel);
  REQUIRE(launch.kernel != nullptr);
  launch.grid[0] = shape.grid;
  launch.block[0] = shape.block;
  launch.dynamic_shared_bytes = shape.dynamic_shared;
  launch.cooperative = shape.cooperative;
  launch.params = params;
  return device.engine(isa, threads).run(launch);
}

namespace {

// Corner cases of every type, then noise; the same in every run.
std::vector<Lane> inputs() {
  static const std::uint64_t kCorners[] = {0,
                                           1,
                                           2,
                                           5,
                                           31,
                                           32,
                                           33,
                                           63,
                                           64,
                                           0x7f,
                                           0x80,
                                           0xff,
                                           0x7fff,
                                           0x8000,
                                           0xffff,
                                           0x3c00,
                                           0x7bff,
                                           0x7fffffff,
                                           0x80000000,
                                           0xffffffff,
                                           0x3f800000,
                                           0xbf800000,
                                           0x7f800000,
                                           0xff800000,
                                           0x7fc00000,
                                           0x00000123,
                                           0x80000123,
                                           0x00800000,
                                           0x7f7fffff,
                                           0x3effffff,
                                           0x4b000001,
                                           0x4f000000,
                                           0xcf000001,
                                           0x3fc00000,
                                           0xc0200000,
                                           0x7fffffffffffffff,
                                           0x8000000000000000,
                                           0xffffffffffffffff,
                                           0x3ff0000000000000,
                                           0xbff8000000000000,
                                           0x7ff0000000000000,
                                           0x7ff8000000000000,
                                           0x41dfffffffe00000,
                                           0x43e0000000000000,
                                           0x000fffffffffffff,
                                           0x4330000000000001,
                                           0x3fe0000000000000};
  std::vector<Lane> lanes;
  const std::size_t corners = std::size(kCorners);
  for (std::size_t i = 0; i < corners; ++i) {
    for (std::size_t j = 0; j < corners; ++j) {
      lanes.push_back({kCorners[i], kCorners[j], kCorners[(i * 7 + j * 3) % corners]});
    }
  }
  std::mt19937_64 noise(42);
  while (lanes.size() < 3200) lanes.push_back({noise(), noise(), noise()});
  // Floats of ordinary size, in both formats.
  while (lanes.size() < 4000) {
    const auto value = [&] {
      const double x = static_cast<double>(static_cast<std::int64_t>(noise())) * 0x1p-58;
      return (noise() & 1) != 0 ? bits(x) : bits(static_cast<float>(x));
    };
    lanes.push_back({value(), value(), value()});
  }
  return lanes;
}

std::string snippet_kernel(const std::string& snippet, char kind) {
  static const std::pair<char, const char*> kResults[] = {
      {'h', "cvt.u64.u16 %rd0, %h0;"},
      {'r', "cvt.u64.u32 %rd0, %r0;"},
      {'f', "mov.b32 %r0, %f0; cvt.u64.u32 %rd0, %r0;"},
      {'~', "mov.b32 %r0, %f0; cvt.u64.u32 %rd0, %r0;"},
      {'g', "mov.b64 %rd0, %fd0;"},
      {'p', "selp.b64 %rd0, 1, 0, %p0;"}};
  std::string store;
  for (const auto& [key, text] : kResults) store = key == kind ? text : store;
  return module_of(
      ".param .u64 in, .param .u64 out, .param .u32 count, .param .u32 keep",
      ".reg .b16 %h<8>; .reg .b32 %r<16>; .reg .b64 %rd<24>; .reg .f32 %f<8>; .reg .f64 %fd<8>;\n"
      ".reg .pred %p<8>;\n"
      " mov.u32 %r10, %tid.x; mov.u32 %r11, %ctaid.x; mov.u32 %r12, %ntid.x;\n"
      " mad.lo.s32 %r10, %r11, %r12, %r10; ld.param.u32 %r13, [count];\n"
      " setp.ge.u32 %p7, %r10, %r13; @%p7 bra END;\n"
      // keep: which lanes of a warp run the snippet
      " ld.param.u32 %r14, [keep]; mov.u32 %r15, %laneid; shr.u32 %r14, %r14, %r15;\n"
      " and.b32 %r14, %r14, 1; setp.eq.u32 %p7, %r14, 0; @%p7 bra END;\n"
      " ld.param.u64 %rd10, [in]; mul.wide.u32 %rd11, %r10, 24; add.s64 %rd10, %rd10, %rd11;\n"
      " ld.global.u64 %rd1, [%rd10]; ld.global.u64 %rd2, [%rd10+8]; ld.global.u64 %rd3, "
      "[%rd10+16];\n"
      " cvt.u32.u64 %r1, %rd1; cvt.u32.u64 %r2, %rd2; cvt.u32.u64 %r3, %rd3;\n"
      " cvt.u16.u64 %h1, %rd1; cvt.u16.u64 %h2, %rd2; cvt.u16.u64 %h3, %rd3;\n"
      " mov.b32 %f1, %r1; mov.b32 %f2, %r2; mov.b32 %f3, %r3;\n"
      " mov.b64 %fd1, %rd1; mov.b64 %fd2, %rd2; mov.b64 %fd3, %rd3;\n " +
          snippet + "\n " + store +
          "\n ld.param.u64 %rd10, [out]; mul.wide.u32 %rd11, %r10, 8; add.s64 %rd10, %rd10, "
          "%rd11;\n"
          " st.global.u64 [%rd10], %rd0;\nEND:");
}

std::string hex(std::uint64_t x) {
  char text[24];
  std::snprintf(text, sizeof text, "0x%llx", static_cast<unsigned long long>(x));
  return text;
}

bool same(char kind, std::uint64_t got, std::uint64_t want) {
  if (got == want) return true;
  if (kind == 'f') return std::isnan(f32(got)) && std::isnan(f32(want));
  if (kind == 'g') return std::isnan(f64(got)) && std::isnan(f64(want));
  if (kind == '~') {
    const double x = static_cast<double>(f32(got)), y = static_cast<double>(f32(want));
    return (std::isnan(x) && std::isnan(y)) || std::fabs(x - y) <= std::fabs(y) * 1e-6 + 1e-37;
  }
  return false;
}

}  // namespace

void check_lanes(Device& device, const std::string& snippet, char kind, const Expect& expect) {
  static const std::vector<Lane> lanes = inputs();
  constexpr std::uint64_t kUntouched = 0xdeadbeefdeadbeef;
  const std::unique_ptr<Program> program = load(device, snippet_kernel(snippet, kind));
  const std::size_t count = lanes.size();
  if (device.lanes_in == nullptr) {
    device.lanes_in = device.array<Lane>(count);
    device.lanes_out = device.array<std::uint64_t>(count);
  }
  Lane* const in = device.lanes_in;
  std::uint64_t* const out = device.lanes_out;
  std::memcpy(in, lanes.data(), count * sizeof(Lane));
  for (const Isa isa : kIsas) {
    for (const std::uint32_t keep : {0xffffffffu, 0x8421fa05u}) {
      for (std::size_t n = 0; n < count; ++n) out[n] = kUntouched;
      const Fault fault =
          run(device, *program, "k", {static_cast<unsigned>((count + 127) / 128), 128},
              pack(in, out, static_cast<std::uint32_t>(count), keep), isa);
      REQUIRE_MESSAGE(fault.kind == FaultKind::kNone, snippet << ": " << fault.text);
      for (std::size_t n = 0; n < count; ++n) {
        const bool runs = (keep >> (n % 32) & 1u) != 0;
        const std::uint64_t want = runs ? expect(lanes[n]) : kUntouched;
        const bool fine = runs ? same(kind, out[n], want) : out[n] == want;
        if (fine) continue;
        FAIL_CHECK(snippet << " isa " << static_cast<int>(isa) << " a=" << hex(lanes[n].a)
                           << " b=" << hex(lanes[n].b) << " c=" << hex(lanes[n].c) << " got "
                           << hex(out[n]) << " want " << hex(want)
                           << std::string(runs ? "" : " (lane does not run)"));
        return;
      }
    }
  }
}

}  // namespace farcall::softgpu::test
