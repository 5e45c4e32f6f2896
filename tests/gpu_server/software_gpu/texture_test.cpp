// Texture and surface objects and mipmapped arrays: what the calls accept, and what kernels then
// see.
#include <cstring>
#include <numeric>
#include <vector>

#include "tests/gpu_server/software_gpu/driver_session.h"

namespace farcall::softgpu::tests {
namespace {

constexpr const char* kReadPtx = R"(
.version 8.0
.target sm_75
.address_size 64
.visible .entry read(.param .u64 object, .param .u64 out)
{
  .reg .b32 %r<4>;
  .reg .f32 %f<8>;
  .reg .b64 %rd<8>;
  ld.param.u64 %rd1, [object];
  ld.param.u64 %rd2, [out];
  mov.u32 %r1, %tid.x;
  cvt.rn.f32.u32 %f1, %r1;
  add.f32 %f1, %f1, 0f3F000000;
  mov.f32 %f2, 0f3FC00000;
  tex.2d.v4.f32.f32 {%f3, %f4, %f5, %f6}, [%rd1, {%f1, %f2}];
  mul.wide.u32 %rd3, %r1, 4;
  add.s64 %rd4, %rd2, %rd3;
  st.global.f32 [%rd4], %f3;
  ret;
}
.visible .entry write(.param .u64 object)
{
  .reg .b32 %r<4>;
  .reg .b64 %rd<4>;
  ld.param.u64 %rd1, [object];
  mov.u32 %r1, %tid.x;
  shl.b32 %r2, %r1, 2;
  mov.u32 %r3, 1;
  sust.b.2d.b32.trap [%rd1, {%r2, %r3}], {%r1};
  ret;
}
)";

constexpr std::size_t kWidth = 8, kHeight = 4;

CUarray make_array(unsigned flags, CUarray_format format = CU_AD_FORMAT_FLOAT) {
  CUDA_ARRAY3D_DESCRIPTOR shape{};
  shape.Width = kWidth;
  shape.Height = kHeight;
  shape.Format = format;
  shape.NumChannels = 1;
  shape.Flags = flags;
  CUarray array = nullptr;
  REQUIRE(cuArray3DCreate_v2(&array, &shape) == CUDA_SUCCESS);
  return array;
}

void fill(CUarray array, const std::vector<float>& texels, std::size_t width, std::size_t height) {
  CUDA_MEMCPY2D copy{};
  copy.srcMemoryType = CU_MEMORYTYPE_HOST;
  copy.srcHost = texels.data();
  copy.srcPitch = width * sizeof(float);
  copy.dstMemoryType = CU_MEMORYTYPE_ARRAY;
  copy.dstArray = array;
  copy.WidthInBytes = width * sizeof(float);
  copy.Height = height;
  REQUIRE(cuMemcpy2D_v2(&copy) == CUDA_SUCCESS);
}

CUDA_RESOURCE_DESC of_array(CUarray array) {
  CUDA_RESOURCE_DESC resource{};
  resource.resType = CU_RESOURCE_TYPE_ARRAY;
  resource.res.array.hArray = array;
  return resource;
}

CUDA_TEXTURE_DESC nearest() {
  CUDA_TEXTURE_DESC texture{};
  for (CUaddress_mode& mode : texture.addressMode) mode = CU_TR_ADDRESS_MODE_CLAMP;
  return texture;
}

// Row 1 as a kernel sees it through the object.
std::vector<float> read_row(DriverSession& session, CUtexObject object, CUresult* outcome) {
  const CUdeviceptr out = session.allocate(kWidth * sizeof(float));
  CUfunction read = session.function(kReadPtx, "read");
  CUdeviceptr target = out;
  void* params[] = {&object, &target};
  CHECK(cuLaunchKernel(read, 1, 1, 1, kWidth, 1, 1, 0, nullptr, params, nullptr) == CUDA_SUCCESS);
  *outcome = cuCtxSynchronize();
  std::vector<float> row(kWidth);
  if (*outcome == CUDA_SUCCESS) {
    CHECK(cuMemcpyDtoH_v2(row.data(), out, kWidth * sizeof(float)) == CUDA_SUCCESS);
    cuMemFree_v2(out);
  }
  return row;
}

std::vector<float> numbers(std::size_t count) {
  std::vector<float> all(count);
  std::iota(all.begin(), all.end(), 0.0f);
  return all;
}

}  // namespace

