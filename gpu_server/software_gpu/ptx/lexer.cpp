#include "gpu_server/software_gpu/ptx/lexer.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstring>

namespace farcall::softgpu::ptx {
namespace {

enum : std::uint8_t { kBlank = 1, kWordStart = 2, kWordPart = 4, kDigit = 8, kBraceScan = 16 };

constexpr std::array<std::uint8_t, 256> classes() {
  std::array<std::uint8_t, 256> table{};
  for (char c : {' ', '\t', '\r', '\n', '\f', '\v'}) table[static_cast<unsigned char>(c)] = kBlank;
  for (int c = 'a'; c <= 'z'; ++c) table[static_cast<std::size_t>(c)] = kWordStart | kWordPart;
  for (int c = 'A'; c <= 'Z'; ++c) table[static_cast<std::size_t>(c)] = kWordStart | kWordPart;
  for (int c = '0'; c <= '9'; ++c) table[static_cast<std::size_t>(c)] = kWordPart | kDigit;
  for (char c : {'_', '$', '%', '.'}) {
    table[static_cast<unsigned char>(c)] = kWordStart | kWordPart;
  }
  for (char c : {'{', '}', '"', '/'}) table[static_cast<unsigned char>(c)] = kBraceScan;
  return table;
}
constexpr auto kClass = classes();

bool is(char c, std::uint8_t wanted) {
  return (kClass[static_cast<unsigned char>(c)] & wanted) != 0;
}

// Goes past a comment that begins at `at`; the text's end if it does not close. Returns `at` when
// there is none.
std::size_t past_comment(std::string_view text, std::size_t at) {
  if (text[at] != '/' || at + 1 >= text.size()) return at;
  if (text[at + 1] == '/') return std::min(text.find('\n', at), text.size());
  if (text[at + 1] != '*') return at;
  const std::size_t close = text.find("*/", at + 2);
  return close == std::string_view::npos ? text.size() : close + 2;
}

std::uint32_t newlines(std::string_view text) {
  std::uint32_t count = 0;
  for (std::size_t at = text.find('\n'); at != std::string_view::npos; at = text.find('\n', at + 1))
    ++count;
  return count;
}

}  // namespace

void Lexer::skip_blanks() {
  while (at_ < text_.size()) {
    if (is(text_[at_], kBlank)) {
      if (text_[at_] == '\n') ++line_;
      ++at_;
      continue;
    }
    const std::size_t past = past_comment(text_, at_);
    if (past == at_) return;
    line_ += newlines(text_.substr(at_, past - at_));
    at_ = past;
  }
}

void Lexer::advance() {
  skip_blanks();
  begin_ = at_;
  now_ = Token{};
  now_.line = line_;
  if (at_ >= text_.size()) return;
  const char c = text_[at_];
  if (is(c, kDigit)) {
    lex_number();
  } else if (is(c, kWordStart)) {
    lex_word();
  } else if (c == '"') {
    lex_string();
  } else {
    ++at_;
    now_.kind = Token::Kind::kMark;
    now_.mark = c;
    now_.text = text_.substr(begin_, 1);
  }
}

void Lexer::lex_word() {
  while (at_ < text_.size()) {
    if (is(text_[at_], kWordPart)) {
      ++at_;
    } else if (text_[at_] == ':' && char_at(at_ + 1) == ':' && is(char_at(at_ + 2), kWordPart)) {
      at_ += 2;
    } else {
      break;
    }
  }
  now_.kind = Token::Kind::kWord;
  now_.text = text_.substr(begin_, at_ - begin_);
}

void Lexer::lex_number() {
  std::size_t end = at_;
  while (end < text_.size() && is(text_[end], kWordPart)) ++end;
  // A sign inside is part of a number only after the exponent of a decimal float.
  const char second = char_at(at_ + 1);
  const bool prefixed = text_[at_] == '0' && end > at_ + 1 && std::strchr("xXbBfFdD", second);
  if (!prefixed && (char_at(end) == '-' || char_at(end) == '+') &&
      (text_[end - 1] == 'e' || text_[end - 1] == 'E')) {
    ++end;
    while (end < text_.size() && is(text_[end], kDigit)) ++end;
  }
  std::string_view digits = text_.substr(at_, end - at_);
  now_.text = digits;
  at_ = end;
  if (prefixed && std::strchr("fFdD", second)) return lex_float(digits.size());
  if (!prefixed && digits.find_first_of(".eE") != std::string_view::npos) return lex_float(0);
  if (digits.back() == 'U') digits.remove_suffix(1);
  int base = 10;
  if (prefixed) {
    base = second == 'x' || second == 'X' ? 16 : 2;
    digits.remove_prefix(2);
  } else if (digits.size() > 1 && digits[0] == '0') {
    base = 8;
  }
  const auto [stop, error] =
      std::from_chars(digits.data(), digits.data() + digits.size(), now_.bits, base);
  const bool good = error == std::errc() && stop == digits.data() + digits.size();
  now_.kind = good ? Token::Kind::kInteger : Token::Kind::kBad;
}

// prefixed_size: length of a 0f… or 0d… number, 0 for a decimal one.
void Lexer::lex_float(std::size_t prefixed_size) {
  const char* first = now_.text.data();
  const char* last = first + now_.text.size();
  now_.kind = Token::Kind::kBad;
  now_.float_bytes = 8;
  if (prefixed_size == 0) {
    double value = 0;
    const auto [stop, error] = std::from_chars(first, last, value);
    if (error != std::errc() || stop != last) return;
    std::memcpy(&now_.bits, &value, sizeof value);
  } else {
    if (first[1] == 'f' || first[1] == 'F') now_.float_bytes = 4;
    if (prefixed_size != 2 + 2 * std::size_t{now_.float_bytes}) return;
    const auto [stop, error] = std::from_chars(first + 2, last, now_.bits, 16);
    if (error != std::errc() || stop != last) return;
  }
  now_.kind = Token::Kind::kFloat;
}

void Lexer::lex_string() {
  const std::size_t close = text_.find_first_of("\"\n", at_ + 1);
  if (close == std::string_view::npos || text_[close] == '\n') {
    now_.kind = Token::Kind::kBad;
    now_.text = "unclosed string";
    at_ = std::min(close, text_.size());
    return;
  }
  now_.kind = Token::Kind::kString;
  now_.text = text_.substr(at_ + 1, close - at_ - 1);
  at_ = close + 1;
}

bool Lexer::take(char mark) {
  if (!at(mark)) return false;
  advance();
  return true;
}

bool Lexer::take_word(std::string_view word) {
  if (!at_word(word)) return false;
  advance();
  return true;
}

Status Lexer::expect(char mark) {
  if (take(mark)) return {};
  return fail(std::string("'") + mark + "'");
}

Result<std::string_view> Lexer::expect_name() {
  if (now_.kind != Token::Kind::kWord || now_.text[0] == '.') return fail("a name");
  return take().text;
}

Result<std::uint64_t> Lexer::expect_integer() {
  const bool negative = take('-');
  if (now_.kind != Token::Kind::kInteger) return fail("an integer");
  const std::uint64_t bits = take().bits;
  return negative ? std::uint64_t{0} - bits : bits;
}

Result<std::uint32_t> Lexer::expect_u32() {
  if (now_.kind != Token::Kind::kInteger || now_.bits > UINT32_MAX) return fail("a 32-bit number");
  return static_cast<std::uint32_t>(take().bits);
}

void Lexer::skip_line(std::uint32_t line) {
  if (now_.line != line || at_end()) return;
  const std::size_t end = std::min(text_.find('\n', begin_), text_.size());
  at_ = end;
  line_ = line;
  advance();
}

Result<std::string_view> Lexer::skip_braces() {
  if (!at('{')) return fail("'{'");
  const std::uint32_t opened = now_.line;
  std::size_t depth = 1;
  std::size_t at = begin_ + 1;
  while (at < text_.size()) {
    if (!is(text_[at], kBraceScan)) {
      ++at;
    } else if (text_[at] == '"') {
      at = text_.find_first_of("\"\n", at + 1);
      if (at == std::string_view::npos) break;
      ++at;
    } else if (text_[at] == '/') {
      at = std::max(past_comment(text_, at), at + 1);
    } else if (text_[at++] == '{') {
      ++depth;
    } else if (--depth == 0) {
      const std::string_view inside = text_.substr(begin_ + 1, at - begin_ - 2);
      line_ += newlines(inside);
      at_ = at;
      advance();
      return inside;
    }
  }
  return fail_at(opened, "'{' without its '}'");
}

Status Lexer::fail(std::string_view expected) const {
  std::string found = "the end";
  if (!at_end()) found = "'" + std::string(now_.text.substr(0, 64)) + "'";
  return fail_at(now_.line, "expected " + std::string(expected) + ", found " + found);
}

Status Lexer::fail_at(std::uint32_t line, std::string_view what) const {
  return {Code::kMalformed, "PTX line " + std::to_string(line) + ": " + std::string(what)};
}

}  // namespace farcall::softgpu::ptx
