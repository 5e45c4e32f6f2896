// Driver: the entry points of a libcuda.so.1, by their true names.
//
//   Driver driver;
//   load_driver(driver, [&](const char* symbol) { return ::dlsym(library, symbol); });
//   driver.cuMemAlloc_v2(&address, bytes);
//
// Null means that this driver has no such function: a row then answers CUDA_ERROR_NOT_SUPPORTED. A
// test fills the struct with its own functions.
// Owner: a value; the library behind it must stay loaded.  Threads: any, once filled.
#pragma once
#include "transport/base/function_ref.h"
#include "transport/cuda/cuda_abi.h"

namespace farcall::api {

struct Driver {
#define FARCALL_WHOLE_TABLE
#define API(ID, F, WHEN, ...) decltype(&::F) F = nullptr;
#define HAND(ID, F, WHEN) decltype(&::F) F = nullptr;
#define LOCAL(F) decltype(&::F) F = nullptr;
#include "transport/api/table.inc"
};

// Fills every member from `find`, null where it returns null. Returns how many were found.
int load_driver(Driver& driver, FunctionRef<void*(const char* symbol)> find);

}  // namespace farcall::api
