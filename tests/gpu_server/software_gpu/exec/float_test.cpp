// Floating-point families against the host's IEEE 754 arithmetic.
#include <doctest/doctest.h>

#include <cfenv>
#include <cmath>

#include "tests/gpu_server/software_gpu/exec/harness.h"

namespace farcall::softgpu::test {
namespace {

using u32 = std::uint32_t;
using u64 = std::uint64_t;

struct Case {
  const char* snippet;
  char kind;
  Expect expect;
};

void check_all(std::initializer_list<Case> cases) {
  Device device;
  for (const Case& one : cases) check_lanes(device, one.snippet, one.kind, one.expect);
}

// f() under a rounding mode. The values pass through memory, so that nothing is folded before.
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

float flush(float x) { return std::fpclassify(x) == FP_SUBNORMAL ? std::copysign(0.0f, x) : x; }
float saturate(float x) { return x > 0 ? (x < 1 ? x : 1.0f) : 0.0f; }

// A NaN loses to a number (a signalling one too, unlike std::fmin) and -0 < +0.
template <class T>
T smaller(T a, T b) {
  if (std::isnan(a)) return b;
  if (std::isnan(b)) return a;
  if (a == b) return std::signbit(a) ? a : b;
  return a < b ? a : b;
}

TEST_CASE("f32 arithmetic rounds to nearest") {
  check_all({
      {"add.f32 %f0, %f1, %f2;", 'f', [](const Lane& x) { return bits(f32(x.a) + f32(x.b)); }},
      {"sub.rn.f32 %f0, %f1, %f2;", 'f', [](const Lane& x) { return bits(f32(x.a) - f32(x.b)); }},
      {"mul.f32 %f0, %f1, %f2;", 'f', [](const Lane& x) { return bits(f32(x.a) * f32(x.b)); }},
      {"div.rn.f32 %f0, %f1, %f2;", 'f', [](const Lane& x) { return bits(f32(x.a) / f32(x.b)); }},
      {"fma.rn.f32 %f0, %f1, %f2, %f3;", 'f',
       [](const Lane& x) { return bits(std::fma(f32(x.a), f32(x.b), f32(x.c))); }},
      {"mad.rn.f32 %f0, %f1, %f2, %f3;", 'f',
       [](const Lane& x) { return bits(std::fma(f32(x.a), f32(x.b), f32(x.c))); }},
      {"rcp.rn.f32 %f0, %f1;", 'f', [](const Lane& x) { return bits(1.0f / f32(x.a)); }},
      {"sqrt.rn.f32 %f0, %f1;", 'f', [](const Lane& x) { return bits(std::sqrt(f32(x.a))); }},
      {"neg.f32 %f0, %f1;", 'f', [](const Lane& x) { return bits(-f32(x.a)); }},
      {"abs.f32 %f0, %f1;", 'f', [](const Lane& x) { return bits(std::fabs(f32(x.a))); }},
      {"copysign.f32 %f0, %f1, %f2;", 'f',
       [](const Lane& x) { return bits(std::copysign(f32(x.b), f32(x.a))); }},
      {"add.f32 %f0, %f1, 0f3F800000;", 'f', [](const Lane& x) { return bits(f32(x.a) + 1.0f); }},
  });
}

TEST_CASE("f64 arithmetic rounds to nearest") {
  check_all({
      {"add.f64 %fd0, %fd1, %fd2;", 'g', [](const Lane& x) { return bits(f64(x.a) + f64(x.b)); }},
      {"sub.f64 %fd0, %fd1, %fd2;", 'g', [](const Lane& x) { return bits(f64(x.a) - f64(x.b)); }},
      {"mul.rn.f64 %fd0, %fd1, %fd2;", 'g',
       [](const Lane& x) { return bits(f64(x.a) * f64(x.b)); }},
      {"div.rn.f64 %fd0, %fd1, %fd2;", 'g',
       [](const Lane& x) { return bits(f64(x.a) / f64(x.b)); }},
      {"fma.rn.f64 %fd0, %fd1, %fd2, %fd3;", 'g',
       [](const Lane& x) { return bits(std::fma(f64(x.a), f64(x.b), f64(x.c))); }},
      {"sqrt.rn.f64 %fd0, %fd1;", 'g', [](const Lane& x) { return bits(std::sqrt(f64(x.a))); }},
      {"rcp.rn.f64 %fd0, %fd1;", 'g', [](const Lane& x) { return bits(1.0 / f64(x.a)); }},
      {"neg.f64 %fd0, %fd1;", 'g', [](const Lane& x) { return bits(-f64(x.a)); }},
      {"min.f64 %fd0, %fd1, %fd2;", 'g',
       [](const Lane& x) { return bits(smaller(f64(x.a), f64(x.b))); }},
  });
}

TEST_CASE("directed rounding of sums, products and fused products") {
  check_all({
      {"add.rz.f32 %f0, %f1, %f2;", 'f',
       [](const Lane& x) {
         return under(FE_TOWARDZERO, [&] { return bits(opaque(f32(x.a)) + opaque(f32(x.b))); });
       }},
      {"mul.rp.f32 %f0, %f1, %f2;", 'f',
       [](const Lane& x) {
         return under(FE_UPWARD, [&] { return bits(opaque(f32(x.a)) * opaque(f32(x.b))); });
       }},
      {"fma.rm.f32 %f0, %f1, %f2, %f3;", 'f',
       [](const Lane& x) {
         return under(FE_DOWNWARD, [&] {
           return bits(std::fma(opaque(f32(x.a)), opaque(f32(x.b)), opaque(f32(x.c))));
         });
       }},
      {"fma.rz.f64 %fd0, %fd1, %fd2, %fd3;", 'g',
       [](const Lane& x) {
         return under(FE_TOWARDZERO, [&] {
           return bits(std::fma(opaque(f64(x.a)), opaque(f64(x.b)), opaque(f64(x.c))));
         });
       }},
      {"add.rm.f64 %fd0, %fd1, %fd2;", 'g',
       [](const Lane& x) {
         return under(FE_DOWNWARD, [&] { return bits(opaque(f64(x.a)) + opaque(f64(x.b))); });
       }},
      {"div.rp.f32 %f0, %f1, %f2;", 'f',
       [](const Lane& x) {
         return under(FE_UPWARD, [&] { return bits(opaque(f32(x.a)) / opaque(f32(x.b))); });
       }},
      {"sqrt.rm.f32 %f0, %f1;", 'f',
       [](const Lane& x) {
         return under(FE_DOWNWARD, [&] { return bits(std::sqrt(opaque(f32(x.a)))); });
       }},
  });
}

TEST_CASE("flush to zero and saturation") {
  check_all({
      {"add.ftz.f32 %f0, %f1, %f2;", 'f',
       [](const Lane& x) { return bits(flush(flush(f32(x.a)) + flush(f32(x.b)))); }},
      {"mul.ftz.f32 %f0, %f1, %f2;", 'f',
       [](const Lane& x) { return bits(flush(flush(f32(x.a)) * flush(f32(x.b)))); }},
      {"add.sat.f32 %f0, %f1, %f2;", 'f',
       [](const Lane& x) { return bits(saturate(f32(x.a) + f32(x.b))); }},
      {"fma.rn.ftz.sat.f32 %f0, %f1, %f2, %f3;", 'f',
       [](const Lane& x) {
         return bits(saturate(flush(std::fma(flush(f32(x.a)), flush(f32(x.b)), flush(f32(x.c))))));
       }},
      {"setp.gt.ftz.f32 %p0, %f1, %f2;", 'p',
       [](const Lane& x) { return u64{flush(f32(x.a)) > flush(f32(x.b))}; }},
      {"cvt.ftz.f64.f32 %fd0, %f1;", 'g',
       [](const Lane& x) { return bits(static_cast<double>(flush(f32(x.a)))); }},
      {"cvt.sat.f32.f32 %f0, %f1;", 'f', [](const Lane& x) { return bits(saturate(f32(x.a))); }},
  });
}

TEST_CASE("minimum and maximum prefer numbers, and order the zeros") {
  check_all({
      {"min.f32 %f0, %f1, %f2;", 'f',
       [](const Lane& x) { return bits(smaller(f32(x.a), f32(x.b))); }},
      {"max.f32 %f0, %f1, %f2;", 'f',
       [](const Lane& x) { return bits(-smaller(-f32(x.a), -f32(x.b))); }},
      {"max.f64 %fd0, %fd1, %fd2;", 'g',
       [](const Lane& x) { return bits(-smaller(-f64(x.a), -f64(x.b))); }},
      {"min.NaN.f32 %f0, %f1, %f2;", 'f',
       [](const Lane& x) {
         const bool nan = std::isnan(f32(x.a)) || std::isnan(f32(x.b));
         return bits(nan ? NAN : smaller(f32(x.a), f32(x.b)));
       }},
  });
}

TEST_CASE("float comparisons, ordered and not") {
  const auto nan = [](const Lane& x) { return std::isnan(f32(x.a)) || std::isnan(f32(x.b)); };
  check_all({
      {"setp.lt.f32 %p0, %f1, %f2;", 'p', [](const Lane& x) { return u64{f32(x.a) < f32(x.b)}; }},
      {"setp.ne.f32 %p0, %f1, %f2;", 'p',
       [&](const Lane& x) { return u64{!nan(x) && f32(x.a) != f32(x.b)}; }},
      {"setp.neu.f32 %p0, %f1, %f2;", 'p', [](const Lane& x) { return u64{f32(x.a) != f32(x.b)}; }},
      {"setp.leu.f32 %p0, %f1, %f2;", 'p',
       [&](const Lane& x) { return u64{nan(x) || f32(x.a) <= f32(x.b)}; }},
      {"setp.equ.f32 %p0, %f1, %f2;", 'p',
       [&](const Lane& x) { return u64{nan(x) || f32(x.a) == f32(x.b)}; }},
      {"setp.num.f32 %p0, %f1, %f2;", 'p', [&](const Lane& x) { return u64{!nan(x)}; }},
      {"setp.nan.f32 %p0, %f1, %f2;", 'p', [&](const Lane& x) { return u64{nan(x)}; }},
      {"setp.ge.f64 %p0, %fd1, %fd2;", 'p',
       [](const Lane& x) { return u64{f64(x.a) >= f64(x.b)}; }},
      {"setp.gtu.f64 %p0, %fd1, %fd2;", 'p',
       [](const Lane& x) { return u64{!(f64(x.a) <= f64(x.b))}; }},
      {"testp.subnormal.f32 %p0, %f1;", 'p',
       [](const Lane& x) { return u64{std::fpclassify(f32(x.a)) == FP_SUBNORMAL}; }},
      {"testp.finite.f64 %p0, %fd1;", 'p',
       [](const Lane& x) { return u64{std::isfinite(f64(x.a))}; }},
      {"testp.notanumber.f32 %p0, %f1;", 'p',
       [](const Lane& x) { return u64{std::isnan(f32(x.a))}; }},
  });
}

TEST_CASE("approximate functions stay within their promised error") {
  check_all({
      {"ex2.approx.f32 %f0, %f1;", '~', [](const Lane& x) { return bits(std::exp2(f32(x.a))); }},
      {"lg2.approx.f32 %f0, %f1;", '~', [](const Lane& x) { return bits(std::log2(f32(x.a))); }},
      {"sin.approx.f32 %f0, %f1;", '~', [](const Lane& x) { return bits(std::sin(f32(x.a))); }},
      {"cos.approx.f32 %f0, %f1;", '~', [](const Lane& x) { return bits(std::cos(f32(x.a))); }},
      {"rsqrt.approx.f32 %f0, %f1;", '~',
       [](const Lane& x) {
         return bits(static_cast<float>(1.0 / std::sqrt(static_cast<double>(f32(x.a)))));
       }},
      {"rcp.approx.ftz.f32 %f0, %f1;", '~',
       [](const Lane& x) { return bits(flush(1.0f / flush(f32(x.a)))); }},
      {"sqrt.approx.f32 %f0, %f1;", '~', [](const Lane& x) { return bits(std::sqrt(f32(x.a))); }},
      {"div.full.f32 %f0, %f1, %f2;", '~', [](const Lane& x) { return bits(f32(x.a) / f32(x.b)); }},
  });
}

}  // namespace
}  // namespace farcall::softgpu::test
