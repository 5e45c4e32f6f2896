#include "transport/cuda/context_storage.h"

#include <algorithm>
#include <vector>

#include "transport/base/guarded.h"
#include "transport/base/limits.h"

namespace farcall::cuda {
namespace {

struct Entry {
  CUcontext context;
  void* key;
  void* value;
  ContextValueDestructor destroy;
};

// A process has a handful of values, so a plain vector, oldest first, is the fastest map.
using Table = std::vector<Entry>;

Guarded<Table>& table() {
  // Never destroyed: libcudart calls in from atexit, after static destructors of ours.
  static Guarded<Table>* const leaked = new Guarded<Table>();
  return *leaked;
}

Table::iterator find(Table& entries, CUcontext context, void* key) {
  return std::find_if(entries.begin(), entries.end(), [&](const Entry& entry) {
    return entry.context == context && entry.key == key;
  });
}

}  // namespace

CUresult context_storage_put(CUcontext context, void* key, void* value,
                             ContextValueDestructor destroy) {
  auto entries = table().lock();
  const Entry entry{context, key, value, destroy};
  if (const auto found = find(*entries, context, key); found != entries->end()) {
    *found = entry;
  } else if (entries->size() >= limits::kContextValuesMax) {
    return CUDA_ERROR_OUT_OF_MEMORY;
  } else {
    entries->push_back(entry);
  }
  return CUDA_SUCCESS;
}

CUresult context_storage_delete(CUcontext context, void* key) {
  auto entries = table().lock();
  const auto found = find(*entries, context, key);
  if (found == entries->end()) return CUDA_ERROR_INVALID_HANDLE;
  entries->erase(found);
  return CUDA_SUCCESS;
}

CUresult context_storage_get(void** value, CUcontext context, void* key) {
  if (value == nullptr) return CUDA_ERROR_INVALID_VALUE;
  auto entries = table().lock();
  const auto found = find(*entries, context, key);
  if (found == entries->end()) return CUDA_ERROR_INVALID_HANDLE;
  *value = found->value;
  return CUDA_SUCCESS;
}

void context_storage_reset(CUcontext context) {
  Table gone;
  {
    auto entries = table().lock();
    const auto kept = std::stable_partition(entries->begin(), entries->end(),
                                            [&](const Entry& e) { return e.context != context; });
    gone.assign(kept, entries->end());
    entries->erase(kept, entries->end());
  }
  for (auto entry = gone.rbegin(); entry != gone.rend(); ++entry) {
    if (entry->destroy != nullptr) entry->destroy(entry->context, entry->key, entry->value);
  }
}

}  // namespace farcall::cuda
