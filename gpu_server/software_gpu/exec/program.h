// A loaded module: PTX text turned into something the engine runs.
//
//   Result<std::unique_ptr<Program>> program = Program::load({ptx_text}, memory);
//   const Kernel* kernel = program.value()->kernel("_Z4vaddPfS_S_i");
//   engine.run({.kernel = kernel, .grid = {64, 1, 1}, .block = {256, 1, 1}, .params = bytes});
//
// Globals and constants are placed in device memory and initialised at load; a kernel's body is
// decoded at its first launch or by decode(), because libraries hold hundreds nobody calls.
// Owner: the Program owns its kernels; it must outlive every launch of them. Its Memory outlives
// it. Threads: any.
#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "gpu_server/software_gpu/exec/memory.h"
#include "transport/base/status.h"

namespace farcall::softgpu {

class Program;
namespace detail {
struct KernelBody;
struct ProgramState;
}  // namespace detail

// One kernel parameter as laid out in Launch::params. PTX and C agree on this layout.
struct KernelParam {
  std::uint32_t offset;
  std::uint32_t size;
  std::uint32_t align;
};

class Kernel {
 public:
  Kernel(detail::ProgramState& program, std::size_t function);
  ~Kernel();
  Kernel(const Kernel&) = delete;
  Kernel& operator=(const Kernel&) = delete;

  const std::string& name() const { return name_; }
  const std::vector<KernelParam>& params() const { return params_; }
  std::size_t param_bytes() const { return param_bytes_; }  // end of the last parameter

  // Makes the kernel ready to run. Idempotent, and done by the first launch anyway.
  // Errors: kUnsupported naming opcode, kernel and line; kMalformed for text that is not PTX.
  Status decode() const;

  // Attributes a driver reports. The first three are 0 until decode() succeeded.
  std::uint32_t static_shared_bytes() const;
  std::uint32_t local_bytes() const;  // per thread
  std::uint32_t registers() const;    // per thread, in 32-bit units
  std::uint32_t max_threads() const {
    return max_threads_;
  }  // per block: .maxntid/.reqntid or 1024
  // .reqnctapercluster; zeros when the launch says how large its clusters are.
  const std::uint32_t (&required_cluster() const)[3] { return required_cluster_; }
  // .explicitcluster: every launch must have clusters.
  bool is_explicit_cluster() const { return explicit_cluster_; }
  std::uint32_t const_bytes() const { return const_bytes_; }  // of the whole module
  std::uint32_t target() const { return target_; }            // .target sm_80 of its text: 80

  // The kernel of the same program that a module function index stands for, or null.
  const Kernel* entry(std::size_t function) const;
  const detail::KernelBody* body() const;  // for the engine; null until decoded

 private:
  struct Lazy;
  detail::ProgramState& program_;
  const std::size_t function_;
  std::string name_;
  std::vector<KernelParam> params_;
  std::size_t param_bytes_ = 0;
  std::uint32_t max_threads_ = 1024;
  std::uint32_t required_cluster_[3] = {0, 0, 0};
  bool explicit_cluster_ = false;
  std::uint32_t const_bytes_ = 0;
  std::uint32_t target_ = 0;
  std::unique_ptr<Lazy> lazy_;
};

class Program {
 public:
  // Several texts are linked: .extern of one is resolved by .visible of another (-rdc=true).
  // Errors: kMalformed (not PTX, with the line), kNotFound (unresolved external), kOverQuota
  // (memory).
  static Result<std::unique_ptr<Program>> load(std::vector<std::string> ptx_texts, Memory& memory);
  ~Program();
  Program(const Program&) = delete;
  Program& operator=(const Program&) = delete;

  const Kernel* kernel(std::string_view name) const;                 // null when there is none
  std::vector<std::string> kernel_names() const;                     // in the order of the text
  std::optional<Memory::Range> global(std::string_view name) const;  // .global or .const variable

 private:
  explicit Program(std::unique_ptr<detail::ProgramState> state);
  std::unique_ptr<detail::ProgramState> state_;
};

}  // namespace farcall::softgpu
