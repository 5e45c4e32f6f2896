// Status and Result<T>: how every fallible function in Farcall reports failure.
//
//   Result<Lane> lane = open_lane(address);
//   if (!lane.ok()) return lane.status();
//   use(lane.value());
//
// Owner: plain values, free to copy and move.  Threads: none of their own.
// Never throws, never logs: the function that first detects an error logs it.
#pragma once
#include <cerrno>
#include <cstring>
#include <new>
#include <string>
#include <string_view>
#include <utility>
#include <variant>

namespace farcall {

// Ten causes, because callers branch on a cause and print the text. Add a cause only when a
// caller would act differently on it.
enum class Code : unsigned char {
  kOk = 0,
  kClosed,       // the peer or we ended the link; nothing more will arrive
  kTimeout,      // a deadline passed
  kMalformed,    // a peer sent what the protocol forbids: ends that session
  kDenied,       // identity, lease or policy says no
  kOverQuota,    // a lease or a limit of this build would be exceeded
  kNotFound,     // the thing named does not exist
  kUnsupported,  // known, and refused on purpose
  kBusy,         // try again later
  kSystem,       // the operating system said no; detail() is errno
  kDriver,       // a CUDA driver said no; detail() is the CUresult
};

std::string_view code_name(Code code);

class [[nodiscard]] Status {
 public:
  Status() = default;  // ok
  Status(Code code, std::string text, int detail = 0)
      : code_(code), detail_(detail), text_(std::move(text)) {}

  // An error from errno as it stands, e.g. Status::system("connect to gpu1:7717").
  static Status system(std::string_view doing, int error = errno);
  static Status driver(std::string_view doing, int curesult);

  bool ok() const { return code_ == Code::kOk; }
  Code code() const { return code_; }
  int detail() const { return detail_; }  // errno for kSystem, CUresult for kDriver, else 0
  const std::string& text() const { return text_; }
  std::string to_string() const;  // "denied: certificate expired on 2026-01-02"

 private:
  Code code_ = Code::kOk;
  int detail_ = 0;
  std::string text_;
};

inline Status ok() { return {}; }

// Either a T or the Status that says why there is none. value() on an error is a defect and
// aborts (std::get without exceptions would hide it).
template <class T>
class [[nodiscard]] Result {
 public:
  Result(T value) : held_(std::move(value)) {}         // NOLINT: conversion is the point
  Result(Status status) : held_(std::move(status)) {}  // NOLINT
  bool ok() const { return held_.index() == 0; }
  T& value() & { return *require(); }
  const T& value() const& { return *const_cast<Result*>(this)->require(); }
  T&& value() && { return std::move(*require()); }
  T* operator->() { return require(); }
  Status status() const { return ok() ? Status() : std::get<1>(held_); }

 private:
  T* require() {
    if (T* value = std::get_if<0>(&held_)) return value;
    std::abort();
  }
  std::variant<T, Status> held_;
};

}  // namespace farcall

// Returns early with the Status of a failed expression.
#define FARCALL_TRY(expression)                                                  \
  do {                                                                           \
    if (::farcall::Status farcall_status_ = (expression); !farcall_status_.ok()) \
      return farcall_status_;                                                    \
  } while (false)
