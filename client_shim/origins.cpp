#include "client_shim/origins.h"

#include <cxxabi.h>

#include <algorithm>
#include <cstdlib>
#include <memory>

#include "client_shim/contexts.h"
#include "transport/api/dispatch.h"
#include "transport/api/rows.h"
#include "transport/base/log.h"
#include "transport/cuda/error_log.h"
#include "transport/cuda/error_text.h"

namespace farcall::shim {
namespace {

constexpr int kCandidatesMax = 4;
constexpr std::size_t kNameBytesMax = 96;  // a log line holds a few of them

std::string error_name(CUresult error) {
  const char* name = cuda::error_name(error);
  return name != nullptr ? name : "CUDA error " + std::to_string(static_cast<int>(error));
}

std::string at_call(std::uint32_t call) { return " (call " + std::to_string(call) + ")"; }

// "saxpy" for "_Z5saxpyifPfS_": what the program's author wrote, as far as a line has room.
std::string readable(const std::string& symbol) {
  int failed = 0;
  std::unique_ptr<char, decltype(&std::free)> text(
      abi::__cxa_demangle(symbol.c_str(), nullptr, nullptr, &failed), &std::free);
  std::string name = failed == 0 && text != nullptr ? text.get() : symbol;
  // A template's name begins with its return type and may hold brackets of its own.
  if (name.find('<') == std::string::npos) name.resize(std::min(name.find('('), name.size()));
  if (name.size() > kNameBytesMax) name.replace(kNameBytesMax, std::string::npos, "...");
  return name;
}

// To whoever reads our log, and to the program that reads CUDA's.
void tell(const std::string& text) {
  FARCALL_LOG_WARN("%s", text.c_str());
  cuda::error_log().note(CU_LOG_LEVEL_ERROR, text);
}

}  // namespace

std::string Origins::kernel_name(std::uint64_t function) {
  FunctionRefs facts = functions_.find(function);
  if (facts == nullptr) return "a kernel unloaded since";
  return facts->name.empty() ? "a kernel without a name" : readable(facts->name);
}

std::string Origins::launched_last(std::uint32_t last) {
  std::string list;
  int named = 0;
  for (std::uint32_t back = 0; back < recent_.size() && named < kCandidatesMax; ++back) {
    const std::uint32_t call = last - back;
    const Slot& slot = recent_[call % recent_.size()];
    if (call == 0 || slot.call.load(std::memory_order_acquire) != call) continue;
    const std::uint64_t function = slot.function.load(std::memory_order_acquire);
    if (slot.call.load(std::memory_order_relaxed) != call) continue;
    list += (named++ == 0 ? "" : ", ") + kernel_name(function) + at_call(call);
  }
  return list.empty() ? "nothing by a call of its own" : list;
}

void Origins::report(const api::hand::FailedEarlier& earlier, const Reporter& reporter) {
  const api::ServedRow* row = api::find_row(earlier.row);
  std::string what = row != nullptr ? row->info.name : "an unknown call";
  ++(*counts_.lock())[what];
  static LogLimit limit(5);
  if (!limit.allow()) return;
  if (earlier.row == api::row::cuLaunchKernel::info().id) {
    what += "(" + kernel_name(earlier.function) + ")";
  }
  const auto error = static_cast<CUresult>(earlier.status);
  std::string text = what + " failed earlier" + at_call(earlier.call) + ": " + error_name(error) +
                     "; reported by " + reporter.name + at_call(reporter.call);
  if (earlier.others > 0) {
    text += "; " + std::to_string(earlier.others) + " more of the thread's calls failed after it";
  }
  if (Contexts::is_fault(error)) {
    text += "; a kernel before it faulted: launched last: " + launched_last(earlier.call - 1);
  }
  tell(text);
}

void Origins::report_fault(CUresult fault, const Reporter& reporter) {
  tell(error_name(fault) + " reported by " + reporter.name + at_call(reporter.call) +
       ": a kernel faulted, and no device says which; launched last: " +
       launched_last(reporter.call));
}

}  // namespace farcall::shim
