// Libraries and kernels without a context, and the attributes of functions.
#include <cstring>
#include <string>
#include <vector>

#include "tests/parity/setup.h"

using namespace parity;

namespace {
CUresult load(CUlibrary* library, const void* image) {
  return CU(cuLibraryLoadData)(library, image, nullptr, nullptr, 0, nullptr, nullptr, 0);
}
}  // namespace

BODY(library_wrong) {
  Primary primary;
  CUlibrary library = nullptr;
  VALUE("null image", name_of(load(&library, nullptr)));
  VALUE("null output", name_of(load(nullptr, kPtx)));
  VALUE("no image", name_of(load(&library, "no image at all")));
  CALL(cuLibraryLoadFromFile, &library, "/no/such/file", nullptr, nullptr, 0, nullptr, nullptr, 0);
  CALL(cuLibraryLoadFromFile, &library, nullptr, nullptr, nullptr, 0, nullptr, nullptr, 0);
  VALUE("loaded", name_of(load(&library, kPtx)));
  CUkernel kernel = nullptr;
  CUmodule module = nullptr;
  CUfunction function = nullptr;
  CUdeviceptr p = 0;
  size_t bytes = 0;
  CALL(cuLibraryGetKernel, &kernel, library, "no");
  CALL(cuLibraryGetKernel, &kernel, library, nullptr);
  CALL(cuLibraryGetKernel, nullptr, library, "fill");
  CALL(cuLibraryGetKernel, &kernel, nullptr, "fill");
  CALL(cuLibraryGetKernel, &kernel, library, "fill");
  CALL(cuLibraryGetModule, nullptr, library);
  CALL(cuLibraryGetModule, &module, library);
  CALL(cuLibraryGetGlobal, &p, &bytes, library, "counter");
  CALL(cuLibraryGetGlobal, &p, &bytes, library, "no");
  CALL(cuLibraryGetGlobal, nullptr, &bytes, library, "counter");
  CALL(cuLibraryGetGlobal, nullptr, nullptr, library, "counter");
  CALL(cuLibraryGetManaged, &p, &bytes, library, "counter");
  unsigned count = 0;
  CALL(cuLibraryGetKernelCount, &count, library);
  VALUE("kernels", count);
  CALL(cuLibraryGetKernelCount, nullptr, library);
  std::vector<CUkernel> all(16, nullptr);
  CALL(cuLibraryEnumerateKernels, all.data(), 2, library);
  VALUE("second and third", std::to_string(all[1] != nullptr) + std::to_string(all[2] != nullptr));
  CALL(cuLibraryEnumerateKernels, nullptr, 2, library);
  CALL(cuKernelGetFunction, &function, kernel);
  CALL(cuKernelGetFunction, nullptr, kernel);
  CALL(cuKernelGetFunction, &function, nullptr);
  const char* name = nullptr;
  CALL(cuKernelGetName, &name, kernel);
  VALUE("name", name == nullptr ? "null" : name);
  CALL(cuKernelGetName, nullptr, kernel);
  CALL(cuKernelGetLibrary, nullptr, kernel);
  CALL(cuLibraryUnload, nullptr);
  CALL(cuLibraryUnload, library);
  CALL(cuLibraryUnload, library);
  CALL(cuLibraryGetKernel, &kernel, library, "fill");
}

BODY(library_without_context) {
  Device ready;
  CUlibrary library = nullptr;
  CUkernel kernel = nullptr;
  CUfunction function = nullptr;
  CUdeviceptr p = 0;
  VALUE("loaded", name_of(load(&library, kPtx)));
  CALL(cuLibraryGetKernel, &kernel, library, "fill");
  CALL(cuKernelGetFunction, &function, kernel);
  CALL(cuLibraryGetGlobal, &p, nullptr, library, "counter");
  CUmodule module = nullptr;
  CALL(cuLibraryGetModule, &module, library);
  int value = 0;
  CALL(cuKernelGetAttribute, &value, CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK, kernel, 0);
  CALL(cuKernelGetAttribute, &value, CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK, kernel, 99);
  CALL(cuKernelGetAttribute, nullptr, CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK, kernel, 0);
  CALL(cuKernelSetAttribute, CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES, 1024, kernel, 0);
  CALL(cuKernelSetAttribute, CU_FUNC_ATTRIBUTE_NUM_REGS, 1024, kernel, 0);
  CALL(cuKernelSetCacheConfig, kernel, CU_FUNC_CACHE_PREFER_L1, 0);
  size_t offset = 0;
  size_t size = 0;
  CALL(cuKernelGetParamInfo, kernel, 1, &offset, &size);
  VALUE("second parameter", std::to_string(offset) + " " + std::to_string(size));
  CALL(cuKernelGetParamInfo, kernel, 3, &offset, &size);
  CALL(cuKernelGetParamInfo, kernel, 1, nullptr, &size);
  CALL(cuKernelGetParamInfo, kernel, 1, &offset, nullptr);
  CALL(cuLibraryUnload, library);
}

BODY(function_attributes) {
  Primary primary;
  Kernels kernels;
  for (const char* name : {"fill", "sized", "empty"}) {
    about(name);
    const CUfunction function = kernels.get(name);
    for (int at = -1; at <= 17; ++at) {
      int is = 0;
      const CUresult code = CU(cuFuncGetAttribute)(&is, number<CUfunction_attribute>(at), function);
      const std::string what = "attribute " + std::to_string(at);
      VALUE(what.c_str(), name_of(code));
      if (code == CUDA_SUCCESS) FACT(what.c_str(), is);
    }
  }
}

