// Checker: what FARCALL_SOFTGPU_CHECK finds wrong with kernels, told in words.
//
//   Checker checker(CheckOptions::parse("memory,race"), [](std::string_view text) { … });
//   set_active_checker(&checker);    // before the first Memory is made; kernels are checked from
//   now … checker.tell_summary();          // "========= 3 problems found in 2 kernels"
//
// One problem is one kind of mistake at one instruction; later threads that make it are counted.
// Of problems the first kToldMax are told, the rest counted. Without a Checker kernels run the
// handlers they always run: a check costs nothing where none is asked for.
// One for the process, as the log is one: memory, programs and engines ask for it.
// Owner: the driver, for ever; a test's outlives every Memory it makes.  Threads: any.
// It never changes what a kernel computes, and never stops one.
#pragma once
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "gpu_server/software_gpu/exec/watch.h"
#include "transport/base/guarded.h"

namespace farcall::softgpu {

struct CheckOptions {
  bool memory = false;  // accesses outside of allocations; other faults are told with them
  bool init = false;    // reads of bytes that nobody wrote
  bool race = false;    // shared memory of a block
  bool leak = false;    // device memory that is left at the end
  bool any() const { return memory || init || race || leak; }

  // "1": memory, init and race; or words with commas: "memory,leak". Nothing for null, "0" and
  // words that nobody knows.
  static CheckOptions parse(const char* text);
};

// A problem as it is told, first line first.
struct Finding {
  std::string what;    // "invalid write of 4 bytes to global memory"
  std::string kernel;  // as the image spells it; empty for what no kernel did
  std::vector<std::string> lines;
};

class Checker {
 public:
  Watch& watch() { return watch_; }

  // What one instruction may do wrong.
  enum class Mistake : std::uint8_t { kFault, kUnwritten, kRace, kLeak };
  static constexpr std::size_t kToldMax = 100;

  Checker(CheckOptions options, std::function<void(std::string_view)> tell)
      : options_(options), tell_(std::move(tell)) {}

  const CheckOptions& options() const { return options_; }
  // True for the first of its kind at an instruction, while there is room for more: then the caller
  // says the rest by report().
  bool is_new(Mistake mistake, const void* instruction);
  void report(const Finding& finding);
  // How many problems there are, told or not.
  std::size_t problems() const;
  // "========= 3 problems in 2 kernels"; also when there is none.
  void tell_summary();

 private:
  struct Book {
    std::map<std::pair<const void*, Mistake>, std::uint64_t> seen;  // how often
    std::set<std::string> kernels;
    std::size_t problems = 0, untold = 0;
    std::uint64_t repeated = 0;
  };
  const CheckOptions options_;
  const std::function<void(std::string_view)> tell_;
  Watch watch_;
  mutable Guarded<Book> book_;
};

Checker* active_checker();  // null: nothing is checked
void set_active_checker(Checker* checker);

// "_Z4vaddPfS_S_i" → "vadd(float*, float*, float*, int)"; other names as they are.
std::string readable_name(const std::string& symbol);

// The source line that a .loc gives for a line of PTX text: "vadd.cu:14", or empty.
std::string source_of(std::string_view ptx_text, std::uint32_t ptx_line);

}  // namespace farcall::softgpu
