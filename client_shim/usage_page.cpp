#include "client_shim/usage_page.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstring>

#ifndef F_SEAL_FUTURE_WRITE
#  define F_SEAL_FUTURE_WRITE 0x0010  // Linux 5.1; glibc 2.36 has it in linux/fcntl.h only
#endif

namespace farcall::shim {

UsagePage::~UsagePage() {
  if (figures_ != nullptr) ::munmap(figures_, kUsageBytes);
}

void UsagePage::show(std::string_view server, const std::vector<Device>& devices) {
  Fd file(::memfd_create(kUsageFile, MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!file || ::ftruncate(file.get(), kUsageBytes) != 0) return;
  void* mapped = ::mmap(nullptr, kUsageBytes, PROT_READ | PROT_WRITE, MAP_SHARED, file.get(), 0);
  if (mapped == MAP_FAILED) return;
  // Older kernels lack the seal that keeps other writers out; without the first ones nobody may
  // see the page.
  if (::fcntl(file.get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW) != 0) {
    ::munmap(mapped, kUsageBytes);
    return;
  }
  (void)::fcntl(file.get(), F_ADD_SEALS, F_SEAL_FUTURE_WRITE | F_SEAL_SEAL);
  auto* figures = new (mapped) UsageFigures{};
  figures->pid = static_cast<std::uint32_t>(::getpid());
  figures->device_count =
      static_cast<std::uint32_t>(std::min<std::size_t>(devices.size(), limits::kDevicesMax));
  const std::string_view place = server.substr(0, sizeof figures->server - 1);
  std::memcpy(figures->server, place.data(), place.size());
  for (std::uint32_t i = 0; i < figures->device_count; ++i) {
    std::memcpy(figures->devices[i].uuid, devices[i].uuid.bytes, sizeof figures->devices[i].uuid);
  }
  std::atomic_ref(figures->magic).store(kUsageMagic, std::memory_order_release);
  figures_ = figures;
  file_ = std::move(file);
}

std::uint64_t* UsagePage::bytes_of(int ordinal) {
  if (figures_ == nullptr || ordinal < 0) return nullptr;
  const auto at = static_cast<std::uint32_t>(ordinal);
  return at < figures_->device_count ? &figures_->devices[at].bytes : nullptr;
}

void UsagePage::add(int ordinal, std::uint64_t bytes) {
  if (std::uint64_t* held = bytes_of(ordinal)) {
    std::atomic_ref(*held).fetch_add(bytes, std::memory_order_relaxed);
  }
}

void UsagePage::subtract(int ordinal, std::uint64_t bytes) {
  if (std::uint64_t* held = bytes_of(ordinal)) {
    std::atomic_ref(*held).fetch_sub(bytes, std::memory_order_relaxed);
  }
}

}  // namespace farcall::shim
