// Copies with a shape between this process and the device, against a model, row by row.
#include <random>

#include "tests/client_shim/stream_device.h"
#include "tests/client_shim/world.h"
#include "transport/base/limits.h"

namespace farcall::shim {
namespace {

using Bytes = std::vector<std::byte>;

struct Box {
  std::size_t width, rows, slices;
};

// Where a box lies in a block of memory: pitches wider than its rows, and a first byte that is not
// the block's.
struct Layout {
  std::size_t pitch, height, x, y, z;
  std::size_t at(std::size_t row, std::size_t slice) const {
    return ((z + slice) * height + y + row) * pitch + x;
  }
  std::size_t bytes(const Box& box) const { return at(box.rows - 1, box.slices - 1) + box.width; }
};

class Shapes {
 public:
  explicit Shapes(unsigned seed) : random_(seed) {}

  Box box() {
    constexpr std::size_t kWidths[] = {1, 7, 100, 4096, 65536, limits::kCopyChunkBytes + 5};
    std::size_t width = kWidths[random_() % 6];
    std::size_t most = 4 * limits::kCopyChunkBytes / width;
    std::size_t rows = 1 + random_() % std::min<std::size_t>(most, 300);
    return {width, rows, 1 + random_() % std::min<std::size_t>(most / rows, 3)};
  }
  Layout layout(const Box& box) {
    return {box.width + random_() % 50 + 9, box.rows + random_() % 3 + 2, random_() % 9,
            random_() % 2, random_() % 2};
  }
  Bytes noise(std::size_t count) {
    Bytes bytes(count);
    for (auto& each : bytes) each = static_cast<std::byte>(random_());
    return bytes;
  }

 private:
  std::mt19937 random_;
};

void copy_rows(Bytes& to, const Layout& to_layout, const Bytes& from, const Layout& from_layout,
               const Box& box) {
  for (std::size_t slice = 0; slice < box.slices; ++slice) {
    for (std::size_t row = 0; row < box.rows; ++row) {
      std::memcpy(to.data() + to_layout.at(row, slice), from.data() + from_layout.at(row, slice),
                  box.width);
    }
  }
}

CUDA_MEMCPY3D descriptor(const Box& box, const Layout& from, const Layout& to) {
  CUDA_MEMCPY3D copy{};
  copy.WidthInBytes = box.width;
  copy.Height = box.rows;
  copy.Depth = box.slices;
  copy.srcPitch = from.pitch;
  copy.srcHeight = from.height;
  copy.srcXInBytes = from.x;
  copy.srcY = from.y;
  copy.srcZ = from.z;
  copy.dstPitch = to.pitch;
  copy.dstHeight = to.height;
  copy.dstXInBytes = to.x;
  copy.dstY = to.y;
  copy.dstZ = to.z;
  return copy;
}

TEST_CASE(
    "a copy with a shape is one round trip, of any size, and touches nothing beside its rows") {
  StreamDevice device(1);
  World world(device);
  world.use_device();
  Shapes shapes(5);
  constexpr std::size_t kMemory = 24 << 20;
  CUdeviceptr memory = 0;
  CUDA_OK(cuMemAlloc_v2(&memory, kMemory));
  for (int round = 0; round < 40; ++round) {
    CAPTURE(round);
    Box box = shapes.box();
    Layout here = shapes.layout(box), there = shapes.layout(box);
    REQUIRE(there.bytes(box) <= kMemory);
    Bytes on_device = shapes.noise(there.bytes(box));
    Bytes host = shapes.noise(here.bytes(box));
    CUDA_OK(cuMemcpyHtoD_v2(memory, on_device.data(), on_device.size()));
    CUDA_MEMCPY3D in = descriptor(box, here, there);
    in.srcMemoryType = CU_MEMORYTYPE_HOST;
    in.srcHost = host.data();
    in.dstMemoryType = CU_MEMORYTYPE_DEVICE;
    in.dstDevice = memory;
    bool async = round % 2 == 1;
    CHECK(world.round_trips([&] {
      CUDA_OK(async ? cuMemcpy3DAsync_v2(&in, nullptr) : cuMemcpy3D_v2(&in));
    }) == 1);
    copy_rows(on_device, there, host, here, box);
    Bytes got(on_device.size());
    CUDA_OK(cuMemcpyDtoH_v2(got.data(), memory, got.size()));
    CHECK((got == on_device));

    Layout back = shapes.layout(box);
    Bytes result = shapes.noise(back.bytes(box));
    Bytes expected = result;
    CUDA_MEMCPY3D out = descriptor(box, there, back);
    out.srcMemoryType = CU_MEMORYTYPE_DEVICE;
    out.srcDevice = memory;
    out.dstMemoryType = CU_MEMORYTYPE_HOST;
    out.dstHost = result.data();
    CHECK(world.round_trips([&] {
      CUDA_OK(async ? cuMemcpy3DAsync_v2(&out, nullptr) : cuMemcpy3D_v2(&out));
    }) == 1);
    copy_rows(expected, back, on_device, there, box);
    CHECK((result == expected));
  }
}

}  // namespace
}  // namespace farcall::shim

#ifdef FARCALL_TEST_SOFTWARE_GPU
#  include "tests/client_shim/software_gpu.h"

namespace farcall::shim {

TEST_CASE("elements without number are refused in a batch of copies") {
  SoftwareGpu device;
  World world(device);
  world.use_device();
  CUDA_ARRAY3D_DESCRIPTOR about{64, 64, 0, CU_AD_FORMAT_FLOAT, 4, 0};
  CUarray array = nullptr;
  CUdeviceptr memory = 0;
  CUstream stream = nullptr;
  CUDA_OK(cuArray3DCreate_v2(&array, &about));
  CUDA_OK(cuMemAlloc_v2(&memory, 4096));
  CUDA_OK(cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING));
  CUDA_MEMCPY3D_BATCH_OP op{};
  op.src.type = CU_MEMCPY_OPERAND_TYPE_POINTER;
  op.src.op.ptr.ptr = memory;
  op.dst.type = CU_MEMCPY_OPERAND_TYPE_ARRAY;
  op.dst.op.array.array = array;
  op.srcAccessOrder = CU_MEMCPY_SRC_ACCESS_ORDER_STREAM;
  op.extent = {4, 1, 1};
  constexpr std::size_t kMany = std::size_t{1} << 60;  // of 16 bytes: none
  SUBCASE("in a row") { op.extent.width = kMany; }
  SUBCASE("before the first") { op.dst.op.array.offset.x = kMany; }
  SUBCASE("from row to row") { op.src.op.ptr.rowLength = kMany; }
  std::size_t failed = 7;
  CHECK(cuMemcpy3DBatchAsync(1, &op, &failed, 0, stream) == CUDA_ERROR_INVALID_VALUE);
  CHECK(failed == 0);
}

}  // namespace farcall::shim
#endif  // FARCALL_TEST_SOFTWARE_GPU
