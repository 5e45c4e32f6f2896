// Driver: everything one process knows of the software GPU.
//
//   if (CUresult failed = require_context(&context)) return failed;
//   auto event = driver().events.find(handle);
//
// One leaked object: cudart calls us from atexit, after static destructors may have run, and worker
// threads may still be at work then.
// Owner: the process.  Threads: any.  Lock order: README.md.
#pragma once
#include <memory>
#include <vector>

#include "gpu_server/software_gpu/addresses.h"
#include "gpu_server/software_gpu/array.h"
#include "gpu_server/software_gpu/captures.h"
#include "gpu_server/software_gpu/device.h"
#include "gpu_server/software_gpu/event.h"
#include "gpu_server/software_gpu/graph.h"
#include "gpu_server/software_gpu/green_context.h"
#include "gpu_server/software_gpu/handle_table.h"
#include "gpu_server/software_gpu/image_objects.h"
#include "gpu_server/software_gpu/link_job.h"
#include "gpu_server/software_gpu/module.h"
#include "gpu_server/software_gpu/pool.h"
#include "gpu_server/software_gpu/stream.h"
#include "gpu_server/software_gpu/user_object.h"
#include "gpu_server/software_gpu/virtual_memory.h"

namespace farcall::softgpu {

class Driver {
 public:
  // What cuInit does; later calls answer what the first one answered.
  CUresult start();
  bool started() const { return started_.load(std::memory_order_acquire); }
  // Null for an ordinal that does not exist.
  Device* device(CUdevice ordinal);
  int device_count() const { return static_cast<int>(devices_.size()); }

  // Streams, events and queued work refer to their context, and threads keep ended ones on their
  // stacks; so the shell of an ended context (under a kilobyte) is kept for ever.
  void retire(std::shared_ptr<Context> context) { retired_.lock()->push_back(std::move(context)); }

  HandleTable<Context> contexts;
  HandleTable<Stream> streams;
  HandleTable<Event> events;
  HandleTable<Module> modules;
  HandleTable<Function> functions;
  HandleTable<Library> libraries;
  HandleTable<LibraryKernel> kernels;
  HandleTable<Array> arrays;
  HandleTable<MipmappedArray> mipmapped_arrays;
  HandleTable<Pool> pools;
  HandleTable<LinkJob> link_jobs;
  HandleTable<ResourceDescription> resource_descriptions;
  HandleTable<GreenContext> green_contexts;
  HandleTable<Graph> graphs;
  HandleTable<GraphNode> graph_nodes;
  HandleTable<GraphExec> graph_execs;
  HandleTable<UserObject> user_objects;
  Addresses addresses;
  ImageObjects image_objects;
  VirtualMemory virtual_memory;
  Captures captures;

 private:
  CUresult start_once();
  std::atomic<bool> started_{false};
  Guarded<std::vector<std::shared_ptr<Context>>> retired_;
  Guarded<CUresult> outcome_{CUDA_ERROR_NOT_INITIALIZED};
  std::vector<std::unique_ptr<Device>> devices_;  // unchanged once started
};

Driver& driver();

// While it lives, this thread runs a host function of the program's, inside which "attempting to
// use a CUDA API will result in CUDA_ERROR_NOT_PERMITTED" (cuda.h, cuStreamAddCallback).
class InHostFunction {
 public:
  InHostFunction();
  ~InHostFunction();
  InHostFunction(const InHostFunction&) = delete;
  InHostFunction& operator=(const InHostFunction&) = delete;
};

// CUDA_ERROR_NOT_INITIALIZED before cuInit and in a child that fork made; CUDA_ERROR_NOT_PERMITTED
// inside a host function.
CUresult require_driver();
// The calling thread's context, if it may be used; of a green one the primary context. Errors: also
// CUDA_ERROR_INVALID_CONTEXT, _IS_DESTROYED, or the fault it met.
CUresult require_context(Context** context);
// The same, and a green context's own view where that is current: for what has to do with streams.
CUresult require_view(Context** context);
// A context by its handle; null means the current one. Errors as above.
CUresult find_context(CUcontext handle, Context** context);

// The stream a handle means to the calling thread: NULL and 1 are the context's legacy stream, 2
// the thread's own. Errors: CUDA_ERROR_INVALID_HANDLE, or its context's.
CUresult find_stream(CUstream handle, std::shared_ptr<Stream>* stream);

// Waits for everything that `stream` must wait for, then says whether its context is still well.
CUresult wait_turn(Stream& stream);

// Context::clear's second half: handles, modules, memory.
void drop_objects_of(Context& context);
void drop_module(const std::shared_ptr<Module>& module);

}  // namespace farcall::softgpu
