// cvt in all directions.
#include <doctest/doctest.h>

#include <algorithm>
#include <cfenv>
#include <cmath>
#include <limits>

#include "tests/gpu_server/software_gpu/exec/harness.h"

namespace farcall::softgpu::test {
namespace {

using u32 = std::uint32_t;
using u64 = std::uint64_t;
using s64 = std::int64_t;

struct Case {
  const char* snippet;
  char kind;
  Expect expect;
};

void check_all(std::initializer_list<Case> cases) {
  Device device;
  for (const Case& one : cases) check_lanes(device, one.snippet, one.kind, one.expect);
}

u64 u(s64 x) { return static_cast<u64>(x); }
u64 u32of(u64 x) { return x & 0xffffffff; }

// Rounded to a whole number, then clamped to D; NaN is 0.
template <class D, class A>
u64 to_int(A x, A (*round)(A)) {
  const A whole = round(x);
  if (std::isnan(whole)) return 0;
  const long double value = static_cast<long double>(whole);
  const long double low = static_cast<long double>(std::numeric_limits<D>::min());
  const long double high = static_cast<long double>(std::numeric_limits<D>::max());
  const D result = value <= low    ? std::numeric_limits<D>::min()
                   : value >= high ? std::numeric_limits<D>::max()
                                   : static_cast<D>(value);
  return static_cast<u64>(result);
}

template <class F>
u64 under(int mode, F f) {
  std::fesetround(mode);
  volatile u64 result = f();
  std::fesetround(FE_TONEAREST);
  return result;
}

template <class T>
T opaque(T x) {
  volatile T y = x;
  return y;
}

float tr(float x) { return std::trunc(x); }
float fl(float x) { return std::floor(x); }
float ce(float x) { return std::ceil(x); }
float ni(float x) { return std::nearbyint(x); }
double trd(double x) { return std::trunc(x); }
double nid(double x) { return std::nearbyint(x); }

TEST_CASE("integers to integers, narrowing, widening and saturating") {
  check_all({
      {"cvt.u64.u32 %rd0, %r1;", 'd', [](const Lane& x) { return u64{lo(x.a)}; }},
      {"cvt.s64.s32 %rd0, %r1;", 'd', [](const Lane& x) { return u(slo(x.a)); }},
      {"cvt.u32.u64 %r0, %rd1;", 'r', [](const Lane& x) { return u32of(x.a); }},
      {"cvt.s32.s16 %r0, %h1;", 'r', [](const Lane& x) { return u32of(u(shalf(x.a))); }},
      {"cvt.u32.u16 %r0, %h1;", 'r', [](const Lane& x) { return u64{half(x.a)}; }},
      {"cvt.s32.s8 %r0, %r1;", 'r',
       [](const Lane& x) { return u32of(u(static_cast<std::int8_t>(x.a))); }},
      {"cvt.s64.s8 %rd0, %rd1;", 'd',
       [](const Lane& x) { return u(static_cast<std::int8_t>(x.a)); }},
      {"cvt.u16.u32 %h0, %r1;", 'h', [](const Lane& x) { return x.a & 0xffff; }},
      {"cvt.s16.s8 %h0, %h1;", 'h',
       [](const Lane& x) { return u(static_cast<std::int8_t>(x.a)) & 0xffff; }},
      {"cvt.u8.u32 %r0, %r1;", 'r', [](const Lane& x) { return x.a & 0xff; }},
      {"cvt.s8.s32 %r0, %r1;", 'r',
       [](const Lane& x) { return u32of(u(static_cast<std::int8_t>(x.a))); }},
      {"cvt.u16.u64 %rd0, %rd1;", 'd', [](const Lane& x) { return x.a & 0xffff; }},
      {"cvt.sat.u8.s32 %r0, %r1;", 'r',
       [](const Lane& x) { return u64(slo(x.a) < 0     ? 0
                                      : slo(x.a) > 255 ? 255
                                                       : slo(x.a)); }},
      {"cvt.sat.s16.s32 %h0, %r1;", 'h',
       [](const Lane& x) {
         return u(slo(x.a) < -32768 ? -32768 : slo(x.a) > 32767 ? 32767 : slo(x.a)) & 0xffff;
       }},
      {"cvt.sat.u32.s64 %r0, %rd1;", 'r',
       [](const Lane& x) {
         const s64 v = static_cast<s64>(x.a);
         return v < 0 ? 0 : v > 0xffffffff ? 0xffffffff : u(v);
       }},
  });
}

TEST_CASE("floats to integers round as told and clamp") {
  check_all({
      {"cvt.rzi.s32.f32 %r0, %f1;", 'r',
       [](const Lane& x) { return u32of(to_int<std::int32_t>(f32(x.a), tr)); }},
      {"cvt.rmi.s32.f32 %r0, %f1;", 'r',
       [](const Lane& x) { return u32of(to_int<std::int32_t>(f32(x.a), fl)); }},
      {"cvt.rpi.s32.f32 %r0, %f1;", 'r',
       [](const Lane& x) { return u32of(to_int<std::int32_t>(f32(x.a), ce)); }},
      {"cvt.rni.s32.f32 %r0, %f1;", 'r',
       [](const Lane& x) { return u32of(to_int<std::int32_t>(f32(x.a), ni)); }},
      {"cvt.rzi.u32.f32 %r0, %f1;", 'r', [](const Lane& x) { return to_int<u32>(f32(x.a), tr); }},
      {"cvt.rzi.u64.f32 %rd0, %f1;", 'd', [](const Lane& x) { return to_int<u64>(f32(x.a), tr); }},
      {"cvt.rni.s64.f32 %rd0, %f1;", 'd', [](const Lane& x) { return to_int<s64>(f32(x.a), ni); }},
      {"cvt.rzi.s32.f64 %r0, %fd1;", 'r',
       [](const Lane& x) { return u32of(to_int<std::int32_t>(f64(x.a), trd)); }},
      {"cvt.rni.u32.f64 %r0, %fd1;", 'r', [](const Lane& x) { return to_int<u32>(f64(x.a), nid); }},
      {"cvt.rzi.s64.f64 %rd0, %fd1;", 'd',
       [](const Lane& x) { return to_int<s64>(f64(x.a), trd); }},
      {"cvt.rzi.u64.f64 %rd0, %fd1;", 'd',
       [](const Lane& x) { return to_int<u64>(f64(x.a), trd); }},
      {"cvt.rzi.u16.f32 %h0, %f1;", 'h',
       [](const Lane& x) { return to_int<std::uint16_t>(f32(x.a), tr); }},
      {"cvt.rzi.u8.f32 %r0, %f1;", 'r',
       [](const Lane& x) { return to_int<std::uint8_t>(f32(x.a), tr); }},
      {"cvt.rzi.s8.f32 %r0, %f1;", 'r',
       [](const Lane& x) { return u32of(to_int<std::int8_t>(f32(x.a), tr)); }},
  });
}

TEST_CASE("integers to floats round as told") {
  check_all({
      {"cvt.rn.f32.s32 %f0, %r1;", 'f',
       [](const Lane& x) { return bits(static_cast<float>(slo(x.a))); }},
      {"cvt.rn.f32.u32 %f0, %r1;", 'f',
       [](const Lane& x) { return bits(static_cast<float>(lo(x.a))); }},
      {"cvt.rn.f32.u64 %f0, %rd1;", 'f',
       [](const Lane& x) { return bits(static_cast<float>(x.a)); }},
      {"cvt.rn.f32.s64 %f0, %rd1;", 'f',
       [](const Lane& x) { return bits(static_cast<float>(static_cast<s64>(x.a))); }},
      {"cvt.rn.f64.s32 %fd0, %r1;", 'g',
       [](const Lane& x) { return bits(static_cast<double>(slo(x.a))); }},
      {"cvt.rn.f64.u64 %fd0, %rd1;", 'g',
       [](const Lane& x) { return bits(static_cast<double>(x.a)); }},
      {"cvt.rn.f32.s16 %f0, %h1;", 'f',
       [](const Lane& x) { return bits(static_cast<float>(shalf(x.a))); }},
      {"cvt.rn.f32.u8 %f0, %r1;", 'f',
       [](const Lane& x) { return bits(static_cast<float>(x.a & 0xff)); }},
      {"cvt.rz.f32.u32 %f0, %r1;", 'f',
       [](const Lane& x) {
         return under(FE_TOWARDZERO, [&] { return bits(static_cast<float>(opaque(lo(x.a)))); });
       }},
      {"cvt.rp.f32.s64 %f0, %rd1;", 'f',
       [](const Lane& x) {
         return under(FE_UPWARD,
                      [&] { return bits(static_cast<float>(opaque(static_cast<s64>(x.a)))); });
       }},
      {"cvt.rm.f64.s64 %fd0, %rd1;", 'g',
       [](const Lane& x) {
         return under(FE_DOWNWARD,
                      [&] { return bits(static_cast<double>(opaque(static_cast<s64>(x.a)))); });
       }},
  });
}

TEST_CASE("floats to floats") {
  check_all({
      {"cvt.f64.f32 %fd0, %f1;", 'g',
       [](const Lane& x) { return bits(static_cast<double>(f32(x.a))); }},
      {"cvt.rn.f32.f64 %f0, %fd1;", 'f',
       [](const Lane& x) { return bits(static_cast<float>(f64(x.a))); }},
      {"cvt.rz.f32.f64 %f0, %fd1;", 'f',
       [](const Lane& x) {
         return under(FE_TOWARDZERO, [&] { return bits(static_cast<float>(opaque(f64(x.a)))); });
       }},
      {"cvt.rni.f32.f32 %f0, %f1;", 'f', [](const Lane& x) { return bits(ni(f32(x.a))); }},
      {"cvt.rmi.f32.f32 %f0, %f1;", 'f', [](const Lane& x) { return bits(fl(f32(x.a))); }},
      {"cvt.rzi.f64.f64 %fd0, %fd1;", 'g', [](const Lane& x) { return bits(trd(f64(x.a))); }},
  });
}

// The f16 nearest to x, found by trying all of them: slow, and sure.
u32 nearest_half(double x) {
  static const std::vector<std::pair<double, u32>> all = [] {
    std::vector<std::pair<double, u32>> values;
    for (u32 h = 0; h < 0x7c00; ++h) {
      const int e = static_cast<int>(h >> 10);
      const double m = h & 0x3ff;
      values.emplace_back(e == 0 ? std::ldexp(m, -24) : std::ldexp(m + 1024, e - 25), h);
    }
    return values;
  }();
  if (std::isnan(x)) return 0x7fff;
  const u32 sign = std::signbit(x) ? 0x8000 : 0;
  const double v = std::fabs(x);
  if (v >= 65520) return sign | 0x7c00;
  auto above = std::lower_bound(all.begin(), all.end(), std::make_pair(v, 0u));
  if (above == all.end()) return sign | 0x7bff;
  if (above->first == v || above == all.begin()) return sign | above->second;
  const auto below = above - 1;
  const double up = above->first - v, down = v - below->first;
  if (up == down) return sign | ((below->second & 1) == 0 ? below->second : above->second);
  return sign | (up < down ? above->second : below->second);
}

double half_value(u64 h) {
  const int e = static_cast<int>(h >> 10 & 31);
  const double m = static_cast<double>(h & 0x3ff);
  const double v = e == 31  ? (m != 0 ? NAN : INFINITY)
                   : e == 0 ? std::ldexp(m, -24)
                            : std::ldexp(m + 1024, e - 25);
  return (h & 0x8000) != 0 ? -v : v;
}

TEST_CASE("f16 and bf16 convert and compute with one rounding") {
  check_all({
      {"cvt.rn.f16.f32 %h0, %f1;", 'h', [](const Lane& x) { return u64{nearest_half(f32(x.a))}; }},
      {"cvt.f32.f16 %f0, %h1;", 'f',
       [](const Lane& x) { return bits(static_cast<float>(half_value(x.a))); }},
      {"cvt.rn.f16.s32 %h0, %r1;", 'h', [](const Lane& x) { return u64{nearest_half(slo(x.a))}; }},
      {"cvt.rzi.s32.f16 %r0, %h1;", 'r',
       [](const Lane& x) { return u32of(to_int<std::int32_t>(half_value(x.a), trd)); }},
      {"add.f16 %h0, %h1, %h2;", 'h',
       [](const Lane& x) { return u64{nearest_half(half_value(x.a) + half_value(x.b))}; }},
      {"mul.f16 %h0, %h1, %h2;", 'h',
       [](const Lane& x) { return u64{nearest_half(half_value(x.a) * half_value(x.b))}; }},
      {"fma.rn.f16x2 %r0, %r1, %r2, %r3;", 'r',
       [](const Lane& x) {
         u32 result = 0;
         for (int k = 0; k < 32; k += 16) {
           const __float128 exact =
               static_cast<__float128>(half_value(x.a >> k)) * half_value(x.b >> k) +
               static_cast<__float128>(half_value(x.c >> k));
           // One rounding to odd keeps the second one right.
           double near = static_cast<double>(exact);
           const __float128 error = exact - near;
           if (error != 0 && std::isfinite(near) && (bits(near) & 1) == 0) {
             near = std::nextafter(near, error > 0 ? INFINITY : -INFINITY);
           }
           result |= nearest_half(near) << k;
         }
         return u64{result};
       }},
      {"setp.lt.f16 %p0, %h1, %h2;", 'p',
       [](const Lane& x) { return u64{half_value(x.a) < half_value(x.b)}; }},
      {"cvt.rn.f16x2.f32 %r0, %f1, %f2;", 'r',
       [](const Lane& x) { return u64{nearest_half(f32(x.a)) << 16 | nearest_half(f32(x.b))}; }},
      {"cvt.rn.bf16.f32 %h0, %f1;", 'h',
       [](const Lane& x) {
         const u32 b = lo(x.a);
         if (std::isnan(f32(x.a))) return u64{0x7fff};
         return u64{(b + 0x7fff + (b >> 16 & 1)) >> 16};
       }},
      {"mov.b32 %r4, {%h1, %h2}; neg.f16x2 %r0, %r4;", 'r',
       [](const Lane& x) { return (u64{half(x.b)} << 16 | half(x.a)) ^ 0x80008000; }},
  });
}

}  // namespace
}  // namespace farcall::softgpu::test
