// Reads a log's files line by line, whatever stands in them.
//
//   Result<AuditLines> lines = AuditLines::open(path);
//   while (lines->next()) { lines->text(); lines->offset(); }
//   FARCALL_TRY(lines->status());
//
// Memory: one line's, however long a file's lines are.
// Owner: the caller.  Threads: one.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>

#include "transport/base/function_ref.h"
#include "transport/base/limits_audit.h"
#include "transport/base/status.h"
#include "transport/base/unique.h"

namespace farcall::security {

class AuditLines {
 public:
  // Errors: kNotFound, kDenied, kSystem.
  static Result<AuditLines> open(const std::string& path);
  // From a byte on that a line begins at; number() counts from there.
  static Result<AuditLines> open_at(const std::string& path, std::uint64_t offset);

  // False at the end, and when reading failed: status().
  bool next();
  // The line without its line feed, until the next next(); of one that is longer than
  // kAuditLineBytesMax as much as that.
  std::string_view text() const { return line_; }
  std::uint64_t offset() const { return offset_; }        // of its first byte
  std::uint64_t end_offset() const { return consumed_; }  // behind its line feed
  std::uint64_t number() const { return number_; }        // 1 … in this file
  bool is_whole() const { return whole_; }                // it ends in a line feed
  Status status() const { return status_; }

 private:
  AuditLines(Fd file, std::string path) : file_(std::move(file)), path_(std::move(path)) {}
  bool fill();
  Fd file_;
  std::string path_;
  std::string buffer_;
  std::size_t at_ = 0;  // of the next byte in the buffer
  std::string line_;
  std::uint64_t offset_ = 0;
  std::uint64_t consumed_ = 0;
  std::uint64_t number_ = 0;
  bool whole_ = false;
  Status status_;
};

}  // namespace farcall::security