TEST_CASE("a kernel reads an array through a texture object and writes it through a surface") {
  DriverSession session;
  CUarray array = make_array(CUDA_ARRAY3D_SURFACE_LDST);
  fill(array, numbers(kWidth * kHeight), kWidth, kHeight);
  const CUDA_RESOURCE_DESC resource = of_array(array);
  const CUDA_TEXTURE_DESC texture = nearest();
  CUtexObject object = 0;
  REQUIRE(cuTexObjectCreate(&object, &resource, &texture, nullptr) == CUDA_SUCCESS);
  CUresult outcome = CUDA_SUCCESS;
  CHECK(read_row(session, object, &outcome) == std::vector<float>{8, 9, 10, 11, 12, 13, 14, 15});
  CUsurfObject surface = 0;
  REQUIRE(cuSurfObjectCreate(&surface, &resource) == CUDA_SUCCESS);
  CHECK(surface != object);
  void* params[] = {&surface};
  CHECK(cuLaunchKernel(session.function(kReadPtx, "write"), 1, 1, 1, kWidth, 1, 1, 0, nullptr,
                       params, nullptr) == CUDA_SUCCESS);
  const std::vector<float> written = read_row(session, object, &outcome);
  for (unsigned n = 0; n < kWidth; ++n) {
    unsigned bits = 0;
    std::memcpy(&bits, &written[n], 4);
    CHECK(bits == n);
  }
  CHECK(cuSurfObjectDestroy(surface) == CUDA_SUCCESS);
  CHECK(cuTexObjectDestroy(object) == CUDA_SUCCESS);
  CHECK(cuArrayDestroy(array) == CUDA_SUCCESS);
}

TEST_CASE("rows with a pitch are read through a texture object, which says what it was made of") {
  DriverSession session;
  const std::vector<float> texels = numbers(64 * kHeight);
  const CUdeviceptr memory = session.allocate(texels.size() * sizeof(float));
  CHECK(cuMemcpyHtoD_v2(memory, texels.data(), texels.size() * sizeof(float)) == CUDA_SUCCESS);
  CUDA_RESOURCE_DESC resource{};
  resource.resType = CU_RESOURCE_TYPE_PITCH2D;
  resource.res.pitch2D = {memory, CU_AD_FORMAT_FLOAT, 1, kWidth, kHeight, 256};
  CUDA_TEXTURE_DESC texture = nearest();
  texture.borderColor[2] = 3;
  CUtexObject object = 0;
  REQUIRE(cuTexObjectCreate(&object, &resource, &texture, nullptr) == CUDA_SUCCESS);
  CUresult outcome = CUDA_SUCCESS;
  CHECK(read_row(session, object, &outcome)[7] == 64 + 7);
  CUDA_RESOURCE_DESC told{};
  CHECK(cuTexObjectGetResourceDesc(&told, object) == CUDA_SUCCESS);
  CHECK(told.res.pitch2D.devPtr == memory);
  CUDA_TEXTURE_DESC how{};
  CHECK(cuTexObjectGetTextureDesc(&how, object) == CUDA_SUCCESS);
  CHECK(how.borderColor[2] == 3);
  CUDA_RESOURCE_VIEW_DESC view{};
  CHECK(cuTexObjectGetResourceViewDesc(&view, object) == CUDA_ERROR_INVALID_VALUE);
  CHECK(cuTexObjectDestroy(object) == CUDA_SUCCESS);
  CHECK(cuTexObjectDestroy(object) == CUDA_ERROR_INVALID_VALUE);
  CHECK(cuTexObjectDestroy(0) == CUDA_SUCCESS);
  CHECK(cuSurfObjectDestroy(0) == CUDA_SUCCESS);
  CHECK(cuTexObjectGetResourceDesc(&told, object) == CUDA_ERROR_INVALID_VALUE);
}

