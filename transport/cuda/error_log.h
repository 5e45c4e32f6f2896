// The error log of a driver: what cuLogsDumpToMemory gives out and cuLogsRegisterCallback listens
// to.
//
//   error_log().note(CU_LOG_LEVEL_ERROR, "cuGraphicsMapResources is refused: …");
//   CUresult done = error_log().dump(&iterator, buffer, &bytes, 0);
//
// A ring of lines, the newest limits::kErrorLogBytesMax bytes of them. An iterator is the number of
// a line; one whose line is gone starts at the oldest that is left, behind a line that says so.
// Owner: the process; never destroyed, because cudart calls drivers from atexit.  Threads: any.
// Callbacks run on the thread that notes, without a lock held. Never holds tenant data: only names
// of functions and errors.
// Source: CUDA Driver API 13.0, Error Log Management Functions.
#pragma once
#include <cstdint>
#include <deque>
#include <string>
#include <string_view>

#include "transport/cuda/callbacks.h"

namespace farcall::cuda {

class ErrorLog {
 public:
  // Enters a line of at most limits::kErrorLogLineBytesMax bytes; the rest is cut off.
  void note(CUlogLevel level, std::string_view text);

  // The number of the line that comes next.
  CUlogIterator current();
  // Lines from *iterator (null: all) into `buffer`, as many of the newest as there is room for, and
  // a NUL; *iterator then stands behind them.
  //   size  room before the call, bytes without the NUL after it
  // Errors: CUDA_ERROR_INVALID_VALUE (null buffer or size, flags, no room for one line).
  CUresult dump(CUlogIterator* iterator, char* buffer, std::size_t* size, unsigned flags);
  // The same into a file, which is created or emptied.
  // Errors: CUDA_ERROR_INVALID_VALUE (null path, flags, a file that cannot be written).
  CUresult dump(CUlogIterator* iterator, const char* path, unsigned flags);

  Callbacks<CUlogsCallback, CUlogsCallbackHandle>& callbacks() { return callbacks_; }

 private:
  struct State {
    std::deque<std::string> lines;
    CUlogIterator first = 0;  // number of lines.front()
    std::size_t bytes = 0;
  };
  // Everything from *iterator on, at most `room` bytes of it.
  bool collect(CUlogIterator* iterator, std::size_t room, std::string* text);

  Guarded<State> state_;
  Callbacks<CUlogsCallback, CUlogsCallbackHandle> callbacks_;
};

ErrorLog& error_log();

}  // namespace farcall::cuda
