#include "gpu_server/loaded_code.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <fstream>
#include <iterator>

#include "transport/base/limits.h"
#include "transport/base/limits_manifest.h"
#include "transport/link/socket.h"

namespace farcall::server {
namespace {

struct Head {
  std::uint32_t code = 0;  // a Code: what follows is lines of paths, or why there are none
  std::uint32_t bytes = 0;
};

std::string_view next_line(std::string_view* text) {
  const std::string_view line = text->substr(0, text->find('\n'));
  text->remove_prefix(std::min(text->size(), line.size() + 1));
  return line;
}

std::vector<std::string> lines_of(std::string_view text) {
  std::vector<std::string> lines;
  while (!text.empty()) lines.emplace_back(next_line(&text));
  return lines;
}

}  // namespace

// "7f00-7f01 r-xp 00000000 fe:00 1234     /usr/bin/farcall-worker": flags are the second word, what
// is no file begins otherwise than with a slash.
std::vector<std::string> code_in(std::string_view maps) {
  std::vector<std::string> paths;
  while (!maps.empty()) {
    const std::string_view line = next_line(&maps);
    const std::size_t flags = line.find(' ');
    const std::size_t path = line.find(" /");
    if (flags == line.npos || path == line.npos || flags + 3 >= line.size()) continue;
    if (line[flags + 3] != 'x') continue;
    std::string found(line.substr(path + 1));
    if (std::find(paths.begin(), paths.end(), found) == paths.end()) {
      paths.push_back(std::move(found));
    }
  }
  return paths;
}

Result<std::vector<std::string>> own_code() {
  std::ifstream file("/proc/self/maps");
  const std::string maps{std::istreambuf_iterator<char>(file), {}};
  std::vector<std::string> paths = code_in(maps);
  if (paths.empty()) return Status(Code::kSystem, "/proc/self/maps says of no file what is run");
  if (paths.size() > limits::kLoadedFilesMax) {
    return Status(Code::kOverQuota,
                  "more than " + std::to_string(limits::kLoadedFilesMax) + " files are run");
  }
  return paths;
}

Status send_code(int socket, const Result<std::vector<std::string>>& code) {
  std::string text = code.ok() ? std::string() : code.status().text();
  if (code.ok()) {
    for (const std::string& path : code.value()) text += path + "\n";
  }
  if (text.size() > limits::kLoadedBytesMax) text.resize(limits::kLoadedBytesMax);
  const Head head{static_cast<std::uint32_t>(code.status().code()),
                  static_cast<std::uint32_t>(text.size())};
  const Deadline deadline = Deadline::after(system_clock(), limits::kHandshakeMs);
  FARCALL_TRY(link::write_all(socket, std::as_bytes(std::span(&head, 1)), deadline));
  return link::write_all(socket, std::as_bytes(std::span(text)), deadline);
}

Result<std::vector<std::string>> receive_code(int socket, Deadline deadline) {
  Head head;
  FARCALL_TRY(link::read_exactly(socket, std::as_writable_bytes(std::span(&head, 1)), deadline));
  if (head.bytes > limits::kLoadedBytesMax || head.code > static_cast<int>(Code::kDriver)) {
    return Status(Code::kMalformed, "what a worker said is no list of files");
  }
  std::string text(head.bytes, '\0');
  FARCALL_TRY(link::read_exactly(socket, std::as_writable_bytes(std::span(text)), deadline));
  if (head.code != 0) return Status(static_cast<Code>(head.code), "a worker: " + text);
  std::vector<std::string> paths = lines_of(text);
  if (paths.empty() || paths.size() > limits::kLoadedFilesMax) {
    return Status(Code::kMalformed, "a worker said of no file that it runs it, or of too many");
  }
  return paths;
}

}  // namespace farcall::server
