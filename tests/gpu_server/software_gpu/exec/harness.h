// Runs PTX snippets and kernels in the engine, once per instruction set this CPU has.
//
//   Device device;
//   check_lanes(device, "add.s32 %r0, %r1, %r2;", 'r', [](Lane in) { return lo(in.a) + lo(in.b);
//   });
//
// A snippet sees the three inputs of its thread as %h1-3 (16 bits), %r1-3, %f1-3, %rd1-3 and %fd1-3
// and leaves its result in %h0, %r0, %f0, %rd0, %fd0 or %p0.
#pragma once
#include <cstdint>
#include <cstring>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "gpu_server/software_gpu/exec/engine.h"

namespace farcall::softgpu::test {

struct Lane {
  std::uint64_t a, b, c;
};

class Device {
 public:
  Device();
  Memory& memory() { return *memory_; }
  Engine& engine(Isa isa = Isa::kBest, int threads = 2);
  std::string printed;       // by kernels
  Lane* lanes_in = nullptr;  // of check_lanes
  std::uint64_t* lanes_out = nullptr;

  template <class T>
  T* array(std::size_t count) {  // zeroed, lives as long as the device
    return reinterpret_cast<T*>(allocate(count * sizeof(T)));
  }

 private:
  std::uint64_t allocate(std::size_t bytes);
  std::unique_ptr<Memory> memory_;
  std::vector<std::pair<std::pair<Isa, int>, std::unique_ptr<Engine>>> engines_;
};

inline constexpr Isa kIsas[] = {Isa::kBaseline, Isa::kAvx2, Isa::kAvx512};

template <class... A>
std::vector<std::byte> pack(A... values) {
  std::vector<std::byte> all;
  const auto one = [&](auto value) {
    const std::size_t at = (all.size() + sizeof value - 1) / sizeof value * sizeof value;
    all.resize(at + sizeof value);
    std::memcpy(all.data() + at, &value, sizeof value);
  };
  (one(values), ...);
  return all;
}

// A whole module with kernel `k(params…)`.
std::string module_of(const std::string& params, const std::string& body,
                      const std::string& outside = "");
// The text of ptx/NAME.ptx.
std::string ptx_file(const std::string& name);
// Loads, or fails the test.
std::unique_ptr<Program> load(Device& device, const std::string& text);

struct Shape {
  unsigned grid = 1, block = 32;
  std::uint32_t dynamic_shared = 0;
  bool cooperative = false;
};
Fault run(Device& device, const Program& program, const std::string& kernel, Shape shape,
          const std::vector<std::byte>& params, Isa isa = Isa::kBest, int threads = 2);

using Expect = std::function<std::uint64_t(const Lane&)>;
// Checks the snippet for many inputs, on every instruction set, with full and partial warps.
//   kind  'h' 'r' 'd' 16, 32, 64-bit integers; 'f' 'g' f32, f64 (any NaN equals any NaN);
//         'p' a predicate;  '~' f32 within a relative 1e-6
void check_lanes(Device& device, const std::string& snippet, char kind, const Expect& expect);

// Views of an input.
inline std::uint32_t lo(std::uint64_t x) { return static_cast<std::uint32_t>(x); }
inline std::int32_t slo(std::uint64_t x) { return static_cast<std::int32_t>(x); }
inline std::uint16_t half(std::uint64_t x) { return static_cast<std::uint16_t>(x); }
inline std::int16_t shalf(std::uint64_t x) { return static_cast<std::int16_t>(x); }
inline float f32(std::uint64_t x) {
  float value;
  std::memcpy(&value, &x, 4);
  return value;
}
inline double f64(std::uint64_t x) {
  double value;
  std::memcpy(&value, &x, 8);
  return value;
}
inline std::uint64_t bits(float x) {
  std::uint32_t value;
  std::memcpy(&value, &x, 4);
  return value;
}
inline std::uint64_t bits(double x) {
  std::uint64_t value;
  std::memcpy(&value, &x, 8);
  return value;
}

}  // namespace farcall::softgpu::test
