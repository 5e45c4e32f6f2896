// Integer families against the host's arithmetic.
#include <doctest/doctest.h>

#include <algorithm>
#include <cstdlib>

#include "tests/gpu_server/software_gpu/exec/harness.h"

namespace farcall::softgpu::test {
namespace {

using u32 = std::uint32_t;
using u64 = std::uint64_t;
using s32 = std::int32_t;
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

s64 sd(u64 x) { return static_cast<s64>(x); }
u64 u(s64 x) { return static_cast<u64>(x); }
u64 u16(u64 x) { return x & 0xffff; }
u64 u32of(u64 x) { return x & 0xffffffff; }

TEST_CASE("addition, subtraction and multiplication wrap as the host's do") {
  check_all({
      {"add.s16 %h0, %h1, %h2;", 'h', [](const Lane& x) { return u16(x.a + x.b); }},
      {"add.u32 %r0, %r1, %r2;", 'r', [](const Lane& x) { return u32of(x.a + x.b); }},
      {"add.s32 %r0, %r1, -5;", 'r', [](const Lane& x) { return u32of(x.a - 5); }},
      {"add.s64 %rd0, %rd1, %rd2;", 'd', [](const Lane& x) { return x.a + x.b; }},
      {"sub.u16 %h0, %h1, %h2;", 'h', [](const Lane& x) { return u16(x.a - x.b); }},
      {"sub.s32 %r0, %r1, %r2;", 'r', [](const Lane& x) { return u32of(x.a - x.b); }},
      {"sub.s64 %rd0, %rd1, %rd2;", 'd', [](const Lane& x) { return x.a - x.b; }},
      {"mul.lo.s16 %h0, %h1, %h2;", 'h', [](const Lane& x) { return u16(u16(x.a) * u16(x.b)); }},
      {"mul.lo.s32 %r0, %r1, %r2;", 'r',
       [](const Lane& x) { return u32of(lo(x.a) * u64{lo(x.b)}); }},
      {"mul.lo.s64 %rd0, %rd1, %rd2;", 'd', [](const Lane& x) { return x.a * x.b; }},
      {"mul.wide.u16 %r0, %h1, %h2;", 'r', [](const Lane& x) { return u16(x.a) * u16(x.b); }},
      {"mul.wide.s16 %r0, %h1, %h2;", 'r',
       [](const Lane& x) { return u32of(u(s64{shalf(x.a)} * shalf(x.b))); }},
      {"mul.wide.u32 %rd0, %r1, %r2;", 'd', [](const Lane& x) { return u64{lo(x.a)} * lo(x.b); }},
      {"mul.wide.s32 %rd0, %r1, %r2;", 'd',
       [](const Lane& x) { return u(s64{slo(x.a)} * slo(x.b)); }},
      {"mul.hi.u16 %h0, %h1, %h2;", 'h',
       [](const Lane& x) { return u16(u16(x.a) * u16(x.b) >> 16); }},
      {"mul.hi.s16 %h0, %h1, %h2;", 'h',
       [](const Lane& x) { return u16(u(s64{shalf(x.a)} * shalf(x.b) >> 16)); }},
      {"mul.hi.u32 %r0, %r1, %r2;", 'r',
       [](const Lane& x) { return u64{lo(x.a)} * lo(x.b) >> 32; }},
      {"mul.hi.s32 %r0, %r1, %r2;", 'r',
       [](const Lane& x) { return u32of(u(s64{slo(x.a)} * slo(x.b) >> 32)); }},
      {"mul.hi.u64 %rd0, %rd1, %rd2;", 'd',
       [](const Lane& x) {
         return static_cast<u64>(static_cast<unsigned __int128>(x.a) * x.b >> 64);
       }},
      {"mul.hi.s64 %rd0, %rd1, %rd2;", 'd',
       [](const Lane& x) {
         return static_cast<u64>(static_cast<__int128>(sd(x.a)) * sd(x.b) >> 64);
       }},
      {"mad.lo.s32 %r0, %r1, %r2, %r3;", 'r',
       [](const Lane& x) { return u32of(lo(x.a) * u64{lo(x.b)} + x.c); }},
      {"mad.lo.s64 %rd0, %rd1, %rd2, %rd3;", 'd', [](const Lane& x) { return x.a * x.b + x.c; }},
      {"mad.lo.u16 %h0, %h1, %h2, %h3;", 'h',
       [](const Lane& x) { return u16(u16(x.a) * u16(x.b) + x.c); }},
      {"mad.wide.u32 %rd0, %r1, %r2, %rd3;", 'd',
       [](const Lane& x) { return u64{lo(x.a)} * lo(x.b) + x.c; }},
      {"mad.wide.s32 %rd0, %r1, %r2, %rd3;", 'd',
       [](const Lane& x) { return u(s64{slo(x.a)} * slo(x.b)) + x.c; }},
      {"mad.wide.s16 %r0, %h1, %h2, %r3;", 'r',
       [](const Lane& x) { return u32of(u(s64{shalf(x.a)} * shalf(x.b)) + x.c); }},
      {"mad.hi.s32 %r0, %r1, %r2, %r3;", 'r',
       [](const Lane& x) { return u32of(u(s64{slo(x.a)} * slo(x.b) >> 32) + x.c); }},
      {"mad.hi.u32 %r0, %r1, %r2, %r3;", 'r',
       [](const Lane& x) { return u32of((u64{lo(x.a)} * lo(x.b) >> 32) + x.c); }},
      {"mul24.lo.u32 %r0, %r1, %r2;", 'r',
       [](const Lane& x) { return u32of((x.a & 0xffffff) * (x.b & 0xffffff)); }},
      {"add.sat.s32 %r0, %r1, %r2;", 'r',
       [](const Lane& x) {
         const s64 sum = s64{slo(x.a)} + slo(x.b);
         return u32of(u(sum > INT32_MAX ? INT32_MAX : sum < INT32_MIN ? INT32_MIN : sum));
       }},
      {"sad.u32 %r0, %r1, %r2, %r3;", 'r',
       [](const Lane& x) {
         const u32 a = lo(x.a), b = lo(x.b);
         return u32of((a < b ? b - a : a - b) + x.c);
       }},
      {"sad.s32 %r0, %r1, %r2, %r3;", 'r',
       [](const Lane& x) {
         const s64 d = s64{slo(x.a)} - slo(x.b);
         return u32of(u(d < 0 ? -d : d) + x.c);
       }},
  });
}

TEST_CASE("division never stops the process") {
  check_all({
      {"div.u32 %r0, %r1, %r2;", 'r',
       [](const Lane& x) { return lo(x.b) == 0 ? 0xffffffff : lo(x.a) / lo(x.b); }},
      {"div.s32 %r0, %r1, %r2;", 'r',
       [](const Lane& x) { return u32of(slo(x.b) == 0 ? ~u64{0} : u(s64{slo(x.a)} / slo(x.b))); }},
      {"rem.u32 %r0, %r1, %r2;", 'r',
       [](const Lane& x) { return lo(x.b) == 0 ? lo(x.a) : lo(x.a) % lo(x.b); }},
      {"rem.s32 %r0, %r1, %r2;", 'r',
       [](const Lane& x) { return u32of(slo(x.b) == 0 ? x.a : u(s64{slo(x.a)} % slo(x.b))); }},
      {"div.s16 %h0, %h1, %h2;", 'h',
       [](const Lane& x) {
         return u16(shalf(x.b) == 0 ? ~u64{0} : u(s64{shalf(x.a)} / shalf(x.b)));
       }},
      {"div.u64 %rd0, %rd1, %rd2;", 'd',
       [](const Lane& x) { return x.b == 0 ? ~u64{0} : x.a / x.b; }},
      {"div.s64 %rd0, %rd1, %rd2;", 'd',
       [](const Lane& x) {
         return x.b == 0 ? ~u64{0} : sd(x.b) == -1 ? u64{0} - x.a : u(sd(x.a) / sd(x.b));
       }},
      {"rem.s64 %rd0, %rd1, %rd2;", 'd',
       [](const Lane& x) { return x.b == 0        ? x.a
                                  : sd(x.b) == -1 ? 0
                                                  : u(sd(x.a) % sd(x.b)); }},
  });
}

TEST_CASE("logic and shifts, amounts beyond the width included") {
  check_all({
      {"and.b32 %r0, %r1, %r2;", 'r', [](const Lane& x) { return u32of(x.a & x.b); }},
      {"or.b64 %rd0, %rd1, %rd2;", 'd', [](const Lane& x) { return x.a | x.b; }},
      {"xor.b16 %h0, %h1, %h2;", 'h', [](const Lane& x) { return u16(x.a ^ x.b); }},
      {"not.b32 %r0, %r1;", 'r', [](const Lane& x) { return u32of(~x.a); }},
      {"not.b64 %rd0, %rd1;", 'd', [](const Lane& x) { return ~x.a; }},
      {"cnot.b32 %r0, %r1;", 'r', [](const Lane& x) { return u64{lo(x.a) == 0 ? 1u : 0u}; }},
      {"shl.b32 %r0, %r1, %r2;", 'r',
       [](const Lane& x) { return lo(x.b) > 31 ? 0 : u32of(x.a << lo(x.b)); }},
      {"shl.b64 %rd0, %rd1, %r2;", 'd',
       [](const Lane& x) { return lo(x.b) > 63 ? 0 : x.a << lo(x.b); }},
      {"shl.b16 %h0, %h1, %r2;", 'h',
       [](const Lane& x) { return lo(x.b) > 15 ? 0 : u16(x.a << lo(x.b)); }},
      {"shr.u32 %r0, %r1, %r2;", 'r',
       [](const Lane& x) { return lo(x.b) > 31 ? 0 : lo(x.a) >> lo(x.b); }},
      {"shr.s32 %r0, %r1, %r2;", 'r',
       [](const Lane& x) { return u32of(u(slo(x.a) >> (lo(x.b) > 31 ? 31 : lo(x.b)))); }},
      {"shr.s64 %rd0, %rd1, %r2;", 'd',
       [](const Lane& x) { return u(sd(x.a) >> (lo(x.b) > 63 ? 63 : lo(x.b))); }},
      {"shr.s16 %h0, %h1, %r2;", 'h',
       [](const Lane& x) { return u16(u(shalf(x.a) >> (lo(x.b) > 15 ? 15 : lo(x.b)))); }},
      {"shr.u16 %h0, %h1, %r2;", 'h',
       [](const Lane& x) { return lo(x.b) > 15 ? 0 : u16(x.a) >> lo(x.b); }},
      {"shf.l.wrap.b32 %r0, %r1, %r2, %r3;", 'r',
       [](const Lane& x) { return u32of((u64{lo(x.b)} << 32 | lo(x.a)) << (x.c & 31) >> 32); }},
      {"shf.r.clamp.b32 %r0, %r1, %r2, %r3;", 'r',
       [](const Lane& x) {
         return u32of((u64{lo(x.b)} << 32 | lo(x.a)) >> (lo(x.c) > 32 ? 32 : lo(x.c)));
       }},
      {"lop3.b32 %r0, %r1, %r2, %r3, 0xe8;", 'r',
       [](const Lane& x) { return u32of((x.a & x.b) | (x.a & x.c) | (x.b & x.c)); }},
      {"lop3.b32 %r0, %r1, %r2, %r3, 0x96;", 'r',
       [](const Lane& x) { return u32of(x.a ^ x.b ^ x.c); }},
  });
}

u32 popcount(u64 x) {
  u32 n = 0;
  for (; x != 0; x &= x - 1) ++n;
  return n;
}

TEST_CASE("bit counting and bit fields follow the manual's bit-by-bit definition") {
  const auto bfe = [](u64 a, u32 pos, u32 len, u32 width, bool is_signed) {
    pos &= 0xff;
    len &= 0xff;
    const u32 msb = width - 1;
    const u32 top = pos + len - 1 < msb ? pos + len - 1 : msb;
    const u64 sign = is_signed && len != 0 ? a >> top & 1 : 0;
    u64 d = 0;
    for (u32 i = 0; i < width; ++i)
      d |= (i < len && pos + i <= msb ? a >> (pos + i) & 1 : sign) << i;
    return d;
  };
  const auto bfi = [](u64 a, u64 b, u32 pos, u32 len, u32 width) {
    pos &= 0xff;
    len &= 0xff;
    for (u32 i = 0; i < len && pos + i < width; ++i) {
      b = (b & ~(u64{1} << (pos + i))) | (a >> i & 1) << (pos + i);
    }
    return b;
  };
  check_all({
      {"popc.b32 %r0, %r1;", 'r', [](const Lane& x) { return u64{popcount(lo(x.a))}; }},
      {"popc.b64 %r0, %rd1;", 'r', [](const Lane& x) { return u64{popcount(x.a)}; }},
      {"clz.b32 %r0, %r1;", 'r',
       [](const Lane& x) { return lo(x.a) == 0 ? 32 : u64(__builtin_clz(lo(x.a))); }},
      {"clz.b64 %r0, %rd1;", 'r',
       [](const Lane& x) { return x.a == 0 ? 64 : u64(__builtin_clzll(x.a)); }},
      {"bfind.u32 %r0, %r1;", 'r',
       [](const Lane& x) { return lo(x.a) == 0 ? 0xffffffff : 31 - u64(__builtin_clz(lo(x.a))); }},
      {"bfind.s32 %r0, %r1;", 'r',
       [](const Lane& x) {
         const u32 v = slo(x.a) < 0 ? ~lo(x.a) : lo(x.a);
         return v == 0 ? 0xffffffff : 31 - u64(__builtin_clz(v));
       }},
      {"bfind.shiftamt.u64 %r0, %rd1;", 'r',
       [](const Lane& x) { return x.a == 0 ? 0xffffffff : u64(__builtin_clzll(x.a)); }},
      {"brev.b32 %r0, %r1;", 'r',
       [](const Lane& x) {
         u64 d = 0;
         for (int i = 0; i < 32; ++i) d |= (x.a >> i & 1) << (31 - i);
         return d;
       }},
      {"brev.b64 %rd0, %rd1;", 'd',
       [](const Lane& x) {
         u64 d = 0;
         for (int i = 0; i < 64; ++i) d |= (x.a >> i & 1) << (63 - i);
         return d;
       }},
      {"bfe.u32 %r0, %r1, %r2, %r3;", 'r',
       [&](const Lane& x) { return bfe(lo(x.a), lo(x.b), lo(x.c), 32, false); }},
      {"bfe.s32 %r0, %r1, %r2, %r3;", 'r',
       [&](const Lane& x) { return bfe(lo(x.a), lo(x.b), lo(x.c), 32, true); }},
      {"bfe.u64 %rd0, %rd1, %r2, %r3;", 'd',
       [&](const Lane& x) { return bfe(x.a, lo(x.b), lo(x.c), 64, false); }},
      {"bfe.s64 %rd0, %rd1, %r2, %r3;", 'd',
       [&](const Lane& x) { return bfe(x.a, lo(x.b), lo(x.c), 64, true); }},
      {"bfi.b32 %r0, %r1, %r2, %r3, 7;", 'r',
       [&](const Lane& x) { return bfi(lo(x.a), lo(x.b), lo(x.c), 7, 32); }},
      {"bfi.b64 %rd0, %rd1, %rd2, 13, %r3;", 'd',
       [&](const Lane& x) { return bfi(x.a, x.b, 13, lo(x.c), 64); }},
      {"bmsk.clamp.b32 %r0, 4, 8;", 'r', [](const Lane&) { return u64{0xff0}; }},
      {"bmsk.clamp.b32 %r0, 28, 8;", 'r', [](const Lane&) { return u64{0xf0000000}; }},
      {"prmt.b32 %r0, %r1, %r2, 0x5410;", 'r',
       [](const Lane& x) { return u32of(x.b << 16 | (x.a & 0xffff)); }},
      {"prmt.b32 %r0, %r1, %r2, 0x8880;", 'r',
       [](const Lane& x) {
         const u64 sign = (x.a & 0x80) != 0 ? 0xffffff00 : 0;
         return sign | (x.a & 0xff);
       }},
      {"dp4a.s32.s32 %r0, %r1, %r2, %r3;", 'r',
       [](const Lane& x) {
         s64 sum = slo(x.c);
         for (int k = 0; k < 4; ++k) {
           sum += s64{static_cast<std::int8_t>(x.a >> (8 * k))} *
                  static_cast<std::int8_t>(x.b >> (8 * k));
         }
         return u32of(u(sum));
       }},
  });
}

TEST_CASE("bytes and halves of a word, each alone") {
  Device device;
  const auto byte = [](u64 x, int k) { return static_cast<int>(x >> (8 * k) & 0xff); };
  const auto signed_byte = [](u64 x, int k) { return static_cast<std::int8_t>(x >> (8 * k)); };
  check_lanes(device, "vabsdiff4.u32.u32.u32.add %r0, %r1, %r2, %r3;", 'r', [&](const Lane& x) {
    u32 sum = lo(x.c);
    for (int k = 0; k < 4; ++k) {
      sum += static_cast<u32>(std::abs(byte(x.a, k) - byte(x.b, k)));
    }
    return u64{sum};
  });
  check_lanes(device, "vabsdiff4.u32.u32.u32 %r0, %r1, %r2, %r3;", 'r', [&](const Lane& x) {
    u32 word = 0;
    for (int k = 0; k < 4; ++k) {
      word |= static_cast<u32>(std::abs(byte(x.a, k) - byte(x.b, k))) << (8 * k);
    }
    return u64{word};
  });
  check_lanes(device, "vadd4.s32.s32.s32.sat %r0, %r1, %r2, %r3;", 'r', [&](const Lane& x) {
    u32 word = 0;
    for (int k = 0; k < 4; ++k) {
      const int sum = signed_byte(x.a, k) + signed_byte(x.b, k);
      word |= (static_cast<u32>(sum < -128 ? -128 : sum > 127 ? 127 : sum) & 0xffu) << (8 * k);
    }
    return u64{word};
  });
  check_lanes(device, "vmin2.s32.s32.s32 %r0, %r1, %r2, %r3;", 'r', [](const Lane& x) {
    const std::int16_t low = std::min(shalf(x.a), shalf(x.b));
    const std::int16_t high = std::min(shalf(x.a >> 16), shalf(x.b >> 16));
    return u64{static_cast<std::uint16_t>(low)} | u64{static_cast<std::uint16_t>(high)} << 16;
  });
}

TEST_CASE("minimum, maximum, negation and absolute value") {
  check_all({
      {"min.s32 %r0, %r1, %r2;", 'r',
       [](const Lane& x) { return u32of(u(std::min(slo(x.a), slo(x.b)))); }},
      {"max.u32 %r0, %r1, %r2;", 'r',
       [](const Lane& x) { return u64{std::max(lo(x.a), lo(x.b))}; }},
      {"min.u64 %rd0, %rd1, %rd2;", 'd', [](const Lane& x) { return std::min(x.a, x.b); }},
      {"max.s64 %rd0, %rd1, %rd2;", 'd',
       [](const Lane& x) { return u(std::max(sd(x.a), sd(x.b))); }},
      {"max.s16 %h0, %h1, %h2;", 'h',
       [](const Lane& x) { return u16(u(std::max(shalf(x.a), shalf(x.b)))); }},
      {"neg.s32 %r0, %r1;", 'r', [](const Lane& x) { return u32of(0 - x.a); }},
      {"neg.s64 %rd0, %rd1;", 'd', [](const Lane& x) { return 0 - x.a; }},
      {"abs.s32 %r0, %r1;", 'r', [](const Lane& x) { return u32of(slo(x.a) < 0 ? 0 - x.a : x.a); }},
      {"abs.s64 %rd0, %rd1;", 'd', [](const Lane& x) { return sd(x.a) < 0 ? 0 - x.a : x.a; }},
      {"abs.s16 %h0, %h1;", 'h', [](const Lane& x) { return u16(shalf(x.a) < 0 ? 0 - x.a : x.a); }},
  });
}

TEST_CASE("carries run from word to word") {
  check_all({
      {"add.cc.u32 %r4, %r1, %r2; addc.u32 %r0, %r3, 0;", 'r',
       [](const Lane& x) { return u32of(((u64{lo(x.a)} + lo(x.b)) >> 32) + x.c); }},
      {"sub.cc.u32 %r4, %r1, %r2; subc.u32 %r0, %r3, 0;", 'r',
       [](const Lane& x) { return u32of(x.c - (lo(x.a) < lo(x.b) ? 1 : 0)); }},
      {"mad.lo.cc.u32 %r4, %r1, %r2, %r3; madc.hi.u32 %r0, %r1, %r2, 0;", 'r',
       [](const Lane& x) { return u32of((u64{lo(x.a)} * lo(x.b) + lo(x.c)) >> 32); }},
      {"add.cc.u64 %rd4, %rd1, %rd2; addc.u64 %rd0, %rd3, 0;", 'd',
       [](const Lane& x) { return x.c + (x.a + x.b < x.a ? 1 : 0); }},
  });
}

TEST_CASE("comparisons, selections and sets") {
  check_all({
      {"setp.lt.s32 %p0, %r1, %r2;", 'p', [](const Lane& x) { return u64{slo(x.a) < slo(x.b)}; }},
      {"setp.lo.u32 %p0, %r1, %r2;", 'p', [](const Lane& x) { return u64{lo(x.a) < lo(x.b)}; }},
      {"setp.eq.b64 %p0, %rd1, %rd2;", 'p', [](const Lane& x) { return u64{x.a == x.b}; }},
      {"setp.ge.s64 %p0, %rd1, %rd2;", 'p', [](const Lane& x) { return u64{sd(x.a) >= sd(x.b)}; }},
      {"setp.gt.s16 %p0, %h1, %h2;", 'p',
       [](const Lane& x) { return u64{shalf(x.a) > shalf(x.b)}; }},
      {"setp.ne.u16 %p0, %h1, %h2;", 'p',
       [](const Lane& x) { return u64{half(x.a) != half(x.b)}; }},
      {"setp.eq.s32 %p1, %r3, 0; setp.lt.and.s32 %p0|%p2, %r1, %r2, !%p1;", 'p',
       [](const Lane& x) { return u64{slo(x.a) < slo(x.b) && lo(x.c) != 0}; }},
      {"setp.eq.s32 %p1, %r3, 0; setp.lt.or.s32 %p2|%p0, %r1, %r2, %p1;", 'p',
       [](const Lane& x) { return u64{slo(x.a) >= slo(x.b) || lo(x.c) == 0}; }},
      {"setp.lt.u32 %p1, %r1, %r2; selp.b32 %r0, %r1, %r3, %p1;", 'r',
       [](const Lane& x) { return u32of(lo(x.a) < lo(x.b) ? x.a : x.c); }},
      {"setp.lt.u32 %p1, %r1, %r2; selp.b64 %rd0, %rd1, %rd3, %p1;", 'd',
       [](const Lane& x) { return lo(x.a) < lo(x.b) ? x.a : x.c; }},
      {"slct.u32.s32 %r0, %r1, %r2, %r3;", 'r',
       [](const Lane& x) { return u32of(slo(x.c) >= 0 ? x.a : x.b); }},
      {"set.gt.u32.s32 %r0, %r1, %r2;", 'r',
       [](const Lane& x) { return u64{slo(x.a) > slo(x.b) ? 0xffffffff : 0}; }},
      {"set.le.f32.u32 %f0, %r1, %r2;", 'f',
       [](const Lane& x) { return u64{lo(x.a) <= lo(x.b) ? 0x3f800000u : 0u}; }},
      {"setp.lt.u32 %p1, %r1, %r2; setp.lt.u32 %p2, %r2, %r3; xor.pred %p0, %p1, %p2;", 'p',
       [](const Lane& x) { return u64{(lo(x.a) < lo(x.b)) != (lo(x.b) < lo(x.c))}; }},
      {"setp.lt.u32 %p1, %r1, %r2; mov.u32 %r0, 7; @%p1 add.u32 %r0, %r3, 1; @!%p1 bra L1;"
       " add.u32 %r0, %r0, 1; L1: @!%p1 add.u32 %r0, %r0, 2;",
       'r', [](const Lane& x) { return u32of(lo(x.a) < lo(x.b) ? x.c + 2 : 9); }},
  });
}

TEST_CASE("moves pack and unpack") {
  check_all({
      {"mov.b64 %rd0, {%r1, %r2};", 'd',
       [](const Lane& x) { return u64{lo(x.b)} << 32 | lo(x.a); }},
      {"mov.b64 {%r4, %r0}, %rd1;", 'r', [](const Lane& x) { return x.a >> 32; }},
      {"mov.b64 {_, %r0}, %rd1;", 'r', [](const Lane& x) { return x.a >> 32; }},
      {"mov.b32 %r0, {%h1, %h2};", 'r',
       [](const Lane& x) { return u64{half(x.b)} << 16 | half(x.a); }},
      {"mov.b32 {%h4, %h0}, %r1;", 'h', [](const Lane& x) { return u16(x.a >> 16); }},
      {"mov.b64 %rd0, {%h1, %h2, %h3, %h1};", 'd',
       [](const Lane& x) { return u16(x.a) | u16(x.b) << 16 | u16(x.c) << 32 | u16(x.a) << 48; }},
      {"mov.u32 %r0, 0xfffffffe;", 'r', [](const Lane&) { return u64{0xfffffffe}; }},
      {"mov.f64 %fd0, 0d3ff8000000000000;", 'g', [](const Lane&) { return bits(1.5); }},
      {"mov.f32 %f0, 0f40490FDB;", 'f', [](const Lane&) { return u64{0x40490fdb}; }},
  });
}

}  // namespace
}  // namespace farcall::softgpu::test
