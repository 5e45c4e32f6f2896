// nvmlInternalGetExportTable: the private functions that nvidia-smi asks for before anything else.
// It shows nothing without them, and takes its list of processes from here.
//
// They are undocumented. What is known of the table, by number of its 8-byte entry, is what the
// authors of NVIDIA/k8s-test-infra (pkg/gpu/mocknvml/bridge/internal.go) saw nvidia-smi 580.65.06
// do with theirs:
//   0          the table's size in bytes; has to reach beyond entry 81
//   81         (unsigned index, nvmlDevice_t* out, …)
//   213 … 215  (nvmlDevice_t, unsigned* count, ProcessEntry*), one for each kind of process
//   others     are called too, and end nvidia-smi when they fail; some are (nvmlDevice_t, unsigned*
//              count, …) and read what stands at *count when it is not set
// This was not tried with an nvidia-smi here.
#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <string>
#include <utility>

#include "client_shim/nvml/library.h"
#include "client_shim/nvml/usage_reader.h"

NVML_EXPORT nvmlReturn_t nvmlDeviceGetHandleByIndex_v2(unsigned index, nvmlDevice_t* device);
NVML_EXPORT nvmlReturn_t nvmlSystemGetProcessName(unsigned pid, char* name, unsigned length);

namespace {

using namespace farcall::nvml;

constexpr unsigned char kSmiTableId[16] = {0xc4, 0xfe, 0x3e, 0x6c, 0xc9, 0x8f, 0x6c, 0x4e,
                                           0xa3, 0x27, 0xee, 0x69, 0x6e, 0x12, 0xf7, 0xc4};
constexpr std::size_t kEntries = 256;
constexpr std::size_t kHandleByIndex = 81;
constexpr std::size_t kComputeProcesses = 213;
constexpr std::size_t kOtherProcesses[] = {214, 215};

struct ProcessEntry {
  unsigned pid;
  unsigned long long used_bytes;
  unsigned gpu_instance, compute_instance;
  unsigned long long protected_bytes;
  char name[4096];
};
static_assert(sizeof(ProcessEntry) == 4128);

// The third is a number that nobody knows the meaning of.
nvmlReturn_t handle_by_index(unsigned index, nvmlDevice_t* out, std::uintptr_t) {
  return nvmlDeviceGetHandleByIndex_v2(index, out);
}

nvmlReturn_t compute_processes(nvmlDevice_t handle, unsigned* count, void* room_for) {
  auto* entries = static_cast<ProcessEntry*>(room_for);
  return answer([&](const Look& devices) {
    const int index = Library::get().index_of(handle);
    if (index < 0 || count == nullptr) return NVML_ERROR_INVALID_ARGUMENT;
    const unsigned room = entries == nullptr ? 0 : *count;
    *count = 0;
    for (const ProcessUsage& process : read_usage(devices)) {
      const std::uint64_t bytes = process.bytes[static_cast<std::size_t>(index)];
      if (bytes == 0 || *count == room) continue;
      ProcessEntry& entry = entries[(*count)++];
      entry = {process.pid, bytes, kNoInstance, kNoInstance, 0, {}};
      (void)nvmlSystemGetProcessName(process.pid, entry.name, sizeof entry.name);
    }
    return NVML_SUCCESS;
  });
}

nvmlReturn_t no_processes(nvmlDevice_t, unsigned* count, void*) {
  if (count == nullptr) return NVML_ERROR_INVALID_ARGUMENT;
  *count = 0;
  return NVML_SUCCESS;
}

// Any other entry. Its arguments are registers whose meaning nobody told us: the second is taken
// for a count only beside a device of ours, and where a pointer can be.
nvmlReturn_t unknown_entry(nvmlDevice_t first, std::uintptr_t second) {
  constexpr std::uintptr_t kLowestPointer = 0x10000;
  return answer([&](const Look&) {
    if (Library::get().index_of(first) >= 0 && second >= kLowestPointer) {
      *reinterpret_cast<unsigned*>(second) = 0;
    }
    return NVML_SUCCESS;
  });
}

using Table = std::array<const void*, kEntries>;

Table make_table() {
  Table table;
  table.fill(reinterpret_cast<const void*>(&unknown_entry));
  table[0] = reinterpret_cast<const void*>(sizeof(Table));
  table[kHandleByIndex] = reinterpret_cast<const void*>(&handle_by_index);
  table[kComputeProcesses] = reinterpret_cast<const void*>(&compute_processes);
  for (std::size_t entry : kOtherProcesses) {
    table[entry] = reinterpret_cast<const void*>(&no_processes);
  }
  return table;
}

}  // namespace

NVML_EXPORT nvmlReturn_t nvmlInternalGetExportTable(const void** table, const void* id) {
  if (table == nullptr || id == nullptr) return NVML_ERROR_INVALID_ARGUMENT;
  *table = nullptr;
  if (std::memcmp(id, kSmiTableId, sizeof kSmiTableId) != 0) return NVML_ERROR_FUNCTION_NOT_FOUND;
  static const Table kTable = make_table();
  *table = kTable.data();
  return NVML_SUCCESS;
}
