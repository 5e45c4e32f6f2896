#include "tools/cli/places.h"

#include <filesystem>

namespace farcall::cli {

Places find_places() {
  std::error_code error;
  const std::filesystem::path self = std::filesystem::read_symlink("/proc/self/exe", error);
  const std::filesystem::path bin = self.parent_path();
  const std::filesystem::path prefix = bin.parent_path();
  Places places;
  places.server = bin / "farcall-server";
  places.shim = prefix / "lib" / "libcuda.so.1";
  places.nvml = prefix / "lib" / "libnvidia-ml.so.1";
  places.software_gpu = prefix / "lib" / "software_gpu" / "libcuda.so.1";
  places.nvrtc_preload = prefix / "lib" / "software_gpu" / "libfarcall_nvrtc.so";
  places.training_job = prefix / "e2e" / "train_mlp";
  return places;
}

bool is_file(const std::string& path) {
  std::error_code error;
  return std::filesystem::is_regular_file(path, error);
}

}  // namespace farcall::cli
