// JitOptions: a client's CUjit_option list, made safe for a driver.
//
//   JitOptions options;
//   options.add(name, value);                    // each of them
//   if (options.refused()) …CUDA_ERROR_INVALID_VALUE…
//   driver.cuModuleLoadDataEx(&module, image, options.count(), options.names(), options.values());
//   options.finish();                             // then info_log() and error_log()
//
// The driver takes every value as a void*, and some are pointers it writes through. So only options
// whose value is a plain number pass; a client that wants the compiler's logs gives their sizes,
// and the buffers are ours. Owner: one call.  Threads: one.
#pragma once
#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "transport/cuda/cuda_abi.h"

namespace farcall::server {

class JitOptions {
 public:
  void add(CUjit_option name, std::uint64_t value);
  // True once an option was added that must not reach a driver.
  bool refused() const { return refused_; }
  void refuse() { refused_ = true; }

  unsigned count() const { return static_cast<unsigned>(names_.size()); }
  CUjit_option* names() { return names_.data(); }
  void** values() { return values_.data(); }

  // After the driver's call: takes over how much it wrote.
  void finish();
  std::span<const char> info_log() const { return std::span(info_).first(info_used_); }
  std::span<const char> error_log() const { return std::span(error_).first(error_used_); }

 private:
  void push(CUjit_option name, void* value);
  void add_log(CUjit_option buffer, CUjit_option size, std::vector<char>& log, std::uint64_t bytes);
  static std::size_t used(const std::vector<char>& log);

  bool refused_ = false;
  std::vector<CUjit_option> names_;
  std::vector<void*> values_;
  std::vector<char> info_;
  std::vector<char> error_;
  std::size_t info_used_ = 0;
  std::size_t error_used_ = 0;
};

}  // namespace farcall::server
