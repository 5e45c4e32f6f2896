#include "tools/cli/authority_keys.h"

#include <fcntl.h>
#include <termios.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <string>

#include "security/token_keys.h"
#include "transport/base/key_memory.h"
#include "transport/base/unique.h"

namespace farcall::cli {
namespace {

constexpr std::size_t kPinBytesMax = 256;
constexpr std::byte kInterrupt{3};  // Control-C, which is read as any other key here

// The terminal neither shows what is typed nor takes it for signals, until this ends.
class Unseen {
 public:
  explicit Unseen(int terminal) : terminal_(terminal) {
    termios now{};
    if (::tcgetattr(terminal_, &before_) != 0) return;
    now = before_;
    now.c_lflag &= ~static_cast<tcflag_t>(ECHO | ISIG);
    holds_ = ::tcsetattr(terminal_, TCSAFLUSH, &now) == 0;
  }
  ~Unseen() {
    if (holds_) ::tcsetattr(terminal_, TCSAFLUSH, &before_);
  }
  Unseen(const Unseen&) = delete;
  Unseen& operator=(const Unseen&) = delete;
  bool holds() const { return holds_; }

 private:
  const int terminal_;
  termios before_{};
  bool holds_ = false;
};

void say(const Fd& terminal, const std::string& text) {
  static_cast<void>(!::write(terminal.get(), text.data(), text.size()));
}

Result<SecureBuffer> ask_pin(const std::string& label) {
  const Status nobody(Code::kUnsupported,
                      "the PIN of token " + label +
                          " is asked for on a terminal, and there is none: put it into a file "
                          "that only its owner can read, and name that in the key's URI "
                          "(?pin-source=file:/path)");
  const Fd terminal(::open("/dev/tty", O_RDWR | O_NOCTTY | O_CLOEXEC));
  if (!terminal) return nobody;
  Result<SecureBuffer> typed = make_key_buffer(kPinBytesMax);
  if (!typed.ok()) return typed;
  const Unseen unseen(terminal.get());
  if (!unseen.holds()) return nobody;
  say(terminal, "PIN of token " + label + ": ");
  ssize_t got;
  do got = ::read(terminal.get(), typed->data(), typed->size());
  while (got < 0 && errno == EINTR);
  say(terminal, "\n");
  std::size_t bytes = got < 0 ? 0 : static_cast<std::size_t>(got);
  if (bytes > 0 && typed->data()[bytes - 1] == std::byte{'\n'}) --bytes;
  if (bytes == 0 || std::memchr(typed->data(), static_cast<int>(kInterrupt), bytes) != nullptr) {
    return Status(Code::kDenied, "no PIN was given for token " + label);
  }
  Result<SecureBuffer> pin = make_key_buffer(bytes);
  if (pin.ok()) std::memcpy(pin->data(), typed->data(), bytes);
  return pin;
}

}  // namespace

std::shared_ptr<security::KeyStore> authority_keys() { return security::token_keys(&ask_pin); }

}  // namespace farcall::cli
