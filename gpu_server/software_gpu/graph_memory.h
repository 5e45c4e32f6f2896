// GraphMemory: what a memory node of a graph allocates. Its address is fixed when the node is made;
// a launch of the graph brings it to life, and a free node, cuMemFreeAsync or cuMemFree ends that.
//
//   auto memory = GraphMemory::make(context, bytes, &result);
//   if (!GraphMemory::begin({memory}, auto_free)) return CUDA_ERROR_INVALID_VALUE;
//   GraphMemory::end(address);             // → whose memory it was; null: nobody's
//
// Both say at once what is alive; work that may still use the memory holds it by shared_ptr until
// its turn is over. It ends with its context, like all memory; who still has it has an empty one.
// The address is backed all the time, because a CPU's memory costs nothing before it is touched.
// What counts as used and reserved is what a GPU would keep: from a launch until it is trimmed.
// Owner: the nodes, and itself while it is alive.  Threads: any.
#pragma once
#include <cstdint>
#include <memory>
#include <vector>

#include "transport/cuda/cuda_abi.h"

namespace farcall::softgpu {

class Context;
class Device;

class GraphMemory {
 public:
  // Null, and the reason in `failed`, when there is no memory.
  static std::shared_ptr<GraphMemory> make(Context& context, std::size_t bytes, CUresult* failed);
  ~GraphMemory();
  GraphMemory(const GraphMemory&) = delete;
  GraphMemory& operator=(const GraphMemory&) = delete;

  CUdeviceptr address() const { return address_; }
  using Pointers = std::vector<std::shared_ptr<GraphMemory>>;
  // A launch allocates all of it, or nothing. False: some is alive and the launch may not free it
  // first, or its context has gone.
  static bool begin(const Pointers& all, bool auto_free);
  // It is free again. Null: no memory of a graph begins there, or it is not alive.
  static std::shared_ptr<GraphMemory> end(CUdeviceptr address);
  static bool is_known(CUdeviceptr address);
  static void forget_all_of(const Context& context);

  // cuDeviceGetGraphMemAttribute and relatives.
  static CUresult attribute(const Device& device, CUgraphMem_attribute which, std::uint64_t* value);
  static CUresult reset_high(const Device& device, CUgraphMem_attribute which);
  static void trim(const Device& device);

 private:
  GraphMemory(CUdeviceptr address, std::uint64_t buffer_id)
      : address_(address), buffer_id_(buffer_id) {}
  const CUdeviceptr address_;
  const std::uint64_t buffer_id_;  // whose the address was when it was given out
};

}  // namespace farcall::softgpu
