// VirtualMemory: addresses without memory, memory without addresses, and what joins the two.
//
//   CUresult made = memory.reserve(bytes, hint, &address);
//   CUresult got = memory.create(device, bytes, &handle);
//   memory.map(address, bytes, handle);  memory.allow(address, bytes, device, access);
//
// A handle is a file in memory, so that it can be mapped at several addresses; a reservation is a
// range that no kernel may touch, until a device is given access to what is mapped there. A handle
// lives as long as anybody holds it or it is mapped. Source: CUDA Driver API 13.0, Virtual Memory
// Management.
// Owner: the driver state.  Threads: any.  What is unmapped under a running kernel's hands is the
// program's fault, as on every GPU; the caller waits first.
#pragma once
#include <cstdint>
#include <map>
#include <memory>
#include <optional>

#include "transport/base/guarded.h"
#include "transport/base/unique.h"
#include "transport/cuda/cuda_abi.h"

namespace farcall::softgpu {

class VirtualMemory {
 public:
  // Sizes, addresses and alignments are multiples of it.
  static constexpr std::size_t kGranularity = std::size_t{2} << 20;

  // address: a wish; 0 for none.
  CUresult reserve(std::size_t bytes, std::size_t align, CUdeviceptr wish, CUdeviceptr* address);
  // Exactly what was reserved, with nothing mapped in it.
  CUresult release_range(CUdeviceptr address, std::size_t bytes);

  CUresult create(int device, std::size_t bytes, CUmemGenericAllocationHandle* handle);
  CUresult release(CUmemGenericAllocationHandle handle);
  // The handle mapped around `address`, held once more.
  CUresult retain(CUdeviceptr address, CUmemGenericAllocationHandle* handle);
  CUresult properties(CUmemGenericAllocationHandle handle, CUmemAllocationProp* properties);

  CUresult map(CUdeviceptr address, std::size_t bytes, CUmemGenericAllocationHandle handle);
  // One mapping, or several side by side, whole.
  CUresult unmap(CUdeviceptr address, std::size_t bytes);
  CUresult allow(CUdeviceptr address, std::size_t bytes, int device, CUmemAccess_flags access);
  CUresult access_of(CUdeviceptr address, int device, unsigned long long* access);

  // Where the memory is that is mapped there, if any device may touch it.
  std::optional<int> device_of(CUdeviceptr address);

 private:
  struct Memory {
    Fd file;
    std::size_t bytes = 0;
    int device = 0;
    unsigned holders = 0;  // cuMemCreate, cuMemRetainAllocationHandle
    unsigned mappings = 0;
  };
  struct Mapping {
    std::size_t bytes = 0;
    CUmemGenericAllocationHandle handle = 0;
    std::map<int, CUmemAccess_flags> access;  // by device
  };
  struct State {
    std::map<std::uint64_t, std::size_t> ranges;  // by address: bytes
    std::map<std::uint64_t, Mapping> mappings;    // by address
    std::map<CUmemGenericAllocationHandle, Memory> memory;
    CUmemGenericAllocationHandle last = 0;
  };
  using Mappings = std::map<std::uint64_t, Mapping>;
  static void forget_if_unused(State& state, CUmemGenericAllocationHandle handle);
  static bool is_reserved(const State& state, CUdeviceptr address, std::size_t bytes);
  // The mappings that make up exactly this range; false when there are none such.
  static bool span(State& state, CUdeviceptr address, std::size_t bytes, Mappings::iterator* first,
                   Mappings::iterator* end);

  Guarded<State> state_;
};

}  // namespace farcall::softgpu
