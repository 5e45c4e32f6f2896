// Arrays, mipmapped arrays, and the objects kernels read them by.
#include <string>
#include <vector>

#include "tests/parity/setup.h"

using namespace parity;

BODY(array_wrong) {
  Primary primary;
  CUarray array = nullptr;
  CUDA_ARRAY_DESCRIPTOR shape{16, 8, CU_AD_FORMAT_FLOAT, 1};
  CALL(cuArrayCreate_v2, nullptr, &shape);
  CALL(cuArrayCreate_v2, &array, nullptr);
  const auto attempt = [&array, good = shape](const char* what, auto change) {
    CUDA_ARRAY_DESCRIPTOR wrong = good;
    change(wrong);
    return tell((std::string("array, ") + what).c_str(), CU(cuArrayCreate_v2)(&array, &wrong));
  };
  attempt("width 0", [](auto& it) { it.Width = 0; });
  // "NumChannels … may be 1, 2, or 4".
  for (unsigned channels : {0U, 3U, 5U}) {
    CUDA_ARRAY_DESCRIPTOR wrong = shape;
    wrong.NumChannels = channels;
    EXPECT(CUDA_ERROR_INVALID_VALUE, "cuda.h, cuArrayCreate", cuArrayCreate_v2, &array, &wrong);
  }
  attempt("format 0x77", [](auto& it) { it.Format = number<CUarray_format>(0x77); });
  attempt("width 2^40", [](auto& it) { it.Width = 1UL << 40; });
  attempt("height 0", [](auto& it) { it.Height = 0; });
  CALL(cuArrayDestroy, array);
  CALL(cuArrayDestroy, array);
  CALL(cuArrayDestroy, nullptr);
  CALL(cuArrayCreate_v2, &array, &shape);
  CALL(cuArrayGetDescriptor_v2, &shape, array);
  VALUE("width", static_cast<long long>(shape.Width));
  CALL(cuArrayGetDescriptor_v2, nullptr, array);
  CALL(cuArrayGetDescriptor_v2, &shape, nullptr);
  std::vector<float> host(256, 1.5F);
  CALL(cuMemcpyHtoA_v2, array, 0, host.data(), 64);
  CALL(cuMemcpyHtoA_v2, array, 0, nullptr, 64);
  CALL(cuMemcpyHtoA_v2, nullptr, 0, host.data(), 64);
  CALL(cuMemcpyHtoA_v2, array, 0, host.data(), 1 << 20);
  CALL(cuMemcpyHtoA_v2, array, 1 << 20, host.data(), 4);
  CALL(cuMemcpyHtoA_v2, array, 0, host.data(), 0);
  CALL(cuMemcpyAtoH_v2, host.data(), array, 0, 64);
  CALL(cuMemcpyAtoH_v2, nullptr, array, 0, 64);
  CALL(cuMemcpyAtoH_v2, host.data(), array, 0, 1 << 20);
  CUDA_MEMCPY2D copy{};
  copy.srcMemoryType = CU_MEMORYTYPE_HOST;
  copy.srcHost = host.data();
  copy.dstMemoryType = CU_MEMORYTYPE_ARRAY;
  copy.dstArray = array;
  copy.WidthInBytes = 64;
  copy.Height = 4;
  CALL(cuMemcpy2D_v2, &copy);
  copy.dstXInBytes = 4;
  CALL(cuMemcpy2D_v2, &copy);
  copy.dstXInBytes = 0;
  copy.dstY = 5;
  CALL(cuMemcpy2D_v2, &copy);
}

