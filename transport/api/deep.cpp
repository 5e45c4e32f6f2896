#include "transport/api/deep.h"

#include <cstring>

#include "transport/base/limits.h"

namespace farcall::api {
namespace {

// An id that stands where the driver wants a pointer: the client's handles are their ids.
template <class T>
T real(Load& load, T id_as_pointer) {
  std::uint64_t id = reinterpret_cast<std::uintptr_t>(id_as_pointer);
  if (id == 0) return nullptr;
  void* found = load.handles.find(kKindOf<T>, id);
  if (found == nullptr) load.refuse(bad_handle(kKindOf<T>));
  return static_cast<T>(found);
}

}  // namespace

// --- launch attributes
// -------------------------------------------------------------------------------

namespace {

// The id as a number: a program, or a client, may have put there what CUDA has no name for.
std::uint32_t id_of(const CUlaunchAttribute& attribute) {
  std::uint32_t id = 0;
  static_assert(sizeof(attribute.id) == sizeof(id));
  std::memcpy(&id, &attribute.id, sizeof(id));
  return id;
}

// Only what is known to carry no pointer but a handle that load_attribute looks up: an id of a
// newer CUDA may be anything. Not among them: CU_LAUNCH_ATTRIBUTE_DEVICE_UPDATABLE_KERNEL_NODE, for
// which the driver would write a node handle into the caller's attribute. Source: CUDA Driver
// API 13.0, CUlaunchAttributeID and CUlaunchAttributeValue.
bool is_served(std::uint32_t id) {
  switch (id) {
    case CU_LAUNCH_ATTRIBUTE_IGNORE:
    case CU_LAUNCH_ATTRIBUTE_ACCESS_POLICY_WINDOW:  // its address is the device's
    case CU_LAUNCH_ATTRIBUTE_COOPERATIVE:
    case CU_LAUNCH_ATTRIBUTE_SYNCHRONIZATION_POLICY:
    case CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION:
    case CU_LAUNCH_ATTRIBUTE_CLUSTER_SCHEDULING_POLICY_PREFERENCE:
    case CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION:
    case CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_EVENT:
    case CU_LAUNCH_ATTRIBUTE_PRIORITY:
    case CU_LAUNCH_ATTRIBUTE_MEM_SYNC_DOMAIN_MAP:
    case CU_LAUNCH_ATTRIBUTE_MEM_SYNC_DOMAIN:
    case CU_LAUNCH_ATTRIBUTE_PREFERRED_CLUSTER_DIMENSION:
    case CU_LAUNCH_ATTRIBUTE_LAUNCH_COMPLETION_EVENT:
    case CU_LAUNCH_ATTRIBUTE_PREFERRED_SHARED_MEMORY_CARVEOUT:
    case CU_LAUNCH_ATTRIBUTE_NVLINK_UTIL_CENTRIC_SCHEDULING: return true;
    default: return false;
  }
}

}  // namespace

CUresult check_attribute(const CUlaunchAttribute& from) {
  if (is_served(id_of(from))) return CUDA_SUCCESS;
  return id_of(from) < CU_LAUNCH_ATTRIBUTE_MAX ? CUDA_ERROR_NOT_SUPPORTED
                                               : CUDA_ERROR_INVALID_VALUE;
}

void put_attribute(wire::Writer& out, const CUlaunchAttribute& from) {
  out.put(id_of(from));
  out.put(std::uint32_t{0});
  out.put(from.value);
}

void load_attribute(Load& load, CUlaunchAttribute& to) {
  auto id = load.in.get<std::uint32_t>();
  if (load.in.get<std::uint32_t>() != 0) load.in.fail();
  static_assert(sizeof(to.id) == sizeof(id));
  std::memcpy(&to.id, &id, sizeof(id));
  to.value = load.in.get<CUlaunchAttributeValue>();
  if (!is_served(id)) return load.refuse(CUDA_ERROR_NOT_SUPPORTED);
  switch (id) {
    case CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_EVENT:
      to.value.programmaticEvent.event = real(load, to.value.programmaticEvent.event);
      break;
    case CU_LAUNCH_ATTRIBUTE_LAUNCH_COMPLETION_EVENT:
      to.value.launchCompletionEvent.event = real(load, to.value.launchCompletionEvent.event);
      break;
    default: break;
  }
}

// --- CUlaunchConfig
// ----------------------------------------------------------------------------------

CUresult Deep<CUlaunchConfig>::check(const CUlaunchConfig& from) {
  if (from.numAttrs == 0) return CUDA_SUCCESS;
  if (from.attrs == nullptr) return CUDA_ERROR_INVALID_VALUE;
  if (from.numAttrs > limits::kLaunchAttributesMax) return CUDA_ERROR_NOT_SUPPORTED;
  for (unsigned i = 0; i < from.numAttrs; ++i) {
    if (CUresult bad = check_attribute(from.attrs[i]); bad != CUDA_SUCCESS) return bad;
  }
  return CUDA_SUCCESS;
}

void Deep<CUlaunchConfig>::put(wire::Writer& out, const CUlaunchConfig& from) {
  for (unsigned extent : {from.gridDimX, from.gridDimY, from.gridDimZ, from.blockDimX,
                          from.blockDimY, from.blockDimZ, from.sharedMemBytes, from.numAttrs}) {
    out.put(extent);
  }
  put_item(out, from.hStream);
  for (unsigned i = 0; i < from.numAttrs; ++i) put_attribute(out, from.attrs[i]);
}

void Deep<CUlaunchConfig>::load(Load& load, CUlaunchConfig& to) {
  for (unsigned* extent : {&to.gridDimX, &to.gridDimY, &to.gridDimZ, &to.blockDimX, &to.blockDimY,
                           &to.blockDimZ, &to.sharedMemBytes, &to.numAttrs}) {
    *extent = load.in.get<unsigned>();
  }
  to.hStream = load_item<CUstream>(load);
  if (to.numAttrs > limits::kLaunchAttributesMax) return load.in.fail();
  if (to.numAttrs == 0) return;
  to.attrs = load.scratch.array<CUlaunchAttribute>(to.numAttrs);
  if (to.attrs == nullptr) return load.in.fail();
  for (unsigned i = 0; i < to.numAttrs; ++i) load_attribute(load, to.attrs[i]);
}

// --- memory properties
// ---------------------------------------------------------------------------------

CUresult Deep<CUmemAllocationProp>::check(const CUmemAllocationProp& from) {
  return from.win32HandleMetaData == nullptr ? CUDA_SUCCESS : CUDA_ERROR_NOT_SUPPORTED;
}
void Deep<CUmemAllocationProp>::put(wire::Writer& out, const CUmemAllocationProp& from) {
  put_item(out, from);
}
void Deep<CUmemAllocationProp>::load(Load& load, CUmemAllocationProp& to) {
  to = load.in.get<CUmemAllocationProp>();
  if (to.win32HandleMetaData != nullptr) load.in.fail();
}

CUresult Deep<CUmemPoolProps>::check(const CUmemPoolProps& from) {
  return from.win32SecurityAttributes == nullptr ? CUDA_SUCCESS : CUDA_ERROR_NOT_SUPPORTED;
}
void Deep<CUmemPoolProps>::put(wire::Writer& out, const CUmemPoolProps& from) {
  put_item(out, from);
}
void Deep<CUmemPoolProps>::load(Load& load, CUmemPoolProps& to) {
  to = load.in.get<CUmemPoolProps>();
  if (to.win32SecurityAttributes != nullptr) load.in.fail();
}

// --- textures and surfaces
// -------------------------------------------------------------------------------

CUresult Deep<CUDA_RESOURCE_DESC>::check(const CUDA_RESOURCE_DESC&) { return CUDA_SUCCESS; }
void Deep<CUDA_RESOURCE_DESC>::put(wire::Writer& out, const CUDA_RESOURCE_DESC& from) {
  out.put(from);
}
void Deep<CUDA_RESOURCE_DESC>::load(Load& load, CUDA_RESOURCE_DESC& to) {
  to = load.in.get<CUDA_RESOURCE_DESC>();
  std::uint32_t type = 0;
  static_assert(sizeof(to.resType) == sizeof(type));
  std::memcpy(&type, &to.resType, sizeof(type));
  switch (type) {
    case CU_RESOURCE_TYPE_ARRAY: to.res.array.hArray = real(load, to.res.array.hArray); break;
    case CU_RESOURCE_TYPE_MIPMAPPED_ARRAY:
      to.res.mipmap.hMipmappedArray = real(load, to.res.mipmap.hMipmappedArray);
      break;
    case CU_RESOURCE_TYPE_LINEAR:
    case CU_RESOURCE_TYPE_PITCH2D: break;
    default: load.refuse(CUDA_ERROR_INVALID_VALUE); break;
  }
}

// Both handles stand at the same place as in the struct: the caller's handles are their ids.
void DeepAnswer<CUDA_RESOURCE_DESC>::answer(Answer& answer, const CUDA_RESOURCE_DESC& from) {
  CUDA_RESOURCE_DESC named = from;
  if (from.resType == CU_RESOURCE_TYPE_ARRAY) {
    named.res.array.hArray = answer.name(from.res.array.hArray);
  } else if (from.resType == CU_RESOURCE_TYPE_MIPMAPPED_ARRAY) {
    named.res.mipmap.hMipmappedArray = answer.name(from.res.mipmap.hMipmappedArray);
  }
  answer.out.put(named);
}
void DeepAnswer<CUDA_RESOURCE_DESC>::take(wire::Reader& in, CUDA_RESOURCE_DESC& to) {
  to = in.get<CUDA_RESOURCE_DESC>();
}

// --- graphs --------------------------------------------------------------------------------------

void DeepAnswer<CUDA_MEMCPY3D>::answer(Answer& answer, const CUDA_MEMCPY3D& from) {
  CUDA_MEMCPY3D named = from;
  const bool from_array = from.srcMemoryType == CU_MEMORYTYPE_ARRAY;
  const bool to_array = from.dstMemoryType == CU_MEMORYTYPE_ARRAY;
  named.srcArray = from_array ? answer.name(from.srcArray) : nullptr;
  named.dstArray = to_array ? answer.name(from.dstArray) : nullptr;
  // Host memory of this process is nobody's business.
  named.srcHost = nullptr;
  named.dstHost = nullptr;
  named.reserved0 = nullptr;
  named.reserved1 = nullptr;
  answer.out.put(named);
}
void DeepAnswer<CUDA_MEMCPY3D>::take(wire::Reader& in, CUDA_MEMCPY3D& to) {
  to = in.get<CUDA_MEMCPY3D>();
  to.srcHost = nullptr;
  to.dstHost = nullptr;
}

void DeepAnswer<CUDA_MEM_ALLOC_NODE_PARAMS>::answer(Answer& answer,
                                                    const CUDA_MEM_ALLOC_NODE_PARAMS& from) {
  CUmemPoolProps props = from.poolProps;
  props.win32SecurityAttributes = nullptr;
  answer.out.put(props);
  answer.out.put(static_cast<std::uint64_t>(from.bytesize));
  answer.out.put(static_cast<std::uint64_t>(from.dptr));
}
void DeepAnswer<CUDA_MEM_ALLOC_NODE_PARAMS>::take(wire::Reader& in,
                                                  CUDA_MEM_ALLOC_NODE_PARAMS& to) {
  to = {};
  to.poolProps = take_item<CUmemPoolProps>(in);
  to.poolProps.win32SecurityAttributes = nullptr;
  to.bytesize = in.get<std::uint64_t>();
  to.dptr = in.get<std::uint64_t>();
}

namespace {

bool is_on_device(CUmemorytype type) {
  return type == CU_MEMORYTYPE_DEVICE || type == CU_MEMORYTYPE_ARRAY;
}

}  // namespace

CUresult Deep<CUDA_MEMCPY3D>::check(const CUDA_MEMCPY3D& from) {
  return is_on_device(from.srcMemoryType) && is_on_device(from.dstMemoryType)
             ? CUDA_SUCCESS
             : CUDA_ERROR_NOT_SUPPORTED;
}
void Deep<CUDA_MEMCPY3D>::put(wire::Writer& out, const CUDA_MEMCPY3D& from) {
  CUDA_MEMCPY3D sent = from;
  sent.srcHost = nullptr;  // whatever the program left there is not for the server
  sent.dstHost = nullptr;
  out.put(sent);
}
void Deep<CUDA_MEMCPY3D>::load(Load& load, CUDA_MEMCPY3D& to) {
  to = load.in.get<CUDA_MEMCPY3D>();
  to.srcHost = nullptr;
  to.dstHost = nullptr;
  to.reserved0 = nullptr;
  to.reserved1 = nullptr;
  if (check(to) != CUDA_SUCCESS) return load.refuse(CUDA_ERROR_NOT_SUPPORTED);
  // An array that is not used is not looked at either.
  to.srcArray = to.srcMemoryType == CU_MEMORYTYPE_ARRAY ? real(load, to.srcArray) : nullptr;
  to.dstArray = to.dstMemoryType == CU_MEMORYTYPE_ARRAY ? real(load, to.dstArray) : nullptr;
}

// --- CUDA_BATCH_MEM_OP_NODE_PARAMS
// -------------------------------------------------------------------
CUresult Deep<CUDA_BATCH_MEM_OP_NODE_PARAMS>::check(const CUDA_BATCH_MEM_OP_NODE_PARAMS& from) {
  if (from.count > 0 && from.paramArray == nullptr) return CUDA_ERROR_INVALID_VALUE;
  return from.count <= limits::kArrayItemsMax / 8 ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}
void Deep<CUDA_BATCH_MEM_OP_NODE_PARAMS>::put(wire::Writer& out,
                                              const CUDA_BATCH_MEM_OP_NODE_PARAMS& from) {
  put_item(out, from.ctx);
  out.put(from.count);
  out.put(from.flags);
  for (unsigned i = 0; i < from.count; ++i) out.put(from.paramArray[i]);
}
void Deep<CUDA_BATCH_MEM_OP_NODE_PARAMS>::load(Load& load, CUDA_BATCH_MEM_OP_NODE_PARAMS& to) {
  to.ctx = load_item<CUcontext>(load);
  to.count = load.in.get<std::uint32_t>();
  to.flags = load.in.get<std::uint32_t>();
  if (to.count > limits::kArrayItemsMax / 8) return load.in.fail();
  to.paramArray = load.scratch.array<CUstreamBatchMemOpParams>(to.count);
  if (to.paramArray == nullptr) return load.in.fail();
  for (unsigned i = 0; i < to.count; ++i) {
    to.paramArray[i] = load.in.get<CUstreamBatchMemOpParams>();
  }
}

}  // namespace farcall::api
