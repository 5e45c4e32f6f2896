// Words, numbers, strings and marks of PTX, one at a time.
//
//   Lexer in(text, 1);
//   if (in.take_word(".reg")) …
//   FARCALL_TRY(in.expect(';'));
//
// A word is an identifier, a directive with its dot (".reg"), or an opcode with its modifiers
// ("ld.shared::cta.u32"): a dot or a double colon inside does not end it.
// Owner: borrows the text; tokens point into it.  Threads: one.  Never allocates but for errors.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>

#include "transport/base/status.h"

namespace farcall::softgpu::ptx {

struct Token {
  enum class Kind : std::uint8_t { kEnd, kWord, kInteger, kFloat, kString, kMark, kBad };
  Kind kind = Kind::kEnd;
  char mark = 0;                 // kMark: the character
  std::uint8_t float_bytes = 0;  // kFloat: 4 for 0f…, 8 otherwise
  std::uint32_t line = 0;
  std::uint64_t bits = 0;  // kInteger, kFloat
  std::string_view text;   // as written; a string without its quotes
};

class Lexer {
 public:
  // `line` is the number of the text's first line.
  Lexer(std::string_view text, std::uint32_t line) : text_(text), line_(line) { advance(); }

  const Token& peek() const { return now_; }
  Token take() {
    Token taken = now_;
    advance();
    return taken;
  }
  bool at_end() const { return now_.kind == Token::Kind::kEnd; }
  bool at(char mark) const { return now_.kind == Token::Kind::kMark && now_.mark == mark; }
  bool at_word(std::string_view word) const {
    return now_.kind == Token::Kind::kWord && now_.text == word;
  }
  // Is the next token a directive (a word that begins with a dot)?
  bool at_directive() const { return now_.kind == Token::Kind::kWord && now_.text[0] == '.'; }
  bool take(char mark);
  bool take_word(std::string_view word);

  Status expect(char mark);
  Result<std::string_view> expect_name();  // a word that is no directive
  Result<std::uint64_t> expect_integer();  // "-3" too, in two's complement
  Result<std::uint32_t> expect_u32();      // not negative, fits

  // Drops what is left of the current line, the next token included if it stands on it.
  void skip_line(std::uint32_t line);
  // With '{' next: goes past its '}' and returns what is between them, comments and strings
  // understood. Errors: kMalformed when it does not close.
  Result<std::string_view> skip_braces();

  // "line 12: expected ';', found 'foo'"
  Status fail(std::string_view expected) const;
  Status fail_at(std::uint32_t line, std::string_view what) const;

 private:
  void advance();
  void skip_blanks();
  void lex_word();
  void lex_number();
  void lex_float(std::size_t prefixed_size);
  void lex_string();
  char char_at(std::size_t index) const { return index < text_.size() ? text_[index] : '\0'; }

  std::string_view text_;
  std::size_t at_ = 0;     // first character after now_
  std::size_t begin_ = 0;  // first character of now_
  std::uint32_t line_;
  Token now_;
};

}  // namespace farcall::softgpu::ptx
