// Module, Function, Library, LibraryKernel: loaded code, as the driver API names it.
//
//   std::shared_ptr<Module> module;
//   CUresult result = Module::load(context, texts, &module);
//   CUfunction handle; result = module->function("_Z4vaddPfS_S_i", &handle);
//
// A module belongs to a context; a library belongs to none and becomes a module in each context
// that first uses it. cudart passes a CUkernel where a CUfunction is asked for, so every lookup
// accepts both (find_function).
// Owner: handle tables; a launch in flight holds the function, which holds the module.
// Threads: any.
#pragma once
#include <array>
#include <atomic>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "gpu_server/software_gpu/context.h"
#include "gpu_server/software_gpu/exec/program.h"
#include "transport/base/guarded.h"
#include "transport/cuda/cuda_abi.h"

namespace farcall::softgpu {

// What a program may set on a kernel.
struct KernelSettings {
  static constexpr int kUnset = -2;
  std::atomic<int> dynamic_shared_max{kUnset};
  std::atomic<int> carveout{-1};
  std::atomic<int> cluster_policy{0};
  std::atomic<int> nonportable_cluster{0};
  std::array<std::atomic<int>, 3> cluster{};  // required; all 0: none is

  CUresult set(CUfunction_attribute which, int value, const Kernel& kernel);
  // What a CUkernel was told reaches the functions made from it.
  void copy_from(const KernelSettings& other);
};

class Module;

struct Function {
  std::shared_ptr<Module> module;
  const Kernel* kernel = nullptr;
  KernelSettings settings;

  // Largest dynamic shared size a launch may ask for.
  int dynamic_shared_max() const;
  // Blocks of a cluster that every launch runs in, as compiled or set; all 0: the launch says.
  std::array<unsigned, 3> required_cluster() const;
  CUresult attribute(CUfunction_attribute which, int* value) const;
};

class Module : public std::enable_shared_from_this<Module> {
 public:
  //   why  what is wrong with the texts, in words; may be null
  static CUresult load(Context& context, const std::vector<std::string>& texts,
                       std::shared_ptr<Module>* module, std::string* why = nullptr);

  Context& context() const { return context_; }
  Program& program() const { return *program_; }
  // The same name gives the same handle.  Errors: CUDA_ERROR_NOT_FOUND.
  CUresult function(const char* name, CUfunction* handle);

 private:
  Module(Context& context, std::unique_ptr<Program> program)
      : context_(context), program_(std::move(program)) {}
  Context& context_;
  std::unique_ptr<Program> program_;
  Guarded<std::map<std::string, CUfunction, std::less<>>> functions_;
};

class Library {
 public:
  // is_runtimes: the CUDA runtime loaded it.
  Library(std::vector<std::string> texts, bool is_runtimes)
      : is_runtimes_(is_runtimes), texts_(std::move(texts)) {}
  bool is_runtimes() const { return is_runtimes_; }
  // The library's code in `context`, loaded there now if it was not yet.
  CUresult module_in(Context& context, std::shared_ptr<Module>* module, CUmodule* handle = nullptr);
  void forget(const Context& context);
  // Kernels already named, by name.
  Guarded<std::map<std::string, CUkernel, std::less<>>> kernels;

 private:
  struct Instance {
    std::shared_ptr<Module> module;
    CUmodule handle;
  };
  const bool is_runtimes_;
  const std::vector<std::string> texts_;
  Guarded<std::map<const Context*, Instance>> instances_;
};

struct LibraryKernel {
  std::shared_ptr<Library> library;
  std::string name;
  KernelSettings settings;
  Guarded<std::map<const Context*, CUfunction>> functions;
};

// A CUfunction or a CUkernel, as a function of `context`.
// Errors: CUDA_ERROR_INVALID_HANDLE, or what loading the library there met.
CUresult find_function(CUfunction handle, Context& context, std::shared_ptr<Function>* function);
// The function a library kernel is in `context`.
CUresult kernel_in(LibraryKernel& kernel, Context& context, CUfunction* handle);

CUresult to_curesult(const Status& status);

}  // namespace farcall::softgpu