TEST_CASE("what makes no texture or surface object is refused when it is asked for") {
  DriverSession session;
  const CUDA_TEXTURE_DESC texture = nearest();
  CUtexObject object = 0;
  CUarray plain = make_array(0), bytes = make_array(0, CU_AD_FORMAT_UNSIGNED_INT8);
  CUDA_RESOURCE_DESC resource = of_array(plain);
  CHECK(cuTexObjectCreate(nullptr, &resource, &texture, nullptr) == CUDA_ERROR_INVALID_VALUE);
  CHECK(cuTexObjectCreate(&object, nullptr, &texture, nullptr) == CUDA_ERROR_INVALID_VALUE);
  CHECK(cuTexObjectCreate(&object, &resource, nullptr, nullptr) == CUDA_ERROR_INVALID_VALUE);
  CUsurfObject surface = 0;  // made without CUDA_ARRAY3D_SURFACE_LDST
  CHECK(cuSurfObjectCreate(&surface, &resource) == CUDA_ERROR_INVALID_VALUE);
  CUDA_TEXTURE_DESC filtered = nearest();
  filtered.filterMode = CU_TR_FILTER_MODE_LINEAR;
  filtered.flags = CU_TRSF_READ_AS_INTEGER;
  const CUDA_RESOURCE_DESC of_bytes = of_array(bytes);
  CHECK(cuTexObjectCreate(&object, &of_bytes, &filtered, nullptr) == CUDA_ERROR_INVALID_VALUE);
  filtered.flags = 0;
  CHECK(cuTexObjectCreate(&object, &of_bytes, &filtered, nullptr) == CUDA_SUCCESS);
  resource.res.array.hArray = reinterpret_cast<CUarray>(&resource);
  CHECK(cuTexObjectCreate(&object, &resource, &texture, nullptr) == CUDA_ERROR_INVALID_HANDLE);

  const CUdeviceptr memory = session.allocate(4096);
  resource = {};
  resource.resType = CU_RESOURCE_TYPE_LINEAR;
  const auto linear = [&](CUdeviceptr at, unsigned channels, std::size_t size) {
    resource.res.linear = {at, CU_AD_FORMAT_FLOAT, channels, size};
    return cuTexObjectCreate(&object, &resource, &texture, nullptr);
  };
  CHECK(linear(memory, 4, 4096) == CUDA_SUCCESS);
  CHECK(linear(memory, 3, 4096) == CUDA_ERROR_INVALID_VALUE);
  CHECK(linear(memory, 4, 65536) == CUDA_SUCCESS);  // more than there is
  CHECK(linear(memory, 4, 8) == CUDA_ERROR_INVALID_VALUE);
  CHECK(linear(memory, 4, SIZE_MAX) == CUDA_ERROR_INVALID_VALUE);
  CHECK(linear(memory + 4, 4, 1024) == CUDA_ERROR_INVALID_VALUE);
  CHECK(linear(0, 4, 1024) == CUDA_ERROR_INVALID_VALUE);
  const auto pitched = [&](std::size_t width, std::size_t height, std::size_t pitch) {
    resource.resType = CU_RESOURCE_TYPE_PITCH2D;
    resource.res.pitch2D = {memory, CU_AD_FORMAT_FLOAT, 1, width, height, pitch};
    return cuTexObjectCreate(&object, &resource, &texture, nullptr);
  };
  CHECK(pitched(8, 128, 32) == CUDA_SUCCESS);
  CHECK(pitched(8, 129, 32) == CUDA_ERROR_INVALID_VALUE);
  CHECK(pitched(9, 4, 32) == CUDA_ERROR_INVALID_VALUE);
  CHECK(pitched(8, 4, 40) == CUDA_ERROR_INVALID_VALUE);
  CHECK(pitched(8, 2, SIZE_MAX - 31) == CUDA_ERROR_INVALID_VALUE);
}

