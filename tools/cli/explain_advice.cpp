// What a person can do about the cost of the link, in words.
#include <algorithm>
#include <cstdio>
#include <string_view>

#include "tools/cli/explain.h"
#include "tools/cli/summary.h"

namespace farcall::cli {
namespace {

// Below this part of the run a cost is not worth a sentence.
constexpr double kWorthSaying = 0.02;
constexpr std::size_t kCausesMax = 4;

std::string percent(double part) {
  char text[32];
  std::snprintf(text, sizeof text, part < 0.0995 ? "%.1f %%" : "%.0f %%", 100 * part);
  return text;
}

struct Counsel {
  std::string_view functions;  // names, each between spaces
  const char* text;
};

// What helps where a function is waited for often. The first row that names it holds.
constexpr Counsel kCounsels[] = {
    {" cuStreamSynchronize cuCtxSynchronize cuCtxSynchronize_v2 cuEventSynchronize ",
     "Wait less often: once a step, not after each launch. Work in one stream keeps its order "
     "without waiting, and cuStreamWaitEvent orders two streams on the GPU."},
    {" cuStreamQuery cuEventQuery ",
     "Polling asks the server each time. Wait with cuEventSynchronize, or look less often."},
    {" cuMemcpyDtoH_v2 cuMemcpy2D_v2 cuMemcpy2DUnaligned_v2 cuMemcpy3D_v2 cuMemcpyAtoH_v2 ",
     "Each read waits for its answer. Gather small results on the GPU and read them once, or "
     "read asynchronously into page-locked memory (loss.item() and tensor.cpu() are such reads)."},
    {" cuMemcpyDtoHAsync_v2 cuMemcpy2DAsync_v2 cuMemcpy3DAsync_v2 ",
     "An asynchronous read waits if its destination is pageable: give it page-locked memory "
     "(cudaMallocHost, pin_memory), and read several results at once."},
    {" cuMemcpyHtoD_v2 cuMemcpyHtoDAsync_v2 ",
     "These copies waited, which they do when several threads of the program make synchronous "
     "copies or the address is not of this session: use asynchronous copies on a stream."},
    {" cuMemAlloc_v2 cuMemFree_v2 cuMemAllocPitch_v2 cuMemHostAlloc cuMemAllocHost_v2 ",
     "Allocate once and use the memory again, or allocate from a pool (cudaMallocAsync; PyTorch's "
     "allocator does)."},
    {" cuMemGetInfo_v2 ", "Ask for free memory once, not in a loop: the answer comes from afar."},
    {" cuModuleLoadData cuModuleLoadDataEx cuModuleLoadFatBinary cuLibraryLoadData "
     "cuModuleGetFunction cuLibraryGetModule cuLibraryGetKernel cuKernelGetFunction ",
     "That is the start of the program: it happens once. CUDA_MODULE_LOADING=LAZY loads only what "
     "is used, and the server keeps images from one run to the next."},
    {" cuInit ", "That is the opening of the session: it happens once."},
    {" cuLaunchKernel cuLaunchKernelEx cuLaunchCooperativeKernel ",
     "Launches wait only when they are cooperative, when FARCALL_STRICT is set, or without a "
     "current context."},
};

constexpr const char* kElse = "Call it less often, or outside the loop.";

const char* counsel_for(const std::string& function) {
  const std::string word = " " + function + " ";
  for (const Counsel& counsel : kCounsels) {
    if (counsel.functions.find(word) != std::string_view::npos) return counsel.text;
  }
  return kElse;
}

// The caller that makes most of a function's cost, where there is one to name.
std::string mostly_by(const Explanation& found, const Group& function) {
  for (const Group& caller : found.callers) {
    if (caller.detail == function.name && caller.name != "not known") {
      return ", mostly from " + caller.name;
    }
  }
  return {};
}

// Functions that the same counsel helps.
struct Cause {
  const char* counsel;
  std::string names;
  std::string caller;
  std::uint64_t round_trips = 0;
  double trips_s = 0;
};

std::vector<Cause> causes_of(const Explanation& found) {
  std::vector<Cause> causes;
  for (const Group& group : found.functions) {
    if (group.round_trips == 0) continue;
    const char* counsel = counsel_for(group.name);
    auto known = std::find_if(causes.begin(), causes.end(),
                              [&](const Cause& one) { return one.counsel == counsel; });
    if (known == causes.end()) {
      known = causes.insert(known, {counsel, group.name, mostly_by(found, group), 0, 0});
    } else {
      known->names += ", " + group.name;
    }
    known->round_trips += group.round_trips;
    known->trips_s += group.trips_s;
  }
  std::stable_sort(causes.begin(), causes.end(),
                   [](const Cause& a, const Cause& b) { return a.trips_s > b.trips_s; });
  return causes;
}

void advise_on_trips(const Explanation& found, double run_s, std::vector<std::string>& advice) {
  for (const Cause& cause : causes_of(found)) {
    if (advice.size() >= kCausesMax || cause.trips_s < kWorthSaying * run_s) return;
    advice.push_back(cause.names + ": " + std::to_string(cause.round_trips) + " round trips, " +
                     with_time(cause.trips_s) + " or " + percent(cause.trips_s / run_s) +
                     " of the run at " + describe_link(found.asked) + cause.caller + ". " +
                     cause.counsel);
  }
}

void advise_on_data(const Explanation& found, double run_s, std::vector<std::string>& advice) {
  const double out = static_cast<double>(found.total.bytes_out);
  const double in = static_cast<double>(found.total.bytes_in);
  const double moving_s = (out + in) / found.asked.bytes_per_s;
  if (moving_s < kWorthSaying * run_s) return;
  advice.push_back("Moving data: " + with_unit(out) + " to the device and " + with_unit(in) +
                   " back take " + with_time(moving_s) + " or " + percent(moving_s / run_s) +
                   " of the run at " + describe_link(found.asked) +
                   ". Keep on the device what is used again, send smaller types, and copy "
                   "asynchronously, so that the next data travels while the GPU works.");
}

}  // namespace

std::vector<std::string> advise(const Explanation& found) {
  std::vector<std::string> advice;
  const Prediction& there = found.predictions.front();
  advise_on_trips(found, there.run_s, advice);
  advise_on_data(found, there.run_s, advice);
  if (advice.empty()) {
    advice.push_back("Nothing to do: at " + describe_link(found.asked) + " the link costs " +
                     percent(there.run_s > 0 ? there.cost_s / there.run_s : 0) + " of the run (" +
                     with_time(there.cost_s) + " of " + with_time(there.run_s) + ").");
  }
  if (!found.failed_earlier.empty()) {
    std::uint64_t calls = 0;
    std::string names;
    for (const auto& [name, count] : found.failed_earlier) {
      calls += count;
      names += (names.empty() ? "" : ", ") + name + " (" + std::to_string(count) + ")";
    }
    advice.push_back(std::to_string(calls) + (calls == 1 ? " call" : " calls") +
                     " failed after being posted, so that another call reported it: " + names +
                     ". FARCALL_LOG=warn names each with its kernel; FARCALL_STRICT=1 reports each "
                     "where it happens.");
  }
  if (found.dropped > 0) {
    advice.push_back(std::to_string(found.dropped) +
                     " calls found no room in the trace and are missing from these figures.");
  }
  if (!found.is_whole) {
    advice.push_back(
        "The trace ends without its last page: the program was killed, still runs, or outgrew the "
        "file's limit. What follows its end is missing from these figures.");
  }
  return advice;
}

}  // namespace farcall::cli
