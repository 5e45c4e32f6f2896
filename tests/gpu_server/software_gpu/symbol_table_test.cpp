#include "gpu_server/software_gpu/symbol_table.h"

#include <cstring>
#include <string>

#include "tests/gpu_server/software_gpu/driver_session.h"
#include "transport/cuda/entry_points.h"

namespace farcall::softgpu::tests {

TEST_CASE("every entry point CUDA 13.0 knows is exported") {
  for (const cuda::EntryPoint& entry : cuda::entry_points()) {
    CAPTURE(entry.symbol);
    CHECK(find_symbol(entry.symbol) != nullptr);
  }
  CHECK(find_symbol("cuNoSuchThing") == nullptr);
  CHECK(find_symbol("") == nullptr);
}

TEST_CASE("cuGetProcAddress chooses by version and by default stream") {
  void* found = nullptr;
  CUdriverProcAddressQueryResult why{};
  CHECK(cuGetProcAddress_v2("cuMemAlloc", &found, 13000, 0, &why) == CUDA_SUCCESS);
  CHECK(found == reinterpret_cast<void*>(&cuMemAlloc_v2));
  CHECK(why == CU_GET_PROC_ADDRESS_SUCCESS);
  CHECK(cuGetProcAddress_v2("cuLaunchKernel", &found, 13000,
                            CU_GET_PROC_ADDRESS_PER_THREAD_DEFAULT_STREAM, &why) == CUDA_SUCCESS);
  CHECK(found == reinterpret_cast<void*>(&cuLaunchKernel_ptsz));
  CHECK(cuGetProcAddress_v2("cuMemcpyHtoD", &found, 13000,
                            CU_GET_PROC_ADDRESS_PER_THREAD_DEFAULT_STREAM, &why) == CUDA_SUCCESS);
  CHECK(found == reinterpret_cast<void*>(&cuMemcpyHtoD_v2_ptds));
  CHECK(cuGetProcAddress_v2("cuNoSuchThing", &found, 13000, 0, &why) == CUDA_ERROR_NOT_FOUND);
  CHECK(found == nullptr);
  CHECK(why == CU_GET_PROC_ADDRESS_SYMBOL_NOT_FOUND);
}

TEST_CASE("a function that is not served says so") {
  start_driver();
  CUtexref texture = nullptr;
  CHECK(cuTexRefCreate(&texture) == CUDA_ERROR_NOT_SUPPORTED);
  const char* name = nullptr;
  CHECK(cuGetErrorName(CUDA_ERROR_NOT_SUPPORTED, &name) == CUDA_SUCCESS);
  CHECK(std::string(name) == "CUDA_ERROR_NOT_SUPPORTED");
  CHECK(cuGetErrorName(static_cast<CUresult>(998), &name) == CUDA_ERROR_INVALID_VALUE);
}

TEST_CASE("a private table that is not known is not found") {
  start_driver();
  const void* table = &table;
  CUuuid unknown{};
  CHECK(cuGetExportTable(&table, &unknown) == CUDA_ERROR_NOT_FOUND);
}

}  // namespace farcall::softgpu::tests
