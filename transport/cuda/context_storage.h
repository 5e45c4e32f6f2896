// Values that the runtime hangs on a context, by key.
//
//   context_storage_put(context, key, value, destroy);
//   context_storage_get(&value, context, key);          // CUDA_ERROR_INVALID_HANDLE when absent
//   context_storage_reset(context);                     // the driver destroys or resets a context
//
// Owner: a table that is never destroyed, because libcudart uses it from atexit.  Threads: any.
// A value's destructor runs without a lock held and may call back.
#pragma once
#include <cstddef>

#include "transport/cuda/cuda_abi.h"

namespace farcall::cuda {

using ContextValueDestructor = void (*)(CUcontext context, void* key, void* value);

// Replaces what was there without running its destructor. Errors: CUDA_ERROR_OUT_OF_MEMORY beyond
// limits::kContextValuesMax.
CUresult context_storage_put(CUcontext context, void* key, void* value,
                             ContextValueDestructor destroy);
// Forgets without running the destructor: whoever deletes a key by name cleans up itself.
CUresult context_storage_delete(CUcontext context, void* key);
CUresult context_storage_get(void** value, CUcontext context, void* key);
// Runs all destructors of a context, newest first. To be called when a context is destroyed or a
// primary context is reset (or released for the last time).
void context_storage_reset(CUcontext context);

}  // namespace farcall::cuda
