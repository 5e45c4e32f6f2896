// Places: where the parts of an installation lie, found from the running binary.
//
//   Places places = find_places();     // <prefix>/bin/farcall → <prefix>/lib/libcuda.so.1 …
//
// The same layout holds in a build folder and in an installation. Never looks at PATH.
#pragma once
#include <string>

namespace farcall::cli {

struct Places {
  std::string server;         // <prefix>/bin/farcall-server
  std::string shim;           // <prefix>/lib/libcuda.so.1
  std::string nvml;           // <prefix>/lib/libnvidia-ml.so.1
  std::string software_gpu;   // <prefix>/lib/software_gpu/libcuda.so.1
  std::string nvrtc_preload;  // <prefix>/lib/software_gpu/libfarcall_nvrtc.so
  std::string training_job;   // <prefix>/e2e/train_mlp
};

Places find_places();
bool is_file(const std::string& path);

}  // namespace farcall::cli