BODY(array_volumes) {
  Primary primary;
  CUarray array = nullptr;
  CUDA_ARRAY3D_DESCRIPTOR shape{16, 8, 4, CU_AD_FORMAT_UNSIGNED_INT8, 4, 0};
  CALL(cuArray3DCreate_v2, &array, &shape);
  CALL(cuArray3DGetDescriptor_v2, &shape, array);
  VALUE("depth", static_cast<long long>(shape.Depth));
  CALL(cuArray3DCreate_v2, nullptr, &shape);
  CALL(cuArray3DCreate_v2, &array, nullptr);
  shape.Flags = ~0U;
  CALL(cuArray3DCreate_v2, &array, &shape);
  shape.Flags = CUDA_ARRAY3D_CUBEMAP;
  CALL(cuArray3DCreate_v2, &array, &shape);
  shape = {0, 8, 4, CU_AD_FORMAT_UNSIGNED_INT8, 4, 0};
  CALL(cuArray3DCreate_v2, &array, &shape);
  shape = {16, 0, 4, CU_AD_FORMAT_UNSIGNED_INT8, 4, 0};
  CALL(cuArray3DCreate_v2, &array, &shape);
  CUmipmappedArray mipmap = nullptr;
  shape = {16, 8, 0, CU_AD_FORMAT_UNSIGNED_INT8, 4, 0};
  CALL(cuMipmappedArrayCreate, &mipmap, &shape, 3);
  CALL(cuMipmappedArrayCreate, nullptr, &shape, 3);
  CALL(cuMipmappedArrayGetLevel, &array, mipmap, 2);
  CALL(cuArrayGetDescriptor_v2, nullptr, array);
  CALL(cuMipmappedArrayGetLevel, &array, mipmap, 3);
  CALL(cuMipmappedArrayGetLevel, nullptr, mipmap, 0);
  CALL(cuMipmappedArrayGetLevel, &array, nullptr, 0);
  CALL(cuMipmappedArrayDestroy, mipmap);
  CALL(cuMipmappedArrayDestroy, mipmap);
  CALL(cuMipmappedArrayDestroy, nullptr);
}

BODY(texture_wrong) {
  Primary primary;
  CUarray array = nullptr;
  const CUDA_ARRAY_DESCRIPTOR shape{16, 8, CU_AD_FORMAT_FLOAT, 1};
  need(CU(cuArrayCreate_v2)(&array, &shape), "cuArrayCreate");
  CUtexObject texture = 0;
  CUDA_RESOURCE_DESC resource{};
  CUDA_TEXTURE_DESC how{};
  resource.resType = CU_RESOURCE_TYPE_ARRAY;
  CALL(cuTexObjectCreate, &texture, &resource, &how, nullptr);
  resource.res.array.hArray = array;
  CALL(cuTexObjectCreate, nullptr, &resource, &how, nullptr);
  CALL(cuTexObjectCreate, &texture, nullptr, &how, nullptr);
  CALL(cuTexObjectCreate, &texture, &resource, nullptr, nullptr);
  CALL(cuTexObjectCreate, &texture, &resource, &how, nullptr);
  CUDA_RESOURCE_DESC found{};
  CALL(cuTexObjectGetResourceDesc, &found, texture);
  VALUE("its array", found.res.array.hArray == array);
  CALL(cuTexObjectGetResourceDesc, nullptr, texture);
  CALL(cuTexObjectDestroy, texture);
  CALL(cuTexObjectDestroy, texture);
  CALL(cuTexObjectDestroy, 0);
  resource.resType = number<CUresourcetype>(9);
  CALL(cuTexObjectCreate, &texture, &resource, &how, nullptr);
  resource.resType = CU_RESOURCE_TYPE_LINEAR;
  resource.res.linear = {};
  CALL(cuTexObjectCreate, &texture, &resource, &how, nullptr);
  CUsurfObject surface = 0;
  resource.resType = CU_RESOURCE_TYPE_ARRAY;
  resource.res.array.hArray = array;
  // "the array must have been created with CUDA_ARRAY3D_SURFACE_LDST"
  CALL(cuSurfObjectCreate, &surface, &resource);
  CALL(cuSurfObjectCreate, nullptr, &resource);
  CALL(cuSurfObjectCreate, &surface, nullptr);
  CALL(cuSurfObjectDestroy, 0);
}
