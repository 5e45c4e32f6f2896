// Behaviour of a CUDA driver, written down as lines that two drivers can be compared by.
//
//   BODY(memory_sizes) {
//     Primary context;                                            // device 0, current here
//     CUdeviceptr block = 0;
//     EXPECT(CUDA_ERROR_INVALID_VALUE, kSays, cuMemAlloc_v2, &block, 0);
//     CALL(cuMemFree_v2, block);                                  // no claim, only a record
//     VALUE("block", block == 0 ? "null" : "not null");
//   }
//
// prints one line a step: "memory_sizes: cuMemAlloc_v2(&block, 0) = CUDA_ERROR_INVALID_VALUE". A
// line must be the same in every run on every device; what belongs to the device is printed by
// FACT, with "~" for "=", and is compared on one machine only. EXPECT adds a line that begins with
// "!" where the documentation is explicit and the driver does something else.
//
// Each body runs in a process of its own (main.cpp), which has not called CUDA before; it may
// crash, poison its context or never return. The driver is the file the command line names, opened
// by dlopen, so one program asks NVIDIA's driver, the software GPU and Farcall's shim alike.
// Threads: a body's own; a line is printed whole, their order is the body's business.
#pragma once
#include <string>

#include "transport/cuda/cuda_abi.h"

namespace parity {

using BodyFunction = void (*)();

// Makes a body known under its name. Name: at most 40 characters, unique.
struct Registration {
  Registration(const char* name, BodyFunction run);
};

// The driver's function. A driver without it ends the body: "stopped = no cuFoo in this driver".
void* function(const char* name);

// The same, or null.
void* find_function(const char* name);

// Prints "<body>: <step> = <name of the code>" and returns the code.
CUresult tell(const char* step, CUresult code);

// As tell; and, if the code is another, "! <body>: <step>: <source> says <wanted>".
//   source  which document says so, for instance "cuda.h, cuMemAlloc"
CUresult tell_expected(const char* step, CUresult code, CUresult wanted, const char* source);

// Prints a value: of CUDA (=), or of this device (~).
void value(const char* what, const std::string& is);
void value(const char* what, long long is);
void fact(const char* what, const std::string& is);
void fact(const char* what, long long is);

// Says what the next lines are about: the round of a loop, a thread.
void about(const std::string& what);

// Ends the body here: it cannot go on, for this reason.
[[noreturn]] void stop(const std::string& why);

// A number that cuda.h may not name, as an enumerator.
template <class Enum>
Enum number(int is) {
  return static_cast<Enum>(is);
}

// CUDA_ERROR_INVALID_VALUE …; "error 12345" for what cuda.h does not name.
std::string name_of(CUresult code);

}  // namespace parity

#define BODY(name)                                                           \
  static void body_##name();                                                 \
  static const parity::Registration registration_##name(#name, body_##name); \
  static void body_##name()

#define CU(name) (reinterpret_cast<decltype(&name)>(parity::function(#name)))
// The call as it stands in the source is the name of the step.
#define CALL(name, ...) parity::tell(#name "(" #__VA_ARGS__ ")", CU(name)(__VA_ARGS__))
#define EXPECT(code, source, name, ...) \
  parity::tell_expected(#name "(" #__VA_ARGS__ ")", CU(name)(__VA_ARGS__), code, source)
#define VALUE(what, is) parity::value(what, is)
#define FACT(what, is) parity::fact(what, is)
