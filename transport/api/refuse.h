// refuse: what a function of a REFUSE row does.
//
//   static std::atomic_flag said;
//   return refuse(said, "cuGraphicsMapResources", "no graphics interoperation");
//
// Threads: any.  Includes nothing of CUDA, see refusals.inc.
#pragma once
#include <atomic>

namespace farcall::api {

// Who else wants to know of each refusal; null: nobody. Before the first one.
void tell_refusals_to(void (*listener)(const char* text)) noexcept;

// Logs the first time, and returns CUDA_ERROR_NOT_SUPPORTED.
int refuse(std::atomic_flag& said, const char* function, const char* why) noexcept;

}  // namespace farcall::api
