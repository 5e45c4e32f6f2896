// NVML's own beginning and end, and what it says of the system.
#include <algorithm>
#include <cstdio>
#include <cstring>
#include <string>
#include <string_view>

#include "client_shim/nvml/library.h"
#include "client_shim/nvml/text.h"
#include "transport/base/unique.h"

using namespace farcall::nvml;

namespace {

// The first driver that speaks a version of CUDA. CUDA has no call for the driver's own version,
// and tools take the numbers apart, so it has to be one; the server's is at least this one. Source:
// CUDA Toolkit Release Notes, "CUDA Toolkit and Minimum Required Driver Version".
struct DriverRelease {
  int cuda;
  const char* text;
};
constexpr DriverRelease kReleases[] = {
    {13000, "580.65.06"}, {12090, "575.51.03"}, {12080, "570.26"},    {12060, "560.28.03"},
    {12050, "555.42.02"}, {12040, "550.54.14"}, {12030, "545.23.06"}, {12020, "535.54.03"},
    {12010, "530.30.02"}, {12000, "525.60.13"}, {11080, "520.61.05"}, {0, "450.36.06"},
};

std::string driver_release(int cuda) {
  for (const DriverRelease& release : kReleases) {
    if (cuda >= release.cuda) return release.text;
  }
  return kReleases[std::size(kReleases) - 1].text;
}

struct ErrorText {
  int code;
  const char* text;
};
constexpr ErrorText kErrors[] = {
    {0, "Success"},
    {1, "Uninitialized"},
    {2, "Invalid Argument"},
    {3, "Not Supported"},
    {4, "Insufficient Permissions"},
    {5, "Already Initialized"},
    {6, "Not Found"},
    {7, "Insufficient Size"},
    {8, "Insufficient External Power"},
    {9, "Driver Not Loaded"},
    {10, "Timeout"},
    {11, "Interrupt Request Issue"},
    {12, "NVML Shared Library Not Found"},
    {13, "Function Not Found"},
    {14, "Corrupted infoROM"},
    {15, "GPU is lost"},
    {16, "GPU requires restart"},
    {17, "The operating system has blocked the request"},
    {18, "Driver/library version mismatch"},
    {19, "GPU is in use"},
    {20, "Insufficient Memory"},
    {21, "No data"},
    {22, "The requested vGPU operation is not available on the target device, ECC is enabled"},
    {23, "Insufficient resources"},
    {24, "Frequency not supported"},
    {25, "Argument version mismatch"},
    {26, "Function has been deprecated"},
    {27, "System is not ready for the request"},
    {28, "No GPUs were found"},
    {29, "Resource is not in the state the request needs"},
    {30, "Reset type not supported"},
};

nvmlReturn_t cuda_version(int* version) {
  return answer([&](const Look& devices) {
    if (version == nullptr) return NVML_ERROR_INVALID_ARGUMENT;
    *version = devices.driver_version;
    return NVML_SUCCESS;
  });
}

// What a process was started as; empty when there is none, or it is another user's.
std::string name_of_process(unsigned pid) {
  char path[32];
  std::snprintf(path, sizeof path, "/proc/%u/cmdline", pid);
  using File = farcall::Unique<std::FILE*, std::fclose, nullptr>;
  const File file(std::fopen(path, "re"));
  char text[4096];
  const std::size_t length = file ? std::fread(text, 1, sizeof text - 1, file.get()) : 0;
  text[length] = 0;
  return text;  // up to the end of its first word
}

}  // namespace

NVML_EXPORT nvmlReturn_t nvmlInitWithFlags(unsigned flags) {
  try {
    return Library::get().init(flags);
  } catch (const std::exception&) {
    return NVML_ERROR_MEMORY;
  }
}
NVML_EXPORT nvmlReturn_t nvmlInit_v2() { return nvmlInitWithFlags(0); }
NVML_EXPORT nvmlReturn_t nvmlInit() { return nvmlInitWithFlags(0); }
NVML_EXPORT nvmlReturn_t nvmlShutdown() { return Library::get().shutdown(); }

NVML_EXPORT const char* nvmlErrorString(nvmlReturn_t result) {
  for (const ErrorText& error : kErrors) {
    if (error.code == result) return error.text;
  }
  return "Unknown Error";
}

NVML_EXPORT nvmlReturn_t nvmlSystemGetDriverVersion(char* version, unsigned length) {
  return answer([&](const Look& devices) {
    return give_text(driver_release(devices.driver_version), version, length);
  });
}

NVML_EXPORT nvmlReturn_t nvmlSystemGetNVMLVersion(char* version, unsigned length) {
  return answer([&](const Look& devices) {
    const int major = devices.driver_version / 1000;
    return give_text(std::to_string(major) + "." + driver_release(devices.driver_version), version,
                     length);
  });
}

NVML_EXPORT nvmlReturn_t nvmlSystemGetCudaDriverVersion(int* version) {
  return cuda_version(version);
}
NVML_EXPORT nvmlReturn_t nvmlSystemGetCudaDriverVersion_v2(int* version) {
  return cuda_version(version);
}

NVML_EXPORT nvmlReturn_t nvmlSystemGetProcessName(unsigned pid, char* name, unsigned length) {
  return answer([&](const Look&) {
    std::string text = name_of_process(pid);
    if (text.empty()) return NVML_ERROR_NOT_FOUND;
    // Unlike the other texts, a long one is cut.
    if (length > 0) text.resize(std::min<std::size_t>(text.size(), length - 1));
    return give_text(text, name, length);
  });
}

// S-class units hold GPUs of long ago.
NVML_EXPORT nvmlReturn_t nvmlUnitGetCount(unsigned* count) {
  return answer([&](const Look&) {
    if (count == nullptr) return NVML_ERROR_INVALID_ARGUMENT;
    *count = 0;
    return NVML_SUCCESS;
  });
}
