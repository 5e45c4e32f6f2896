// Virtual memory: a vector that grows in place, mapping by mapping, through the driver API.
#include "tests/e2e/programs/expect_driver.h"

__global__ void fill(int* data, int from, int count) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < count) data[from + i] = from + i;
}

int main() {
  CUDA_OK(cudaFree(nullptr));
  CUmemAllocationProp kind{};
  kind.type = CU_MEM_ALLOCATION_TYPE_PINNED;
  kind.location = {CU_MEM_LOCATION_TYPE_DEVICE, 0};
  std::size_t step = 0;
  DRIVER_OK(cuMemGetAllocationGranularity(&step, &kind, CU_MEM_ALLOC_GRANULARITY_MINIMUM));
  EXPECT(step > 0 && (step & (step - 1)) == 0);
  const std::size_t room = 8 * step;
  CUdeviceptr base = 0;
  DRIVER_OK(cuMemAddressReserve(&base, room, 0, 0, 0));
  const int each = static_cast<int>(step / sizeof(int));
  CUmemAccessDesc access{{CU_MEM_LOCATION_TYPE_DEVICE, 0}, CU_MEM_ACCESS_FLAGS_PROT_READWRITE};
  for (int part = 0; part < 4; part++) {
    const CUdeviceptr at = base + part * step;
    CUmemGenericAllocationHandle memory = 0;
    DRIVER_OK(cuMemCreate(&memory, step, &kind, 0));
    DRIVER_OK(cuMemMap(at, step, 0, memory, 0));
    DRIVER_OK(cuMemSetAccess(at, step, &access, 1));
    DRIVER_OK(cuMemRelease(memory));  // the mapping keeps it
    fill<<<(each + 255) / 256, 256>>>(reinterpret_cast<int*>(base), part * each, each);
  }
  // One copy over all mappings.
  std::vector<int> host(4 * each);
  CUDA_OK(cudaMemcpy(host.data(), reinterpret_cast<int*>(base), 4 * step, cudaMemcpyDeviceToHost));
  for (int i = 0; i < 4 * each; i++) EXPECT(host[i] == i);
  unsigned long long flags = 0;
  DRIVER_OK(cuMemGetAccess(&flags, &access.location, base + step));
  EXPECT(flags == CU_MEM_ACCESS_FLAGS_PROT_READWRITE);
  CUmemGenericAllocationHandle again = 0;
  DRIVER_OK(cuMemRetainAllocationHandle(&again, reinterpret_cast<void*>(base + step)));
  CUmemAllocationProp told{};
  DRIVER_OK(cuMemGetAllocationPropertiesFromHandle(&told, again));
  EXPECT(told.location.id == 0 && told.type == CU_MEM_ALLOCATION_TYPE_PINNED);
  // The same memory at a second address.
  DRIVER_OK(cuMemMap(base + 5 * step, step, 0, again, 0));
  DRIVER_OK(cuMemSetAccess(base + 5 * step, step, &access, 1));
  CUDA_OK(cudaMemset(reinterpret_cast<void*>(base + step), 1, 4));
  CUDA_OK(cudaMemcpy(host.data(), reinterpret_cast<int*>(base + 5 * step), step,
                     cudaMemcpyDeviceToHost));
  EXPECT(host[0] == 0x01010101 && host[1] == each + 1);
  DRIVER_OK(cuMemRelease(again));
  DRIVER_OK(cuMemUnmap(base + 5 * step, step));
  EXPECT(cuMemAddressFree(base, room) == CUDA_ERROR_INVALID_VALUE);
  DRIVER_OK(cuMemUnmap(base, 4 * step));
  DRIVER_OK(cuMemAddressFree(base, room));
  std::printf("growing_vector: %d parts of %zu bytes\n", 4, step);
  return 0;
}
