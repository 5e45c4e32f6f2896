// From PTX text to the tree of ast.h, for text that may be hostile.
//
//   Result<Module> one = parse_module(std::move(text));
//   Result<Module> whole = link_modules(std::move(parts));            // for -rdc=true
//   Result<Body> body = parse_body(whole.value(), whole->functions[i]);
//
// parse_module reads declarations and skips over bodies: libraries hold hundreds of kernels that
// nobody launches. Unknown directives at module level are refused; debug sections are skipped.
// Every size, count and depth is bounded by the limits of transport/base/limits.h (kPtx…).
// Owner: values.  Threads: any.  Never throws (std::bad_alloc aside), never logs, never crashes.
#pragma once
#include <string>
#include <vector>

#include "gpu_server/software_gpu/ptx/ast.h"
#include "transport/base/status.h"

namespace farcall::softgpu::ptx {

// A trailing NUL (as images have) may be part of `text` and is dropped.
// Errors: kMalformed "line 12: …", kOverQuota for a limit, kUnsupported for 32-bit addressing.
Result<Module> parse_module(std::string text);

// One module out of several: an .extern of one becomes the .visible definition of another. A
// single module is allowed. What nobody defines stays is_extern (vprintf, malloc, …): the caller
// knows which of those it provides.
// Errors: kMalformed when two parts define one visible name.
Result<Module> link_modules(std::vector<Module> parts);

// The instructions of module.functions[…]. `function` must be an element of `module`.
// A name that nothing declares becomes Symbol::Kind::kUnresolved: a decoder may know it.
// Errors: kMalformed "line 40: …", kOverQuota; kNotFound when it has no body.
Result<Body> parse_body(const Module& module, const Function& function);

}  // namespace farcall::softgpu::ptx
