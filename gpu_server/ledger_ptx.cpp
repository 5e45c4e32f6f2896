#include "gpu_server/ledger_ptx.h"

#include <charconv>
#include <optional>

namespace farcall::server {
namespace {

constexpr std::uint64_t kUnknown = UINT64_MAX;

std::uint64_t sum_of(std::uint64_t a, std::uint64_t b) {
  std::uint64_t sum = 0;
  return __builtin_add_overflow(a, b, &sum) ? kUnknown : sum;
}
std::uint64_t product(std::uint64_t a, std::uint64_t b) {
  std::uint64_t all = 0;
  return __builtin_mul_overflow(a, b, &all) ? kUnknown : all;
}

bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_word(char c) {
  return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || c == '$' ||
         c == '%' || c == '.';
}

// Words and single signs; comments and what is quoted are passed over.
class Tokens {
 public:
  explicit Tokens(std::string_view text) : text_(text) {}

  // Empty at the end.
  std::string_view next() {
    skip();
    if (at_ >= text_.size()) return {};
    const std::size_t from = at_;
    if (!is_word(text_[at_])) return text_.substr(at_++, 1);
    while (at_ < text_.size() && is_word(text_[at_])) ++at_;
    return text_.substr(from, at_ - from);
  }
  std::string_view peek() {
    const std::size_t before = at_;
    std::string_view token = next();
    at_ = before;
    return token;
  }

 private:
  void skip() {
    while (at_ < text_.size()) {
      const std::string_view rest = text_.substr(at_);
      if (rest.starts_with("//")) {
        skip_to("\n");
      } else if (rest.starts_with("/*")) {
        at_ += 2;
        skip_to("*/");
      } else if (rest[0] == '"') {
        ++at_;
        skip_to("\"");
      } else if (static_cast<unsigned char>(rest[0]) <= ' ') {
        ++at_;
      } else {
        return;
      }
    }
  }
  void skip_to(std::string_view end) {
    const std::size_t found = text_.find(end, at_);
    at_ = found == std::string_view::npos ? text_.size() : found + end.size();
  }

  std::string_view text_;
  std::size_t at_ = 0;
};

// "100", "0x40", "010", "0b11", each perhaps with a U.
std::optional<std::uint64_t> number_of(std::string_view word) {
  if (word.ends_with('U')) word.remove_suffix(1);
  int base = 10;
  if (word.starts_with("0x") || word.starts_with("0X")) {
    base = 16;
  } else if (word.starts_with("0b") || word.starts_with("0B")) {
    base = 2;
  } else if (word.size() > 1 && word[0] == '0') {
    base = 8;
  }
  if (base == 16 || base == 2) word.remove_prefix(2);
  std::uint64_t number = 0;
  auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), number, base);
  if (error != std::errc() || end != word.data() + word.size()) return std::nullopt;
  return number;
}

// ".b8" 1, ".f16x2" 4, ".u64" 8; 16 for what is none of these (.texref and its like).
std::uint64_t type_bytes(std::string_view word) {
  std::size_t at = 1;
  while (at < word.size() && !is_digit(word[at])) ++at;
  std::uint64_t bits = 0;
  auto [end, error] = std::from_chars(word.data() + at, word.data() + word.size(), bits);
  if (error != std::errc() || bits > 1024) return 16;
  const std::string_view rest(end, static_cast<std::size_t>(word.data() + word.size() - end));
  return (bits + 7) / 8 * (rest == "x2" ? 2 : rest == "x4" ? 4 : 1);
}

class Declaration {
 public:
  explicit Declaration(Tokens& in) : in_(in) {}

  // Behind the state space; up to and with the ';'.
  std::uint64_t bytes() {
    std::uint64_t all = 0;
    for (std::string_view token = in_.next(); !token.empty() && token != ";"; token = in_.next()) {
      if (token == "}" || token == "{") break;  // no declaration after all
      if (token == ".align") {
        (void)in_.next();
      } else if (token == ".attribute") {
        skip_parentheses();
      } else if (token == ".v2" || token == ".v4" || token == ".v8") {
        vector_ = static_cast<std::uint64_t>(token[2] - '0');
      } else if (token[0] == '.') {
        element_ = type_bytes(token);
      } else if (token != "," && is_word(token[0])) {
        all = sum_of(all, variable());
      }
    }
    return all;
  }

 private:
  void skip_parentheses() {
    if (in_.peek() != "(") return;
    for (std::string_view token = in_.next(); !token.empty() && token != ")"; token = in_.next()) {
    }
  }

  // Behind its name.
  std::uint64_t variable() {
    std::uint64_t items = 1;
    bool is_open = false;  // "[]": as long as its initialiser
    for (;;) {
      const std::string_view sign = in_.peek();
      if (sign == "[" || sign == "<") {
        (void)in_.next();
        const std::string_view word = in_.next();
        if (word == "]") {
          is_open = true;
          continue;
        }
        const auto number = number_of(word);
        const std::string_view end = in_.next();
        if (!number || (end != "]" && end != ">")) return kUnknown;
        items = product(items, *number);
      } else if (sign == "=") {
        const std::uint64_t given = initializer();
        if (is_open) items = product(items, given);
        break;
      } else {
        break;
      }
    }
    return product(items, product(element_, vector_));
  }

  // How many values it has at most; stops before the ',' or ';' behind it.
  std::uint64_t initializer() {
    std::uint64_t values = 1;
    std::uint64_t depth = 0;
    for (std::string_view token = in_.peek(); !token.empty(); token = in_.peek()) {
      if (token == ";" || (token == "," && depth == 0)) break;
      if (token == "{" || token == "(") ++depth;
      if ((token == "}" || token == ")") && depth > 0) --depth;
      if (token == ",") ++values;
      (void)in_.next();
    }
    return values;
  }

  Tokens& in_;
  std::uint64_t element_ = 16;
  std::uint64_t vector_ = 1;
};

}  // namespace

std::uint64_t ptx_variable_bytes(std::string_view text) {
  Tokens in(text);
  std::uint64_t all = 0;
  std::uint64_t depth = 0;  // of parentheses
  for (std::string_view token = in.next(); !token.empty(); token = in.next()) {
    if (token == "(") ++depth;
    if (token == ")" && depth > 0) --depth;
    // A parenthesis that is left open must not hide what follows.
    if (token == ";" || token == "{") depth = 0;
    if (depth == 0 && (token == ".global" || token == ".const")) {
      all = sum_of(all, Declaration(in).bytes());
    }
  }
  return all;
}

}  // namespace farcall::server
