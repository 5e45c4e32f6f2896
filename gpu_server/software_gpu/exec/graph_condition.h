// The values of conditional handles, which kernels set and conditional nodes of graphs look at.
//
//   const std::uint64_t handle = new_graph_condition();
//   set_graph_condition(handle, 1);                 // cudaGraphSetConditional
//   if (graph_condition(handle) != 0) …
//
// A handle has one value in the process, whichever instantiated graph runs.
// Owner: the process.  Threads: any.
#pragma once
#include <cstdint>

namespace farcall::softgpu {

std::uint64_t new_graph_condition();
void end_graph_condition(std::uint64_t handle);
// A value for a handle that does not exist changes nothing.
void set_graph_condition(std::uint64_t handle, std::uint32_t value);
std::uint32_t graph_condition(std::uint64_t handle);
bool is_graph_condition(std::uint64_t handle);

}  // namespace farcall::softgpu
