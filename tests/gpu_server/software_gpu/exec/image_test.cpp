// Texture and surface instructions against plain models of what they read and write.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>

#include "tests/gpu_server/software_gpu/exec/harness.h"

namespace farcall::softgpu::test {
namespace {

using u8 = std::uint8_t;
using u32 = std::uint32_t;
using u64 = std::uint64_t;

struct Float4 {
  float x = 0, y = 0, z = 0, w = 0;
};
struct Four {
  u32 channel[4];
  float f(int c) const { return f32(channel[c]); }
};

// A device with one image object, number 7, and a kernel that reads or writes it once a thread.
class ImageRun {
 public:
  explicit ImageRun(ImageView view) { images_.add(7, std::move(view)); }

  // Each thread runs `instruction` with its input as %f1-4 (bits: %r5-8) and leaves %r1-4.
  std::vector<Four> run(const std::string& instruction, const std::vector<Float4>& inputs) {
    auto* in = device.array<Float4>(inputs.size());
    auto* out = device.array<Four>(inputs.size());
    std::copy(inputs.begin(), inputs.end(), in);
    const auto program =
        load(device,
             module_of(".param .u64 object, .param .u64 in, .param .u64 out",
                       ".reg .b32 %r<16>; .reg .f32 %f<8>; .reg .b64 %rd<12>; .reg .pred %p<4>;\n"
                       ".reg .b16 %h<8>;\n"
                       " ld.param.u64 %rd1, [object]; ld.param.u64 %rd2, [in]; ld.param.u64 %rd3, "
                       "[out]; mov.u32 %r10, %tid.x; mul.wide.u32 %rd4, %r10, 16;\n"
                       " add.s64 %rd2, %rd2, %rd4; add.s64 %rd3, %rd3, %rd4;\n"
                       " ld.global.v4.f32 {%f1, %f2, %f3, %f4}, [%rd2];\n"
                       " ld.global.v4.u32 {%r5, %r6, %r7, %r8}, [%rd2];\n"
                       " mov.u32 %r1, 0; mov.u32 %r2, 0; mov.u32 %r3, 0; mov.u32 %r4, 0;\n " +
                           instruction + "\n st.global.v4.u32 [%rd3], {%r1, %r2, %r3, %r4};"));
    const std::vector<std::byte> params = pack(object, in, out);
    Launch launch;
    launch.kernel = program->kernel("k");
    launch.block[0] = static_cast<unsigned>(inputs.size());
    launch.params = params;
    launch.images = &images_;
    fault = device.engine().run(launch);
    return {out, out + inputs.size()};
  }
  std::vector<Four> read(const std::string& instruction, const std::vector<Float4>& inputs) {
    std::vector<Four> texels = run(instruction, inputs);
    REQUIRE_MESSAGE(fault.kind == FaultKind::kNone, fault.text);
    return texels;
  }

  Device device;
  Fault fault;
  u64 object = 7;

