#include "tools/cli/manifest_files.h"

#include <unistd.h>

#include <array>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "gpu_server/check_code.h"
#include "security/file_eye.h"
#include "tools/cli/child.h"
#include "tools/cli/places.h"

namespace farcall::cli {
namespace {

namespace fs = std::filesystem;
using security::CodeFile;
using security::CodeRole;
using security::Manifest;

// Source: System V ABI, AMD64 supplement: where every such program finds its loader.
constexpr const char* kLoader = "/lib64/ld-linux-x86-64.so.2";
// What NVIDIA's driver loads when it first needs it, from the folder it lies in.
constexpr const char* kDriversOwn[] = {"libnvidia-ptxjitcompiler.so.1", "libnvidia-nvvm.so.4",
                                       "libnvidia-nvvm70.so.4",         "libnvidia-gpucomp.so.1",
                                       "libcudadebugger.so.1",          "libnvidia-ml.so.1"};

Result<std::string> real_path(const std::string& path) {
  std::error_code error;
  const fs::path real = fs::canonical(path, error);
  if (error) return Status(Code::kNotFound, path + ": " + error.message());
  return real.string();
}

Status add(const std::string& path, CodeRole role, Manifest* manifest) {
  Result<std::string> real = real_path(path);
  if (!real.ok()) return real.status();
  const CodeFile* known = manifest->find(real.value());
  // A library is one unless it was named as something else.
  if (known != nullptr && (role == CodeRole::kLibrary || known->role == role)) return ok();
  Result<CodeFile> file = code_file_of(real.value(), role);
  if (!file.ok()) return file.status();
  manifest->add(std::move(file).value());
  return ok();
}

// "\tlibssl.so.3 => /lib/x86_64-linux-gnu/libssl.so.3 (0x7f…)" or "\t/lib64/ld-linux… (0x7f…)".
std::string path_in(const std::string& line) {
  const std::size_t path = line.find('/');
  const std::size_t end = line.rfind(" (");
  if (path == line.npos || end == line.npos || end < path) return "";
  return line.substr(path, end - path);
}

// What the dynamic loader would load with a program or library.
Result<std::vector<std::string>> loaded_with(const std::string& path) {
  std::string folder = (fs::temp_directory_path() / "farcall-manifest-XXXXXX").string();
  if (::mkdtemp(folder.data()) == nullptr) return Status::system("make " + folder);
  const std::string output = folder + "/list";
  Result<Child> child = Child::start({kLoader, "--list", path}, output);
  const int code = child.ok() ? child->wait() : -1;
  std::ifstream file(output);
  std::vector<std::string> paths;
  std::string said;
  for (std::string line; std::getline(file, line);) {
    said = line;
    if (std::string found = path_in(line); !found.empty()) paths.push_back(std::move(found));
  }
  std::error_code ignored;
  fs::remove_all(folder, ignored);
  if (!child.ok()) return child.status();
  if (code == 0) return paths;
  return Status(Code::kSystem, std::string(kLoader) + " --list " + path + ": " + said);
}

Status add_with_libraries(const std::string& path, CodeRole role, Manifest* manifest) {
  FARCALL_TRY(add(path, role, manifest));
  Result<std::vector<std::string>> loaded = loaded_with(path);
  if (!loaded.ok()) return loaded.status();
  for (const std::string& each : loaded.value()) {
    FARCALL_TRY(add(each, CodeRole::kLibrary, manifest));
  }
  return ok();
}

// What a worker really runs; its driver is among it, under whatever name.
Status add_worker(const ManifestParts& parts, Manifest* manifest) {
  auto loaded = server::code_of_worker({.worker_path = parts.worker, .driver_path = parts.driver});
  if (!loaded.ok()) return loaded.status();
  const std::string driver_name = fs::path(parts.driver).filename();
  const std::string driver = real_path(parts.driver).ok() ? real_path(parts.driver).value() : "";
  for (const std::string& each : loaded.value()) {
    // "libcuda.so.1" is a link to "libcuda.so.580.65.06", say.
    const std::string name = fs::path(each).filename();
    const std::string stem = driver_name.substr(0, driver_name.find(".so"));
    const bool is_driver = each == driver || (driver.empty() && name.starts_with(stem + ".so"));
    FARCALL_TRY(add(each, is_driver ? CodeRole::kDriver : CodeRole::kLibrary, manifest));
    if (!is_driver) continue;
    for (const char* own : kDriversOwn) {
      const std::string beside = fs::path(each).parent_path() / own;
      if (is_file(beside)) FARCALL_TRY(add_with_libraries(beside, CodeRole::kDriver, manifest));
    }
  }
  return ok();
}

Status add_more(CodeRole role, const std::string& path, Manifest* manifest) {
  std::error_code error;
  if (!fs::is_directory(path, error)) return add(path, role, manifest);
  for (const auto& entry : fs::recursive_directory_iterator(path, error)) {
    if (!entry.is_regular_file(error)) continue;
    FARCALL_TRY(add(entry.path().string(), role, manifest));
  }
  return error ? Status(Code::kDenied, "read " + path + ": " + error.message()) : ok();
}

}  // namespace

Result<CodeFile> code_file_of(const std::string& path, CodeRole role) {
  const security::FileEye& eye = security::system_eye();
  Result<security::HashedFile> hashed = eye.hash(path);
  if (!hashed.ok()) return hashed.status();
  CodeFile file;
  file.path = path;
  file.role = role;
  file.bytes = hashed->state.bytes;
  file.sha256 = hashed->sha256;
  file.verity = eye.verity(path);
  return file;
}

Result<Manifest> manifest_of(const ManifestParts& parts, std::vector<std::string>* notes) {
  Manifest manifest;
  FARCALL_TRY(add_with_libraries(parts.server, CodeRole::kServer, &manifest));
  FARCALL_TRY(add_with_libraries(parts.worker, CodeRole::kWorker, &manifest));
  Status worker = add_worker(parts, &manifest);
  if (!worker.ok()) {
    return Status(worker.code(), "see what a worker loads: " + worker.text() +
                                     "; make the manifest where the driver is, or name another "
                                     "with --driver");
  }
  const std::string plugin =
      fs::path(parts.server).parent_path().parent_path() / "lib" / "libfarcall_ucx.so";
  if (is_file(plugin)) {
    FARCALL_TRY(add_with_libraries(plugin, CodeRole::kLibrary, &manifest));
    notes->push_back(
        "for sessions over RDMA add what UCX loads by itself: --add library=/usr/lib/…/ucx");
  }
  for (const auto& [role, path] : parts.more) FARCALL_TRY(add_more(role, path, &manifest));
  return manifest;
}

}  // namespace farcall::cli
