// Which exported symbol answers cuGetProcAddress(name, version, flags)?
//
//   const char* symbol = choose_symbol("cuMemAlloc", 13000, CU_GET_PROC_ADDRESS_DEFAULT);
//   // "cuMemAlloc_v2"; the caller turns the name into an address
//
// One name stands for several functions with different signatures; the caller's version says which
// header it was compiled with, and so which signature it will call. The newest function that is
// not newer than that version is the answer; with CU_GET_PROC_ADDRESS_PER_THREAD_DEFAULT_STREAM
// its _ptsz or _ptds twin if there is one.
// The table is entry_points.def: every export of libcuda.so.1 of CUDA 13.0.
// Owner: constant data.  Threads: any.
// Source: CUDA Driver API 13.0, cuGetProcAddress; cudaTypedefs.h.
#pragma once
#include <cstdint>
#include <span>

namespace farcall::cuda {

struct EntryPoint {
  const char* name;    // what a program asks for: "cuMemcpyHtoD"
  int version;         // first CUDA version with this signature: 7000
  bool per_thread;     // the twin for per-thread default streams
  const char* symbol;  // "cuMemcpyHtoD_v2_ptds"
};

// Every row, sorted by name, then per_thread, then version.
std::span<const EntryPoint> entry_points();

// What cuGetProcAddress_v2 reports beside the address (CUdriverProcAddressQueryResult).
enum class Lookup { kFound, kNotFound, kVersionTooOld };

// The symbol for `name`, or nullptr.
//   version  as cuGetProcAddress takes it: 1000 * major + 10 * minor
//   flags    CU_GET_PROC_ADDRESS_… bits
//   lookup   may be null; kVersionTooOld when `name` exists only in versions after `version`
const char* choose_symbol(const char* name, int version, std::uint64_t flags,
                          Lookup* lookup = nullptr);

}  // namespace farcall::cuda
