#include "gpu_server/printed_output.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <iterator>
#include <utility>

#include "gpu_server/wiped_end.h"
#include "transport/api/hand.h"
#include "transport/api/rows.h"
#include "transport/base/limits.h"

namespace farcall::server {
namespace {

constexpr std::size_t kPieceBytes = limits::kInlineCopyBytesMax;

}  // namespace

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
  if (::fcntl(writing.get(), F_SETPIPE_SZ, ::sysconf(_SC_PAGESIZE)) < 0) {
    return Status::system("make the pipe for printed output small");
  }
  output->stop_ = Fd(::eventfd(0, EFD_CLOEXEC));
  if (!output->stop_) return Status::system("make an eventfd");
  int flags = ::fcntl(output->pipe_.get(), F_GETFL);
  if (flags < 0 || ::fcntl(output->pipe_.get(), F_SETFL, flags | O_NONBLOCK) != 0) {
    return Status::system("prepare the pipe for printed output");
  }
  for (auto [buffer, bytes] :
       {std::pair(&output->memory_, limits::kPrintedBytesMax),
        std::pair(&output->piece_in_, kPieceBytes), std::pair(&output->piece_out_, kPieceBytes)}) {
    auto made = SecureBuffer::make(bytes);
    if (!made.ok()) return made.status();
    *buffer = std::move(made).value();
  }
  if (::dup2(writing.get(), descriptor) < 0) return Status::system("redirect printed output");
  Fd reading(::fcntl(output->pipe_.get(), F_DUPFD_CLOEXEC, 0));
  if (!reading) return Status::system("keep the pipe for printed output");
  FARCALL_TRY(overwrite_pipe_at_end(std::move(reading), std::move(writing)));
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
    if (wait[0].revents != 0) gather();
  }
}

void PrintedOutput::gather() {
  std::lock_guard lock(gathering_);
  for (;;) {
    ssize_t got = ::read(pipe_.get(), piece_in_.data(), piece_in_.size());
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return;
    put(piece_in_.bytes().first(static_cast<std::size_t>(got)));
  }
}

// With gathering_ held.
void PrintedOutput::put(std::span<const std::byte> bytes) {
  for (std::byte byte : bytes) {
    memory_.data()[(ring_.begin + ring_.used) % memory_.size()] = byte;
    if (ring_.used < memory_.size()) {
      ++ring_.used;
    } else {
      ring_.begin = (ring_.begin + 1) % memory_.size();
    }
  }
}

std::size_t PrintedOutput::take(std::span<std::byte> to) {
  std::lock_guard lock(gathering_);
  std::size_t bytes = std::min(to.size(), ring_.used);
  for (std::size_t i = 0; i < bytes; ++i) {
    to[i] = memory_.data()[(ring_.begin + i) % memory_.size()];
  }
  ring_.begin = (ring_.begin + bytes) % memory_.size();
  ring_.used -= bytes;
  return bytes;
}

bool PrintedOutput::has_gathered() {
  // Whoever is between reading the pipe and filling the ring holds this.
  std::lock_guard lock(gathering_);
  return ring_.used > 0;
}

void PrintedOutput::forward(PrintedOutput& out, PrintedOutput& err) {
  PrintedOutput* const both[] = {&out, &err};
  std::fflush(stdout);
  std::fflush(stderr);
  pollfd pipes[] = {{.fd = out.pipe_.get(), .events = POLLIN, .revents = 0},
                    {.fd = err.pipe_.get(), .events = POLLIN, .revents = 0}};
  const bool looked = ::poll(pipes, std::size(pipes), 0) >= 0;
  for (std::size_t i = 0; i < std::size(both); ++i) {
    if (!looked || pipes[i].revents != 0 || both[i]->has_gathered()) both[i]->forward();
  }
}

void PrintedOutput::forward() {
  std::fflush(stream_ == 2 ? stderr : stdout);  // before any lock: it waits when the pipe is full
  std::lock_guard lock(sending_);
  gather();
  while (std::size_t got = take(piece_out_.bytes())) {
    auto encode = [&](wire::Writer& out) {
      out.put(api::hand::DeviceOutput{.stream = stream_, .bytes = static_cast<std::uint32_t>(got)});
      out.bytes(piece_out_.data(), got);
    };
    wire::FrameHeader head{.id = api::row::device_output::info().id, .flags = wire::kReply};
    // A closed link wants no output.
    if (!session_.post(head, link::Flush::kNow, encode).ok()) return;
  }
}

}  // namespace farcall::server