BODY(function_settings) {
  Primary primary;
  Kernels kernels;
  const CUfunction function = kernels.get("sized");
  const auto dynamic = CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
  int is = 0;
  CALL(cuFuncGetAttribute, nullptr, dynamic, function);
  CALL(cuFuncGetAttribute, &is, dynamic, nullptr);
  CALL(cuFuncSetAttribute, function, dynamic, 2048);
  CALL(cuFuncGetAttribute, &is, dynamic, function);
  VALUE("dynamic", is);
  CALL(cuFuncSetAttribute, function, dynamic, -1);
  CALL(cuFuncSetAttribute, function, dynamic, 1 << 30);
  CALL(cuFuncSetAttribute, nullptr, dynamic, 1);
  CALL(cuFuncSetAttribute, function, CU_FUNC_ATTRIBUTE_NUM_REGS, 1);
  CALL(cuFuncSetAttribute, function, number<CUfunction_attribute>(99), 1);
  CALL(cuFuncSetAttribute, function, CU_FUNC_ATTRIBUTE_PREFERRED_SHARED_MEMORY_CARVEOUT, 50);
  CALL(cuFuncSetAttribute, function, CU_FUNC_ATTRIBUTE_PREFERRED_SHARED_MEMORY_CARVEOUT, 101);
  CALL(cuFuncSetAttribute, function, CU_FUNC_ATTRIBUTE_PREFERRED_SHARED_MEMORY_CARVEOUT, -2);
  CALL(cuFuncSetCacheConfig, function, CU_FUNC_CACHE_PREFER_SHARED);
  CALL(cuFuncSetCacheConfig, function, number<CUfunc_cache>(9));
  CALL(cuFuncSetCacheConfig, nullptr, CU_FUNC_CACHE_PREFER_SHARED);
  CALL(cuFuncSetSharedMemConfig, function, CU_SHARED_MEM_CONFIG_FOUR_BYTE_BANK_SIZE);
  CALL(cuFuncSetSharedMemConfig, function, number<CUsharedconfig>(9));
  CUmodule module = nullptr;
  CALL(cuFuncGetModule, &module, function);
  VALUE("its module", module == kernels.module);
  CALL(cuFuncGetModule, nullptr, function);
  CALL(cuFuncGetModule, &module, nullptr);
  const char* name = nullptr;
  CALL(cuFuncGetName, &name, function);
  VALUE("name", name == nullptr ? "null" : name);
  CALL(cuFuncGetName, nullptr, function);
  CALL(cuFuncGetName, &name, nullptr);
  size_t offset = 0;
  size_t size = 0;
  CALL(cuFuncGetParamInfo, function, 0, &offset, &size);
  CALL(cuFuncGetParamInfo, function, 1, &offset, &size);
  CALL(cuFuncGetParamInfo, nullptr, 0, &offset, &size);
  CALL(cuFuncGetParamInfo, function, 0, nullptr, &size);
  CUfunctionLoadingState state{};
  CALL(cuFuncIsLoaded, &state, function);
  CALL(cuFuncIsLoaded, nullptr, function);
  CALL(cuFuncLoad, function);
  CALL(cuFuncLoad, nullptr);
}

BODY(occupancy) {
  Primary primary;
  Kernels kernels;
  const CUfunction function = kernels.get("sized");
  int blocks = 77;
  int size = 77;
  for (int threads : {-1, 0, 1, 32, 64, 65, 1024, 1025, 1 << 30}) {
    about("threads " + std::to_string(threads));
    CALL(cuOccupancyMaxActiveBlocksPerMultiprocessor, &blocks, function, threads, 0);
    FACT("blocks", blocks);
  }
  CALL(cuOccupancyMaxActiveBlocksPerMultiprocessor, nullptr, function, 64, 0);
  CALL(cuOccupancyMaxActiveBlocksPerMultiprocessor, &blocks, nullptr, 64, 0);
  CALL(cuOccupancyMaxActiveBlocksPerMultiprocessor, &blocks, function, 64, 1UL << 40);
  FACT("blocks", blocks);
  CALL(cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags, &blocks, function, 64, 0, 1);
  CALL(cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags, &blocks, function, 64, 0, 2);
  CALL(cuOccupancyMaxPotentialBlockSize, &blocks, &size, function, nullptr, 0, 0);
  FACT("grid and block", std::to_string(blocks) + " " + std::to_string(size));
  CALL(cuOccupancyMaxPotentialBlockSize, &blocks, &size, function, nullptr, 0, 32);
  FACT("grid and block", std::to_string(blocks) + " " + std::to_string(size));
  CALL(cuOccupancyMaxPotentialBlockSize, nullptr, &size, function, nullptr, 0, 0);
  CALL(cuOccupancyMaxPotentialBlockSize, &blocks, nullptr, function, nullptr, 0, 0);
  CALL(cuOccupancyMaxPotentialBlockSize, &blocks, &size, nullptr, nullptr, 0, 0);
  CALL(cuOccupancyMaxPotentialBlockSize, &blocks, &size, function, nullptr, 0, -1);
  size_t bytes = 0;
  CALL(cuOccupancyAvailableDynamicSMemPerBlock, &bytes, function, 2, 64);
  FACT("bytes", static_cast<long long>(bytes));
  CALL(cuOccupancyAvailableDynamicSMemPerBlock, nullptr, function, 2, 64);
  CALL(cuOccupancyAvailableDynamicSMemPerBlock, &bytes, nullptr, 2, 64);
  CALL(cuOccupancyAvailableDynamicSMemPerBlock, &bytes, function, 0, 64);
  CALL(cuOccupancyAvailableDynamicSMemPerBlock, &bytes, function, 2, 0);
  CALL(cuOccupancyAvailableDynamicSMemPerBlock, &bytes, function, 2, 4096);
}
