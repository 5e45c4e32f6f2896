// GraphMemory: what a memory node of a graph allocates. Its address is fixed when the node is made;
// a launch of the graph brings it to life, and a free node, cuMemFreeAsync or cuMemFree ends that.
//
//   auto memory = GraphMemory::make(context, bytes, &result);
//   if (!memory->begin(auto_free)) return CUDA_ERROR_INVALID_VALUE;    // still alive
//   GraphMemory::end(address);
//
// The address is backed all the time, because a CPU's memory costs nothing before it is touched.
// What counts as used and reserved is what a GPU would keep: from a launch until it is trimmed.
// Owner: the nodes, and itself while it is alive.  Threads: any.
#pragma once
#include <cstdint>
#include <memory>

#include "transport/cuda/cuda_abi.h"

namespace farcall::softgpu {

class Context;
class Device;

class GraphMemory : public std::enable_shared_from_this<GraphMemory> {
 public:
  // Null, and the reason in `failed`, when there is no memory.
  static std::shared_ptr<GraphMemory> make(Context& context, std::size_t bytes, CUresult* failed);
  ~GraphMemory();
  GraphMemory(const GraphMemory&) = delete;
  GraphMemory& operator=(const GraphMemory&) = delete;

  CUdeviceptr address() const { return address_; }
  // A launch allocates it. False: it is alive, and the launch may not free it first.
  bool begin(bool auto_free);
  // It is free again. False: no memory of a graph begins there, or it is not alive.
  static bool end(CUdeviceptr address);
  static bool is_known(CUdeviceptr address);

  // cuDeviceGetGraphMemAttribute and relatives.
  static CUresult attribute(const Device& device, CUgraphMem_attribute which, std::uint64_t* value);
  static CUresult reset_high(const Device& device, CUgraphMem_attribute which);
  static void trim(const Device& device);

 private:
  GraphMemory(Device& device, CUdeviceptr address, std::size_t bytes)
      : device_(device), address_(address), bytes_(bytes) {}
  Device& device_;
  const CUdeviceptr address_;
  const std::size_t bytes_;
};

}  // namespace farcall::softgpu
