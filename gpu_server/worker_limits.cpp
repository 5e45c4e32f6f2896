#include "gpu_server/worker_limits.h"

#include <charconv>
#include <utility>

#include "gpu_server/lease_limits.h"

namespace farcall::server {
namespace {

struct Word {
  std::string_view name;
  std::uint32_t most;  // of a count; 0: a size in bytes
  std::uint32_t least;
  std::string_view help;
};
// A worker that has fewer threads or pages than its driver needs does not start: these are no
// limits to be reached on purpose.
constexpr Word kMemory{"memory", 0, 0,
                       "of host memory, its page cache included; none of it in swap"};
constexpr Word kThreads{"threads", 1'000'000, 32, "of the process, its driver's included"};
constexpr Word kCpu{"cpu", 1'000'000, 1,
                    "of processor time, in percent of one processor: 400 are four"};
constexpr const Word* kWords[] = {&kMemory, &kThreads, &kCpu};

Status wrong(std::string_view part, const std::string& what) {
  return {Code::kUnsupported, "\"" + std::string(part.substr(0, 64)) + "\": " + what};
}

Status take_count(const Word& word, std::string_view text, std::uint32_t* to) {
  std::uint32_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  const bool whole = error == std::errc() && end == text.data() + text.size();
  if (!whole || number < word.least || number > word.most) {
    return wrong(text, std::string(word.name) + " is a number from " + std::to_string(word.least) +
                           " to " + std::to_string(word.most));
  }
  if (std::exchange(*to, number) != 0) return wrong(word.name, "given twice");
  return ok();
}

Status take_word(std::string_view name, std::string_view text, WorkerLimits* limits) {
  if (name == kThreads.name) return take_count(kThreads, text, &limits->threads_max);
  if (name == kCpu.name) return take_count(kCpu, text, &limits->cpu_percent);
  if (name != kMemory.name) {
    return wrong(name, "NAME=VALUE belongs here, with a name of memory, threads, cpu");
  }
  Result<std::uint64_t> bytes = parse_bytes(text);
  if (!bytes.ok()) return bytes.status();
  if (std::exchange(limits->memory_bytes, bytes.value()) != 0) return wrong(name, "given twice");
  return ok();
}

}  // namespace

Result<WorkerLimits> parse_worker_limits(std::string_view text) {
  WorkerLimits limits;
  while (!text.empty()) {
    const std::size_t comma = text.find(',');
    const std::string_view part = text.substr(0, comma);
    const std::size_t equals = part.find('=');
    if (equals == std::string_view::npos) return wrong(part, "NAME=VALUE belongs here");
    Status taken = take_word(part.substr(0, equals), part.substr(equals + 1), &limits);
    if (!taken.ok()) return taken;
    if (comma == std::string_view::npos) break;
    text.remove_prefix(comma + 1);
    if (text.empty()) return wrong(",", "nothing stands behind the comma");
  }
  return limits;
}

std::string to_string(const WorkerLimits& limits) {
  std::string text;
  const auto add = [&text](const Word& word, const std::string& value) {
    text += (text.empty() ? "" : ",") + std::string(word.name) + "=" + value;
  };
  if (limits.memory_bytes != 0) add(kMemory, bytes_text(limits.memory_bytes));
  if (limits.threads_max != 0) add(kThreads, std::to_string(limits.threads_max));
  if (limits.cpu_percent != 0) add(kCpu, std::to_string(limits.cpu_percent));
  return text;
}

std::string worker_limits_help() {
  std::string help;
  for (const Word* word : kWords) {
    help += "  " + std::string(word->name) + std::string(11 - word->name.size(), ' ') +
            std::string(word->help) + "\n";
  }
  return help;
}

}  // namespace farcall::server
