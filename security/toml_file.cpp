#include "security/toml_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "transport/base/unique.h"

namespace farcall::security {

Result<toml::table> parse_toml(std::string_view text, const std::string& name) {
  try {
    return toml::parse(text, name);
  } catch (const toml::parse_error& wrong) {
    return Status(Code::kUnsupported, name + " line " + std::to_string(wrong.source().begin.line) +
                                          ": " + std::string(wrong.description()));
  }
}

Result<toml::table> load_toml(const std::string& path, std::size_t bytes_max) {
  const Fd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file && errno == ENOENT) {
    return Status(Code::kNotFound, "open " + path + ": " + std::strerror(errno));
  }
  if (!file) return Status::system("open " + path);
  std::string text(bytes_max + 1, '\0');
  std::size_t held = 0;
  ssize_t got = 1;
  while (got > 0 && held < text.size()) {
    got = ::read(file.get(), text.data() + held, text.size() - held);
    if (got < 0 && errno == EINTR)
      got = 1;
    else if (got < 0)
      return Status::system("read " + path);
    else
      held += static_cast<std::size_t>(got);
  }
  if (held > bytes_max) {
    return Status(Code::kUnsupported, path + " is longer than " + std::to_string(bytes_max) +
                                          " bytes, as no such file may be");
  }
  text.resize(held);
  return parse_toml(text, path);
}

Status wrong_toml(const toml::node& at, const std::string& what) {
  const toml::source_region& place = at.source();
  const std::string name = place.path ? *place.path : "a file";
  return {Code::kUnsupported, name + " line " + std::to_string(place.begin.line) + ": " + what};
}

}  // namespace farcall::security