TEST_CASE("a mipmapped array is levels of falling size in one piece of memory") {
  DriverSession session;
  const std::size_t before = session.free_bytes();
  CUDA_ARRAY3D_DESCRIPTOR shape{};
  shape.Width = kWidth;
  shape.Height = 2;
  shape.Format = CU_AD_FORMAT_FLOAT;
  shape.NumChannels = 1;
  CUmipmappedArray mipmapped = nullptr;
  CHECK(cuMipmappedArrayCreate(&mipmapped, &shape, 0) == CUDA_ERROR_INVALID_VALUE);
  REQUIRE(cuMipmappedArrayCreate(&mipmapped, &shape, 99) == CUDA_SUCCESS);
  const std::size_t widths[] = {8, 4, 2, 1}, heights[] = {2, 1, 1, 1};
  CUarray levels[4] = {};
  for (unsigned n = 0; n < 4; ++n) {
    REQUIRE(cuMipmappedArrayGetLevel(&levels[n], mipmapped, n) == CUDA_SUCCESS);
    CUDA_ARRAY3D_DESCRIPTOR level{};
    CHECK(cuArray3DGetDescriptor_v2(&level, levels[n]) == CUDA_SUCCESS);
    CHECK(level.Width == widths[n]);
    CHECK(level.Height == heights[n]);
    const float value = static_cast<float>(n + 1);
    fill(levels[n], std::vector<float>(widths[n] * heights[n], value), widths[n], heights[n]);
  }
  CUarray none = nullptr;
  CHECK(cuMipmappedArrayGetLevel(&none, mipmapped, 4) == CUDA_ERROR_INVALID_VALUE);
  CHECK(cuArrayDestroy(levels[1]) == CUDA_ERROR_INVALID_VALUE);

  CUDA_RESOURCE_DESC resource{};
  resource.resType = CU_RESOURCE_TYPE_MIPMAPPED_ARRAY;
  resource.res.mipmap.hMipmappedArray = mipmapped;
  CUDA_RESOURCE_VIEW_DESC view{};
  view.format = CU_RES_VIEW_FORMAT_FLOAT_1X32;
  view.width = 2;
  view.height = 1;
  view.firstMipmapLevel = view.lastMipmapLevel = 2;
  const CUDA_TEXTURE_DESC texture = nearest();
  CUtexObject object = 0;
  REQUIRE(cuTexObjectCreate(&object, &resource, &texture, &view) == CUDA_SUCCESS);
  CUresult outcome = CUDA_SUCCESS;
  CHECK(read_row(session, object, &outcome)[0] == 3);
  view.format = CU_RES_VIEW_FORMAT_UINT_4X8;  // as large as a float
  CHECK(cuTexObjectCreate(&object, &resource, &texture, &view) == CUDA_SUCCESS);
  view.format = CU_RES_VIEW_FORMAT_UINT_1X8;
  CHECK(cuTexObjectCreate(&object, &resource, &texture, &view) == CUDA_ERROR_INVALID_VALUE);
  view.format = CU_RES_VIEW_FORMAT_UNSIGNED_BC1;
  CHECK(cuTexObjectCreate(&object, &resource, &texture, &view) == CUDA_ERROR_NOT_SUPPORTED);
  view.format = CU_RES_VIEW_FORMAT_NONE;
  view.lastMipmapLevel = 4;
  CHECK(cuTexObjectCreate(&object, &resource, &texture, &view) == CUDA_ERROR_INVALID_VALUE);
  CHECK(cuMipmappedArrayDestroy(mipmapped) == CUDA_SUCCESS);
  CHECK(cuMipmappedArrayDestroy(mipmapped) == CUDA_ERROR_INVALID_HANDLE);
  CHECK(cuArray3DGetDescriptor_v2(&shape, levels[0]) == CUDA_ERROR_INVALID_HANDLE);
  CHECK(session.free_bytes() == before);
}

TEST_CASE("a cube has six square faces") {
  DriverSession session;
  CUDA_ARRAY3D_DESCRIPTOR shape{};
  shape.Width = shape.Height = 4;
  shape.Depth = 6;
  shape.Format = CU_AD_FORMAT_FLOAT;
  shape.NumChannels = 1;
  shape.Flags = CUDA_ARRAY3D_CUBEMAP;
  CUarray array = nullptr;
  CHECK(cuArray3DCreate_v2(&array, &shape) == CUDA_SUCCESS);
  shape.Depth = 12;
  CHECK(cuArray3DCreate_v2(&array, &shape) == CUDA_ERROR_INVALID_VALUE);
  shape.Flags |= CUDA_ARRAY3D_LAYERED;
  CHECK(cuArray3DCreate_v2(&array, &shape) == CUDA_SUCCESS);
  shape.Height = 3;
  CHECK(cuArray3DCreate_v2(&array, &shape) == CUDA_ERROR_INVALID_VALUE);
}

TEST_CASE("a kernel that reads a destroyed texture object or array faults") {
  DriverSession session;
  CUarray array = make_array(0);
  const CUDA_RESOURCE_DESC resource = of_array(array);
  const CUDA_TEXTURE_DESC texture = nearest();
  CUtexObject object = 0;
  REQUIRE(cuTexObjectCreate(&object, &resource, &texture, nullptr) == CUDA_SUCCESS);
  REQUIRE(cuArrayDestroy(array) == CUDA_SUCCESS);
  CUresult outcome = CUDA_SUCCESS;
  read_row(session, object, &outcome);
  CHECK(outcome == CUDA_ERROR_ILLEGAL_ADDRESS);
  CHECK(cuDevicePrimaryCtxReset_v2(0) == CUDA_SUCCESS);
}

}  // namespace farcall::softgpu::tests
