#include "gpu_server/printed_output.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cstdio>

#include "transport/api/hand.h"
#include "transport/api/rows.h"
#include "transport/base/limits.h"

namespace farcall::server {

PrintedOutput::PrintedOutput(link::Session& session, std::uint32_t stream)
    : session_(session), stream_(stream) {}

Result<std::unique_ptr<PrintedOutput>> PrintedOutput::capture(int descriptor,
                                                              link::Session& session) {
  std::unique_ptr<PrintedOutput> output(
      new PrintedOutput(session, descriptor == STDERR_FILENO ? 2 : 1));
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return Status::system("make a pipe for printed output");
  output->pipe_ = Fd(ends[0]);
  Fd writing(ends[1]);
  output->stop_ = Fd(::eventfd(0, EFD_CLOEXEC));
  if (!output->stop_) return Status::system("make an eventfd");
  int flags = ::fcntl(output->pipe_.get(), F_GETFL);
  if (flags < 0 || ::fcntl(output->pipe_.get(), F_SETFL, flags | O_NONBLOCK) != 0) {
    return Status::system("prepare the pipe for printed output");
  }
  auto room = SecureBuffer::make(limits::kInlineCopyBytesMax);
  if (!room.ok()) return room.status();
  output->room_ = std::move(room).value();
  if (::dup2(writing.get(), descriptor) < 0) return Status::system("redirect printed output");
  output->thread_ = std::thread([raw = output.get()] { raw->serve(); });
  return output;
}

PrintedOutput::~PrintedOutput() {
  std::uint64_t one = 1;
  if (stop_) (void)!::write(stop_.get(), &one, sizeof one);
  if (thread_.joinable()) thread_.join();
}

void PrintedOutput::serve() {
  for (;;) {
    pollfd wait[] = {{.fd = pipe_.get(), .events = POLLIN, .revents = 0},
                     {.fd = stop_.get(), .events = POLLIN, .revents = 0}};
    if (::poll(wait, 2, -1) < 0 && errno != EINTR) return;
    if (wait[1].revents != 0 || (wait[0].revents & (POLLHUP | POLLERR)) != 0) return;
    if (wait[0].revents != 0) drain();
  }
}

void PrintedOutput::forward() {
  std::fflush(stream_ == 2 ? stderr : stdout);  // before the lock: it waits when the pipe is full
  drain();
}

void PrintedOutput::drain() {
  std::lock_guard lock(reading_);
  for (;;) {
    ssize_t got = ::read(pipe_.get(), room_.data(), room_.size());
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return;
    auto bytes = static_cast<std::uint32_t>(got);
    auto encode = [&](wire::Writer& out) {
      out.put(api::hand::DeviceOutput{.stream = stream_, .bytes = bytes});
      out.bytes(room_.data(), bytes);
    };
    wire::FrameHeader head{.id = api::row::device_output::info().id, .flags = wire::kReply};
    (void)session_.post(head, link::Flush::kNow, encode);  // a closed link wants no output
  }
}

}  // namespace farcall::server
