// WatchedThread: a thread that a test can see going to sleep.
//
//   WatchedThread reader([&] { read = lane.wait(Deadline::never()); });
//   reader.await_sleep();   // now a wake-up is really needed
//   lane.close();
//   reader.join();
//
// A test of a wake-up that does not wait for the sleep mostly tests a thread that has not begun
// yet. Owner: one test, which joins it.  Threads: one.
#pragma once
#include <doctest/doctest.h>
#include <poll.h>
#include <unistd.h>

#include <fstream>
#include <future>
#include <string>
#include <thread>
#include <utility>

namespace farcall {

class WatchedThread {
 public:
  template <class Body>
  explicit WatchedThread(Body body)
      : thread_([this, body = std::move(body)]() mutable {
          tid_.set_value(::gettid());
          body();
        }) {}
  WatchedThread(const WatchedThread&) = delete;
  WatchedThread& operator=(const WatchedThread&) = delete;

  // Returns once the kernel has the thread asleep at several looks in a row, so that it is no lock
  // it passes through; fails the test after ten seconds.
  void await_sleep() {
    const pid_t tid = tid_.get_future().get();
    int in_a_row = 0;
    for (int look = 0; look < 10'000 && in_a_row < 3; ++look) {
      in_a_row = state_of(tid) == 'S' ? in_a_row + 1 : 0;
      ::poll(nullptr, 0, 1);
    }
    CHECK_MESSAGE(in_a_row == 3, "the thread never slept");
  }
  void join() { thread_.join(); }

 private:
  // 'R' running, 'S' asleep, … (proc(5)); 0 when it has gone.
  static char state_of(pid_t tid) {
    std::ifstream file("/proc/self/task/" + std::to_string(tid) + "/stat");
    std::string line;
    std::getline(file, line);
    const std::size_t name_end = line.rfind(')');
    return name_end + 2 < line.size() ? line[name_end + 2] : '\0';
  }

  std::promise<pid_t> tid_;  // outlives thread_'s start
  std::thread thread_;
};

}  // namespace farcall