 private:
  Images images_;
};

ImageLevel level_at(const void* base, u32 width, u32 height, u32 slices, u32 texel_bytes) {
  ImageLevel level;
  level.base = reinterpret_cast<u64>(base);
  level.width = width;
  level.height = height;
  level.slices = slices;
  level.row_bytes = u64{width} * texel_bytes;
  level.slice_bytes = level.row_bytes * height;
  return level;
}

// Host memory that kernels may read, as an image of floats.
struct Picture {
  Picture(u32 w, u32 h, u32 s) : width(w), height(h), slices(s), texels(std::size_t{w} * h * s) {
    for (std::size_t n = 0; n < texels.size(); ++n) {
      texels[n] = static_cast<float>((n * 37) % 101) - 20.0f;
    }
  }
  float at(u32 x, u32 y, u32 z = 0) const { return texels[(z * height + y) * width + x]; }
  ImageView view(Sampler sampler) const {
    ImageView made;
    made.image.channel = Channel::kF32;
    made.image.levels = {level_at(texels.data(), width, height, slices, 4)};
    made.sampler = sampler;
    return made;
  }
  u32 width, height, slices;
  std::vector<float> texels;
};

template <class T>
void map(ImageRun& run, std::vector<T>& texels) {
  REQUIRE(run.device.memory().map_host(texels.data(), texels.size() * sizeof(T)).ok());
}

std::vector<Float4> positions(float low, float high) {
  std::vector<Float4> all;
  for (int n = 0; n < 61; ++n) {
    const float t = static_cast<float>(n) / 60;
    all.push_back({low + (high - low) * t, high - (high - low) * t * t, low + (high - low) * t * t,
                   static_cast<float>(n % 5)});
  }
  return all;
}

// Where index i of n texels lies under an edge rule; -1 is the border.
int placed(EdgeRule edge, bool normalized, int i, int n) {
  if (i >= 0 && i < n) return i;
  if (edge == EdgeRule::kBorder) return -1;
  if (!normalized || edge == EdgeRule::kClamp) return i < 0 ? 0 : n - 1;
  const int period = edge == EdgeRule::kWrap ? n : 2 * n;
  const int inside = ((i % period) + period) % period;
  return inside < n ? inside : period - 1 - inside;
}

double model_2d(const Picture& picture, const Sampler& sampler, double x, double y) {
  const int n[2] = {static_cast<int>(picture.width), static_cast<int>(picture.height)};
  double at[2] = {x, y};
  int low[2];
  double upper[2] = {0, 0};
  for (int axis = 0; axis < 2; ++axis) {
    if (sampler.normalized) at[axis] *= n[axis];
    if (sampler.linear) at[axis] -= 0.5;
    low[axis] = static_cast<int>(std::floor(at[axis]));
    if (sampler.linear) upper[axis] = at[axis] - std::floor(at[axis]);
  }
  double sum = 0;
  for (int corner = 0; corner < 4; ++corner) {
    const int dx = corner & 1, dy = corner >> 1;
    const double share = (dx ? upper[0] : 1 - upper[0]) * (dy ? upper[1] : 1 - upper[1]);
    const int column = placed(sampler.edge[0], sampler.normalized, low[0] + dx, n[0]);
    const int row = placed(sampler.edge[1], sampler.normalized, low[1] + dy, n[1]);
    const bool outside = column < 0 || row < 0;
    sum += share * static_cast<double>(
                       outside ? sampler.border[0]
                               : picture.at(static_cast<u32>(column), static_cast<u32>(row)));
  }
  return sum;
}

TEST_CASE("2D reads follow every edge rule, nearest and filtered, in texels and in 0 to 1") {
  Picture picture(13, 7, 1);
  for (const EdgeRule edge :
       {EdgeRule::kWrap, EdgeRule::kClamp, EdgeRule::kMirror, EdgeRule::kBorder}) {
    for (int form = 0; form < 4; ++form) {
      Sampler sampler;
      sampler.edge[0] = edge;
      sampler.edge[1] = edge;
      sampler.linear = (form & 1) != 0;
      sampler.normalized = (form & 2) != 0;
      sampler.border[0] = 5;
      ImageRun run(picture.view(sampler));
      map(run, picture.texels);
      const auto where = sampler.normalized ? positions(-1.73f, 2.41f) : positions(-9.3f, 21.4f);
      const auto read =
          run.read("tex.2d.v4.f32.f32 {%r1, %r2, %r3, %r4}, [%rd1, {%f1, %f2}];", where);
      for (std::size_t n = 0; n < where.size(); ++n) {
        const double want = model_2d(picture, sampler, static_cast<double>(where[n].x),
                                     static_cast<double>(where[n].y));
        // Eight bits of weight on each axis of values that differ by up to 101.
        const double slack = sampler.linear ? 101.0 / 256 : 0;
        CHECK_MESSAGE(std::fabs(static_cast<double>(read[n].f(0)) - want) <= slack,
                      "edge " << static_cast<int>(edge) << " form " << form << " at " << where[n].x
                              << ", " << where[n].y);
      }
    }
  }
}

TEST_CASE("filter weights have eight bits") {
  std::vector<float> texels = {0, 256};
  ImageView view;
  view.image.channel = Channel::kF32;
  view.image.levels = {level_at(texels.data(), 2, 1, 1, 4)};
  view.sampler.linear = true;
  ImageRun run(view);
  map(run, texels);
  const auto read = run.read("tex.1d.v4.f32.f32 {%r1, %r2, %r3, %r4}, [%rd1, {%f1}];",
                             {{0.5f + 0.3f}, {0.5f + 1.0f / 1024}, {1.25f}, {1.4999f}});
  CHECK(read[0].f(0) == 77);  // 0.3 * 256 = 76.8
  CHECK(read[1].f(0) == 0);
  CHECK(read[2].f(0) == 192);
  CHECK(read[3].f(0) == 256);
}

TEST_CASE("plain memory is read by whole numbers, and as zero beyond its end") {
  std::vector<float> texels = {1, 2, 3, 4, 5, 6};
  ImageView view;
  view.image.channel = Channel::kF32;
  view.image.channels = 2;
  view.image.is_linear = true;
  view.image.levels = {level_at(texels.data(), 3, 1, 1, 8)};
  ImageRun run(view);
  map(run, texels);
  const auto read =
      run.read("cvt.rzi.s32.f32 %r9, %f1; tex.1d.v4.f32.s32 {%r1, %r2, %r3, %r4}, [%rd1, {%r9}];",
               {{0}, {2}, {3}, {-1}});
  CHECK(read[0].f(0) == 1);
  CHECK(read[0].f(1) == 2);
  CHECK(read[1].f(1) == 6);
  CHECK(read[2].f(0) == 0);
  CHECK(read[3].f(1) == 0);
}

TEST_CASE("3D and layered images: depth is filtered, layers are chosen and held in range") {
  Picture picture(5, 4, 3);
  Sampler sampler;
  sampler.linear = true;
  ImageRun run(picture.view(sampler));
  map(run, picture.texels);
  const auto deep =
      run.read("tex.3d.v4.f32.f32 {%r1, %r2, %r3, %r4}, [%rd1, {%f1, %f2, %f3, %f3}];",
               {{1.5f, 2.5f, 0.5f}, {1.5f, 2.5f, 1.0f}, {1.5f, 2.5f, 9.0f}, {2.0f, 2.5f, 1.5f}});
  CHECK(deep[0].f(0) == picture.at(1, 2, 0));
  CHECK(deep[1].f(0) == (picture.at(1, 2, 0) + picture.at(1, 2, 1)) / 2);
  CHECK(deep[2].f(0) == picture.at(1, 2, 2));
  CHECK(deep[3].f(0) == (picture.at(1, 2, 1) + picture.at(2, 2, 1)) / 2);
  const auto layers = run.read(
      "cvt.rzi.u32.f32 %r9, %f3;\n"
      "tex.a2d.v4.f32.f32 {%r1, %r2, %r3, %r4}, [%rd1, {%r9, %f1, %f2, %f2}];",
      {{1.5f, 2.5f, 0}, {1.5f, 2.5f, 2}, {1.5f, 2.5f, 99}});
  CHECK(layers[0].f(0) == picture.at(1, 2, 0));
  CHECK(layers[1].f(0) == picture.at(1, 2, 2));
  CHECK(layers[2].f(0) == picture.at(1, 2, 2));
}

TEST_CASE("a cube is read by direction, a cube of a stack by layer, too") {
  std::vector<float> texels;
  for (int face = 0; face < 12; ++face) {
    for (int n = 0; n < 4; ++n) texels.push_back(static_cast<float>(face * 10 + n));
  }
  ImageView view;
  view.image.channel = Channel::kF32;
  view.image.levels = {level_at(texels.data(), 2, 2, 12, 4)};
  view.sampler.normalized = true;
  ImageRun run(view);
  map(run, texels);
  // Per face: where its first texel (left, top) lies; from the table of the programming guide.
  const std::vector<Float4> first = {{1, 0.5f, 0.5f},   {-1, 0.5f, -0.5f}, {-0.5f, 1, -0.5f},
                                     {-0.5f, -1, 0.5f}, {-0.5f, 0.5f, 1},  {0.5f, 0.5f, -1}};
  const auto cube =
      run.read("tex.cube.v4.f32.f32 {%r1, %r2, %r3, %r4}, [%rd1, {%f1, %f2, %f3, %f3}];", first);
  for (std::size_t face = 0; face < 6; ++face) {
    CHECK(cube[face].f(0) == static_cast<float>(face * 10));
  }
  const auto second = run.read(
      "mov.u32 %r9, 1;\n"
      "tex.acube.v4.f32.f32 {%r1, %r2, %r3, %r4}, [%rd1, {%r9, %f1, %f2, %f3}];",
      first);
  for (std::size_t face = 0; face < 6; ++face) {
    CHECK(second[face].f(0) == static_cast<float>(60 + face * 10));
  }
}

TEST_CASE("levels: the nearest or a mixture, from a number or from steps") {
  std::vector<float> texels(16 + 4 + 1);
  std::fill(texels.begin(), texels.begin() + 16, 100.0f);
  std::fill(texels.begin() + 16, texels.begin() + 20, 200.0f);
  texels[20] = 400;
  ImageView view;
  view.image.channel = Channel::kF32;
  view.image.levels = {level_at(&texels[0], 4, 4, 1, 4), level_at(&texels[16], 2, 2, 1, 4),
                       level_at(&texels[20], 1, 1, 1, 4)};
  view.sampler.normalized = true;
  view.sampler.max_level = 9;
  const char* const by_level =
      "tex.level.2d.v4.f32.f32 {%r1, %r2, %r3, %r4}, [%rd1, {%f1, %f2}], %f3;";
  const std::vector<Float4> where = {{0.4f, 0.4f, -3},
                                     {0.4f, 0.4f, 0.4f},
                                     {0.4f, 0.4f, 0.6f},
                                     {0.4f, 0.4f, 1.5f},
                                     {0.4f, 0.4f, 8}};
  ImageRun near_level(view);
  map(near_level, texels);
  auto read = near_level.read(by_level, where);
  CHECK(read[0].f(0) == 100);
  CHECK(read[1].f(0) == 100);
  CHECK(read[2].f(0) == 200);
  CHECK(read[4].f(0) == 400);
  CHECK(near_level.read("tex.2d.v4.f32.f32 {%r1, %r2, %r3, %r4}, [%rd1, {%f1, %f2}];", where)[0].f(
            0) == 100);
  view.sampler.mip_linear = true;
  ImageRun mixed(view);
  map(mixed, texels);
  read = mixed.read(by_level, where);
  CHECK(read[0].f(0) == 100);
  CHECK(read[2].f(0) == doctest::Approx(160).epsilon(0.01));
  CHECK(read[3].f(0) == 300);
  CHECK(read[4].f(0) == 400);
  // Two texels a step are one level up; so is half the image of four.
  const auto steps = mixed.read(
      "tex.grad.2d.v4.f32.f32 {%r1, %r2, %r3, %r4}, [%rd1, {%f1, %f2}], {%f3, %f4}, {%f4, %f3};",
      {{0.4f, 0.4f, 0.5f, 0}, {0.4f, 0.4f, 0.25f, 0}, {0.4f, 0.4f, 1, 0}});
  CHECK(steps[0].f(0) == 200);
  CHECK(steps[1].f(0) == 100);
  CHECK(steps[2].f(0) == 400);
}

TEST_CASE("a layer of a 3D image is held in range of the level that is read") {
  std::vector<float> texels(64 + 8 + 64, -1.0f);  // 4 x 4 x 4, 2 x 2 x 2, somebody else's
  std::fill(texels.begin(), texels.begin() + 64, 100.0f);
  std::fill(texels.begin() + 64, texels.begin() + 68, 200.0f);
  std::fill(texels.begin() + 68, texels.begin() + 72, 201.0f);
  ImageView view;
  view.image.channel = Channel::kF32;
  view.image.levels = {level_at(&texels[0], 4, 4, 4, 4), level_at(&texels[64], 2, 2, 2, 4)};
  view.sampler.normalized = true;
  view.sampler.max_level = 9;
  ImageRun run(view);
  map(run, texels);
  const auto read = run.read(
      "cvt.rzi.u32.f32 %r9, %f3;\n"
      "tex.level.a2d.v4.f32.f32 {%r1, %r2, %r3, %r4}, [%rd1, {%r9, %f1, %f2, %f2}], %f4;",
      {{0.4f, 0.4f, 3, 0}, {0.4f, 0.4f, 0, 1}, {0.4f, 0.4f, 1, 1}, {0.4f, 0.4f, 3, 1}});
  CHECK(read[0].f(0) == 100);
  CHECK(read[1].f(0) == 200);
  CHECK(read[2].f(0) == 201);
  CHECK(read[3].f(0) == 201);
}

TEST_CASE("small integers become floats or stay, halves become floats") {
  std::vector<u8> texels = {255, 128, 0, 1, 0x80, 0x7f, 0x00, 0x3c};
  const auto one = [&](Channel channel, u32 channels, bool as_integer) {
    ImageView view;
    view.image.channel = channel;
    view.image.channels = channels;
    view.image.levels = {level_at(texels.data(), 8 / (channels * channel_bytes(channel)), 1, 1,
                                  channels * channel_bytes(channel))};
    view.sampler.as_integer = as_integer;
    return view;
  };
  const auto texel = [&](const ImageView& view, float x) {
    ImageRun run(view);
    map(run, texels);
    return run.read("tex.1d.v4.u32.f32 {%r1, %r2, %r3, %r4}, [%rd1, {%f1}];", {{x}})[0];
  };
  Four read = texel(one(Channel::kU8, 4, false), 0);
  CHECK(read.f(0) == 1);
  CHECK(read.f(1) == 128.0f / 255);
  CHECK(read.f(2) == 0);
  CHECK(read.f(3) == 1.0f / 255);
  read = texel(one(Channel::kU8, 4, true), 0);
  CHECK(read.channel[0] == 255);
  CHECK(read.channel[3] == 1);
  read = texel(one(Channel::kS8, 2, true), 2);
  CHECK(read.channel[0] == 0xffffff80u);
  CHECK(read.channel[1] == 0x7f);
  CHECK(read.channel[2] == 0);
  read = texel(one(Channel::kS8, 2, false), 2);
  CHECK(read.f(0) == -1);
  CHECK(read.f(1) == 1);
  CHECK(texel(one(Channel::kU16, 1, false), 1).f(0) == 256.0f / 65535);
  CHECK(texel(one(Channel::kS16, 1, true), 2).channel[0] == 0x7f80);
  CHECK(texel(one(Channel::kF16, 1, true), 3).f(0) == 1);
  CHECK(texel(one(Channel::kU32, 1, false), 1).channel[0] == 0x3c007f80u);
  ImageView srgb = one(Channel::kU8, 4, false);
  srgb.sampler.srgb = true;
  read = texel(srgb, 0);
  CHECK(read.f(1) == doctest::Approx(0.2158605));
  CHECK(read.f(3) == 1.0f / 255);  // alpha is no colour
}

TEST_CASE("a gather gives the four texels around a point, lower left first, counter-clockwise") {
  Picture picture(4, 4, 1);
  ImageRun run(picture.view({}));
  map(run, picture.texels);
  const auto read =
      run.read("tld4.r.2d.v4.f32.f32 {%r1, %r2, %r3, %r4}, [%rd1, {%f1, %f2}];", {{2.1f, 1.9f}});
  CHECK(read[0].f(0) == picture.at(1, 2));
  CHECK(read[0].f(1) == picture.at(2, 2));
  CHECK(read[0].f(2) == picture.at(2, 1));
  CHECK(read[0].f(3) == picture.at(1, 1));
}

TEST_CASE("queries tell an image's size, and a read whether its texels are there") {
  Picture picture(5, 4, 3);
  ImageRun run(picture.view({}));
  map(run, picture.texels);
  const auto read = run.read(
      "txq.width.b32 %r1, [%rd1]; txq.height.b32 %r2, [%rd1]; txq.depth.b32 %r3, [%rd1];\n"
      "tex.2d.v4.f32.f32 {%r11, %r12, %r13, %r14}|%p1, [%rd1, {%f1, %f2}];\n"
      "selp.u32 %r4, 1, 0, %p1;",
      {{0, 0}});
  CHECK(read[0].channel[0] == 5);
  CHECK(read[0].channel[1] == 4);
  CHECK(read[0].channel[2] == 3);
  CHECK(read[0].channel[3] == 1);
}

TEST_CASE("surfaces are read and written by bytes, rows and layers") {
  std::vector<u32> texels(4 * 3 * 2);
  ImageView view;
  view.is_surface = true;
  view.image.channel = Channel::kU32;
  view.image.levels = {level_at(texels.data(), 4, 3, 2, 4)};
  ImageRun run(view);
  map(run, texels);
  run.read(
      "sust.b.2d.v2.b32.trap [%rd1, {%r5, %r6}], {%r7, %r8};\n"
      "suld.b.2d.v2.b32.trap {%r1, %r2}, [%rd1, {%r5, %r6}];",
      {{f32(8), f32(2), f32(77), f32(78)}});
  CHECK(texels[2 * 4 + 2] == 77);
  CHECK(texels[2 * 4 + 3] == 78);
  auto read = run.read(
      "sust.b.a2d.b16.trap [%rd1, {%r7, %r5, %r6, %r6}], {%h1};\n"
      "cvt.u16.u32 %h2, %r8; sust.b.a2d.b16.trap [%rd1, {%r7, %r5, %r6, %r6}], {%h2};\n"
      "suld.b.3d.b8.trap {%h3}, [%rd1, {%r5, %r6, %r7, %r7}]; cvt.u32.u16 %r1, %h3;",
      {{f32(2), f32(1), f32(1), f32(0x1234)}});
  CHECK(texels[12 + 4] == 0x12340000);
  CHECK(read[0].channel[0] == 0x34);
  read = run.read(
      "sust.b.2d.b64.trap [%rd1, {%r5, %r6}], {%rd1}; suld.b.2d.b64.trap {%rd9}, [%rd1, {%r5, "
      "%r6}];\n cvt.u32.u64 %r1, %rd9;",
      {{f32(0), f32(0)}});
  CHECK(texels[0] == 7);
  CHECK(read[0].channel[0] == 7);
}

TEST_CASE("outside a surface: zero reads nothing, clamp the edge, trap ends the kernel") {
  std::vector<u32> texels = {1, 2, 3, 4};
  ImageView view;
  view.is_surface = true;
  view.image.channel = Channel::kU32;
  view.image.levels = {level_at(texels.data(), 2, 2, 1, 4)};
  ImageRun run(view);
  map(run, texels);
  const std::vector<Float4> outside = {{f32(8), f32(5)}, {f32(static_cast<u32>(-4)), f32(0)}};
  auto read = run.read("suld.b.2d.b32.zero {%r1}, [%rd1, {%r5, %r6}];", outside);
  CHECK(read[0].channel[0] == 0);
  read = run.read("suld.b.2d.b32.clamp {%r1}, [%rd1, {%r5, %r6}];", outside);
  CHECK(read[0].channel[0] == 4);
  CHECK(read[1].channel[0] == 1);
  run.read("sust.b.2d.b32.zero [%rd1, {%r5, %r6}], {%r5};", outside);
  CHECK(texels == std::vector<u32>{1, 2, 3, 4});
  run.read("sust.b.2d.b32.clamp [%rd1, {%r5, %r6}], {%r5};", outside);
  CHECK(texels == std::vector<u32>{static_cast<u32>(-4), 2, 3, 8});
  run.run("suld.b.2d.b32.trap {%r1}, [%rd1, {%r5, %r6}];", outside);
  CHECK(run.fault.kind == FaultKind::kTrap);
  CHECK(run.fault.text.find("outside its surface") != std::string::npos);
  run.run("suld.b.2d.b32.zero {%r1}, [%rd1, {%r5, %r6}];", {{f32(2), f32(0)}});
  CHECK(run.fault.kind == FaultKind::kTrap);  // in the middle of a texel
}

TEST_CASE("what is no image of the device, or no longer, is a fault") {
  Picture picture(4, 4, 1);
  const char* const read = "tex.2d.v4.f32.f32 {%r1, %r2, %r3, %r4}, [%rd1, {%f1, %f2}];";
  ImageRun run(picture.view({}));
  run.run(read, {{0, 0}});
  CHECK(run.fault.kind == FaultKind::kIllegalAddress);  // its memory is not the device's
  CHECK(run.fault.text.find("freed") != std::string::npos);
  map(run, picture.texels);
  run.run(read, {{0, 0}});
  CHECK(run.fault.kind == FaultKind::kNone);
  run.run("suld.b.2d.b32.zero {%r1}, [%rd1, {%r5, %r6}];", {{0, 0}});
  CHECK(run.fault.kind == FaultKind::kIllegalAddress);
  run.object = 8;
  run.run(read, {{0, 0}});
  CHECK(run.fault.kind == FaultKind::kIllegalAddress);
  CHECK(run.fault.text.find("no texture object 0x8") != std::string::npos);
}

TEST_CASE("coordinates that are no numbers read something, and nothing else happens") {
  Picture picture(4, 4, 1);
  const float nan = std::nanf(""), inf = INFINITY;
  for (const EdgeRule edge :
       {EdgeRule::kWrap, EdgeRule::kClamp, EdgeRule::kMirror, EdgeRule::kBorder}) {
    for (const bool linear : {false, true}) {
      Sampler sampler;
      sampler.edge[0] = sampler.edge[1] = edge;
      sampler.linear = linear;
      sampler.normalized = true;
      ImageRun run(picture.view(sampler));
      map(run, picture.texels);
      run.read("tex.2d.v4.f32.f32 {%r1, %r2, %r3, %r4}, [%rd1, {%f1, %f2}];",
               {{nan, 0}, {inf, -inf}, {1e30f, -1e30f}, {-0.0f, nan}, {3e9f, 1e-40f}});
      run.read("tex.cube.v4.f32.f32 {%r1, %r2, %r3, %r4}, [%rd1, {%f1, %f2, %f3, %f3}];",
               {{0, 0, 0}, {nan, nan, nan}, {inf, inf, -inf}});
    }
  }
}

TEST_CASE("image instructions beyond these are refused by name") {
  Device device;
  const auto refused = [&](const std::string& instruction) {
    const auto program = load(
        device, module_of(".param .u64 object",
                          ".reg .b32 %r<16>; .reg .f32 %f<8>; .reg .b64 %rd<4>;\n " + instruction));
    return program->kernel("k")->decode().code() == Code::kUnsupported;
  };
  CHECK(refused("tex.2d.v4.f32.f32 {%f1, %f2, %f3, %f4}, [%rd1, %rd2, {%f1, %f2}];"));
  CHECK(refused("tex.2d.v4.f32.f32 {%f1, %f2, %f3, %f4}, [%rd1, {%f1, %f2}], {%r1, %r2};"));
  CHECK(refused("tex.2d.v4.f32.f32 {%f1, %f2, %f3, %f4}, [%rd1, {%f1}];"));
  CHECK(refused("tex.2d.v4.f32.f32 {%f1, %f2, %f3, %f4}, [%r1, {%f1, %f2}];"));
  CHECK(refused("tex.2dms.v4.f32.s32 {%f1, %f2, %f3, %f4}, [%rd1, {%r1, %r2}];"));
  CHECK(refused("tex.2d.v2.f16x2.f32 {%r1, %r2}, [%rd1, {%f1, %f2}];"));
  CHECK(refused("suld.b.2d.v2.b32.trap {%r1}, [%rd1, {%r1, %r2}];"));
  CHECK(refused("sust.p.2d.b32.trap [%rd1, {%r1, %r2}], {%r1};"));
  CHECK(refused("txq.sampler_name.b32 %r1, [%rd1];"));
}

}  // namespace
}  // namespace farcall::softgpu::test
