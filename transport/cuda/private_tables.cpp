#include "transport/cuda/private_tables.h"

#include <pthread.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cstdio>
#include <cstring>
#include <span>
#include <utility>
#include <vector>

#include "transport/base/limits.h"
#include "transport/base/log.h"
#include "transport/cuda/context_storage.h"
#include "transport/cuda/integrity.h"

namespace farcall::cuda {
namespace {

std::atomic<const PrivateHost*> g_host{nullptr};

const PrivateHost& host() { return *g_host.load(std::memory_order_acquire); }

using Slot = const void*;
template <class Function>
Slot slot(Function* function) {
  return reinterpret_cast<const void*>(function);
}
template <std::size_t N>
Slot bytes_of() {
  return reinterpret_cast<const void*>(N * sizeof(Slot));
}

// Stands in every slot that no known program calls, so that one that does can be told apart.
template <int kTable, int kSlot>
CUresult unserved() {
  static std::atomic<bool> told{false};
  if (!told.exchange(true)) {
    FARCALL_LOG_DEBUG("private table %d: slot %d was called and is not served", kTable, kSlot);
  }
  return CUDA_ERROR_NOT_SUPPORTED;
}
template <int kTable, std::size_t N, std::size_t... kSlots>
std::array<Slot, N> all_unserved(std::index_sequence<kSlots...>) {
  return {slot(&unserved<kTable, static_cast<int>(kSlots)>)...};
}
// A table of N slots whose first holds the table's size.
template <int kTable, std::size_t N>
std::array<Slot, N> sized_table() {
  auto slots = all_unserved<kTable, N>(std::make_index_sequence<N>());
  slots[0] = bytes_of<N>();
  return slots;
}

// --- CUDART_INTERFACE: contexts and modules ------------------------------------------------------

CUresult primary_context(CUcontext* context, CUdevice device) {
  return host().primary_context(context, device);
}
CUresult module_from_wrapper(CUmodule* module, const void* wrapper) {
  return host().load_module(module, wrapper);
}
CUresult module_from_wrapper_ext1(CUmodule* module, const void* wrapper, void*, void*, unsigned) {
  return host().load_module(module, wrapper);
}
CUresult module_from_container_ext2(const void* container, CUmodule* module, void*, void*,
                                    unsigned) {
  return host().load_module(module, container);
}
void nothing_to_do(std::size_t) {}
CUresult load_compilers() { return CUDA_SUCCESS; }

const auto& cudart_interface() {
  static const auto slots = [] {
    auto table = sized_table<0, 13>();
    table[1] = slot(&module_from_wrapper);
    table[2] = slot(&primary_context);
    table[6] = slot(&module_from_wrapper_ext1);
    table[7] = slot(&nothing_to_do);
    table[8] = slot(&module_from_container_ext2);
    table[12] = slot(&load_compilers);
    return table;
  }();
  return slots;
}

// --- TOOLS_RUNTIME_CALLBACK_HOOKS: which runtime calls a profiler wants to see: none -------------

// The runtime indexes the first buffer by call number, some above 1024.
constexpr std::size_t kHookBytes = 2048;
constexpr std::size_t kHookBytes2 = 14;
std::byte g_hooks[kHookBytes] = {};
std::byte g_hooks2[kHookBytes2] = {};

void hook_buffer(void** buffer, std::size_t* bytes) {
  *buffer = g_hooks;
  *bytes = kHookBytes;
}
void hook_buffer2(void** buffer, std::size_t* bytes) {
  *buffer = g_hooks2;
  *bytes = kHookBytes2;
}
CUresult no_hook() { return CUDA_SUCCESS; }

const auto& callback_hooks() {
  static const auto slots = [] {
    auto table = sized_table<1, 7>();
    table[1] = slot(&no_hook);
    table[2] = slot(&hook_buffer);
    table[4] = slot(&no_hook);
    table[6] = slot(&hook_buffer2);
    return table;
  }();
  return slots;
}

// --- TOOLS_TLS, TOOLS_CONTEXT: which context, and which number it has ----------------------------
// cuBLASLt and cuFFT keep what they have loaded by that number. Without an answer from both tables
// they find none of their kernels: CUBLAS_STATUS_NOT_SUPPORTED, CUFFT_INTERNAL_ERROR.

CUresult or_current(CUcontext* context) {
  return *context != nullptr ? CUDA_SUCCESS : host().current_context(context);
}
CUresult thread_context(CUcontext* context) {
  return context == nullptr ? CUDA_SUCCESS : host().current_context(context);
}
const auto& tools_tls() {
  static const auto slots = [] {
    auto table = sized_table<2, 4>();
    table[2] = slot(&thread_context);
    return table;
  }();
  return slots;
}

CUresult context_id(CUcontext context, unsigned long long* id) {
  if (id == nullptr) return CUDA_ERROR_INVALID_VALUE;
  if (const CUresult failed = or_current(&context); failed != CUDA_SUCCESS) return failed;
  return host().context_id(context, id);
}
// The stream behind a handle, never null, and a number for it. Nothing but a key to the callers.
CUresult stream_of_handle(CUcontext, CUstream stream, CUstream* found, int per_thread) {
  if (found == nullptr) return CUDA_ERROR_INVALID_VALUE;
  const CUstream of_context = per_thread != 0 ? CU_STREAM_PER_THREAD : CU_STREAM_LEGACY;
  *found = stream != nullptr ? stream : of_context;
  return CUDA_SUCCESS;
}
CUresult stream_id(CUcontext, CUstream stream, unsigned long long* id) {
  if (stream == nullptr || id == nullptr) return CUDA_ERROR_INVALID_VALUE;
  *id = reinterpret_cast<std::uintptr_t>(stream);
  return CUDA_SUCCESS;
}
// NVIDIA's table has 95 slots, and cuBLAS calls one without a look at the size.
const auto& tools_context() {
  static const auto slots = [] {
    auto table = sized_table<7, 95>();
    table[4] = slot(&context_id);
    table[39] = slot(&stream_id);
    table[51] = slot(&stream_of_handle);
    return table;
  }();
  return slots;
}

// --- TOOLS_MODULE: what a module holds ----------------------------------------------------------

// Calls visit(state, function, module) for every function and returns 1: how cuFFT finds its
// kernels.
using VisitFunction = void(void* state, CUfunction function, CUmodule module);
int visit_functions(CUcontext, CUmodule module, VisitFunction* visit, void* state) {
  if (visit == nullptr) return CUDA_ERROR_INVALID_VALUE;
  unsigned count = 0;
  if (const CUresult failed = host().function_count(&count, module); failed != CUDA_SUCCESS) {
    return failed;
  }
  if (count > limits::kArrayItemsMax) return CUDA_ERROR_NOT_SUPPORTED;
  std::vector<CUfunction> functions(count);
  if (const CUresult failed = host().functions(functions.data(), count, module);
      failed != CUDA_SUCCESS) {
    return failed;
  }
  for (CUfunction function : functions) visit(state, function, module);
  return 1;
}
const auto& tools_module() {
  static const auto slots = [] {
    auto table = sized_table<8, 64>();
    table[7] = slot(&visit_functions);
    return table;
  }();
  return slots;
}

// --- CONTEXT_CHECKS: always "nothing special" ----------------------------------------------------

CUresult context_check(CUcontext, unsigned* first, const void** second) {
  if (first != nullptr) *first = 0;
  if (second != nullptr) *second = nullptr;
  return CUDA_SUCCESS;
}
unsigned context_check_zero() { return 0; }
const auto& context_checks() {
  static const auto slots = [] {
    auto table = sized_table<3, 4>();
    table[2] = slot(&context_check);
    table[3] = slot(&context_check_zero);
    return table;
  }();
  return slots;
}

// --- CONTEXT_LOCAL_STORAGE (its first slot is a function, not a size) ----------------------------

CUresult storage_put(CUcontext context, void* key, void* value, ContextValueDestructor destroy) {
  if (const CUresult failed = or_current(&context); failed != CUDA_SUCCESS) return failed;
  return context_storage_put(context, key, value, destroy);
}
CUresult storage_delete(CUcontext context, void* key) {
  if (const CUresult failed = or_current(&context); failed != CUDA_SUCCESS) return failed;
  return context_storage_delete(context, key);
}
CUresult storage_get(void** value, CUcontext context, void* key) {
  if (const CUresult failed = or_current(&context); failed != CUDA_SUCCESS) return failed;
  return context_storage_get(value, context, key);
}
const auto& context_local_storage() {
  static const std::array<Slot, 3> slots = {slot(&storage_put), slot(&storage_delete),
                                            slot(&storage_get)};
  return slots;
}

// --- INTEGRITY_CHECK -----------------------------------------------------------------------------

const std::array<Slot, 3>& integrity_table();

CUresult integrity_check(unsigned version, unsigned long long unix_seconds,
                         unsigned long long* result) {
  IntegrityFacts facts{};
  facts.driver_version = static_cast<std::uint32_t>(host().driver_version());
  facts.process = static_cast<std::uint32_t>(getpid());
  facts.thread = static_cast<std::uint32_t>(pthread_self());
  facts.cudart_table = reinterpret_cast<std::uint64_t>(cudart_interface().data());
  facts.integrity_table = reinterpret_cast<std::uint64_t>(integrity_table().data());
  facts.check_function = reinterpret_cast<std::uint64_t>(&integrity_check);
  facts.unix_seconds = unix_seconds;
  for (int device = 0; device < host().device_count(); ++device) {
    CUuuid uuid{};
    int pci[3] = {0, 0, 0};
    host().device_facts(device, &uuid, pci);
    IntegrityDevice& entry = facts.devices.emplace_back();
    std::memcpy(entry.uuid.data(), &uuid, sizeof uuid);
    std::memcpy(entry.pci, pci, sizeof pci);
  }
  std::uint64_t answer[2];
  integrity_answer(version, facts, answer);
  std::memcpy(result, answer, sizeof answer);
  return CUDA_SUCCESS;
}

const std::array<Slot, 3>& integrity_table() {
  static const auto slots = [] {
    auto table = sized_table<5, 3>();
    table[1] = slot(&integrity_check);
    return table;
  }();
  return slots;
}

// --- CTX_CREATE_BYPASS ---------------------------------------------------------------------------

CUresult context_create(CUcontext* context, unsigned flags, CUdevice device) {
  return host().context_create(context, flags, device);
}
const auto& context_create_bypass() {
  static const auto slots = [] {
    auto table = sized_table<6, 2>();
    table[1] = slot(&context_create);
    return table;
  }();
  return slots;
}

struct Served {
  unsigned char id[16];
  const void* table;
};

std::span<const Served> served() {
  static const Served tables[] = {
      {{0x6b, 0xd5, 0xfb, 0x6c, 0x5b, 0xf4, 0xe7, 0x4a, 0x89, 0x87, 0xd9, 0x39, 0x12, 0xfd, 0x9d,
        0xf9},
       cudart_interface().data()},
      {{0xa0, 0x94, 0x79, 0x8c, 0x2e, 0x74, 0x2e, 0x74, 0x93, 0xf2, 0x08, 0x00, 0x20, 0x0c, 0x0a,
        0x66},
       callback_hooks().data()},
      {{0x42, 0xd8, 0x5a, 0x81, 0x23, 0xf6, 0xcb, 0x47, 0x82, 0x98, 0xf6, 0xe7, 0x8a, 0x3a, 0xec,
        0xdc},
       tools_tls().data()},
      {{0xc6, 0x93, 0x33, 0x6e, 0x11, 0x21, 0xdf, 0x11, 0xa8, 0xc3, 0x68, 0xf3, 0x55, 0xd8, 0x95,
        0x93},
       context_local_storage().data()},
      {{0x26, 0x3e, 0x88, 0x60, 0x7c, 0xd2, 0x61, 0x43, 0x92, 0xf6, 0xbb, 0xd5, 0x00, 0x6d, 0xfa,
        0x7e},
       context_checks().data()},
      {{0xd4, 0x08, 0x20, 0x55, 0xbd, 0xe6, 0x70, 0x4b, 0x8d, 0x34, 0xba, 0x12, 0x3c, 0x66, 0xe1,
        0xf2},
       integrity_table().data()},
      {{0x0c, 0xa5, 0x0b, 0x8c, 0x10, 0x04, 0x92, 0x9a, 0x89, 0xa7, 0xd0, 0xdf, 0x10, 0xe7, 0x72,
        0x86},
       context_create_bypass().data()},
      {{0x21, 0x31, 0x8c, 0x60, 0x97, 0x14, 0x32, 0x48, 0x8c, 0xa6, 0x41, 0xff, 0x73, 0x24, 0xc8,
        0xf2},
       tools_context().data()},
      {{0x6e, 0x16, 0x3f, 0xbe, 0xb9, 0x58, 0x44, 0x4d, 0x83, 0x5c, 0xe1, 0x82, 0xaf, 0xf1, 0x99,
        0x1e},
       tools_module().data()},
  };
  return tables;
}

void tell_unknown(const CUuuid& id) {
  char text[2 * sizeof id.bytes + 1] = {};
  for (std::size_t i = 0; i < sizeof id.bytes; ++i) {
    std::snprintf(text + 2 * i, 3, "%02x", static_cast<unsigned char>(id.bytes[i]));
  }
  static LogLimit limit(10);
  if (limit.allow()) FARCALL_LOG_DEBUG("private table %s was asked for and is not served", text);
}

}  // namespace

CUresult private_table(const PrivateHost& new_host, const void** table, const CUuuid* id) {
  if (table == nullptr || id == nullptr) return CUDA_ERROR_INVALID_VALUE;
  g_host.store(&new_host, std::memory_order_release);
  for (const Served& entry : served()) {
    if (std::memcmp(entry.id, id->bytes, sizeof entry.id) == 0) {
      *table = entry.table;
      return CUDA_SUCCESS;
    }
  }
  tell_unknown(*id);
  return CUDA_ERROR_NOT_FOUND;
}

}  // namespace farcall::cuda
