// How it works: the input is what a hostile client does in an open session, frames back to back:
// FrameHeader, body, and for kBulkFollows a payload of zeros as long as the body's first word says.
// They go through a real link to a real executor with the software GPU behind it, hand-written rows
// and all. Whatever they are, the session ends by itself or is still able to answer.
// A client cannot guess the server's ids, and a fuzzer neither: a u64 of a body (at any fourth
// byte) that is kAnswer + N stands for the first u64 of the session's Nth answer.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <thread>
#include <vector>

#include "gpu_server/executor.h"
#include "gpu_server/software_gpu/symbol_table.h"
#include "transport/api/hand.h"
#include "transport/api/rows.h"
#include "transport/link/session.h"
#include "transport/wire/reader.h"

using namespace farcall;

namespace {

namespace row = api::row;

constexpr std::uint64_t kAnswer = 0x1d1d1d1d'00000000;
constexpr std::uint64_t kPayloadBytesMax = 1 << 20;
constexpr std::int64_t kPatienceMs = 200;

void require(bool holds) {
  if (!holds) std::abort();
}

const api::Driver& driver() {
  static const api::Driver loaded = [] {
    ::setenv("FARCALL_SOFTGPU_MEMORY", "16M", 1);
    ::setenv("FARCALL_SOFTGPU_THREADS", "1", 1);
    api::Driver made;
    api::load_driver(made, [](const char* name) { return softgpu::find_symbol(name); });
    // A stream that waits for what nobody writes waits for ever, as it should.
    made.cuStreamWaitValue32_v2 = nullptr;
    made.cuStreamWaitValue64_v2 = nullptr;
    made.cuStreamBatchMemOp_v2 = nullptr;
    made.cuGraphAddBatchMemOpNode = nullptr;
    made.cuGraphBatchMemOpNodeSetParams = nullptr;
    made.cuGraphExecBatchMemOpNodeSetParams = nullptr;
    return made;
  }();
  return loaded;
}

class Client {
 public:
  explicit Client(link::Session& session) : session_(session) {}

  void send(wire::FrameHeader head, std::vector<std::byte> body) {
    for (std::size_t at = 0; at + 8 <= body.size(); at += 4) {
      std::uint64_t word = 0;
      std::memcpy(&word, &body[at], sizeof word);
      const std::uint64_t number = word - kAnswer;
      if (number < answers_.size()) std::memcpy(&body[at], &answers_[number], sizeof word);
    }
    head.call = 0;
    auto encode = [&](wire::Writer& out) { out.bytes(body.data(), body.size()); };
    if ((head.flags & wire::kBulkFollows) == 0) {
      (void)session_.post(head, link::Flush::kNow, encode);
    } else {
      wire::Reader in(body);
      const auto bytes = in.get<std::uint64_t>();
      if (bytes > kPayloadBytesMax) return;
      (void)session_.post_bulk(head, encode, std::vector<std::byte>(bytes));
    }
    const bool answers = (head.flags & wire::kWantsReply) != 0;
    if (answers && head.id != row::await_host_function::info().id) (void)receive();
  }
  // False: the session is over, or nothing came.
  bool receive() {
    for (;;) {
      auto frame = session_.receive(Deadline::after(system_clock(), kPatienceMs));
      if (!frame.ok()) return false;
      wire::Reader in(frame->body);
      const auto status = in.get<std::uint32_t>();
      if (frame->head.call == 0) continue;  // a notice
      if (frame->head.id == row::cuInit::info().id) (void)in.get<api::hand::OpenReply>();
      if (status == 0 && in.left() >= 8) answers_.push_back(in.get<std::uint64_t>());
      return true;
    }
  }

 private:
  link::Session& session_;
  std::vector<std::uint64_t> answers_;
};

template <class T>
std::vector<std::byte> bytes_of(const T& value) {
  const auto bytes = std::as_bytes(std::span(&value, 1));
  return {bytes.begin(), bytes.end()};
}

// Opens the session and makes the first device's context current for thread 1.
void open(Client& client) {
  const wire::FrameHeader init{
      .id = row::cuInit::info().id, .flags = wire::kWantsReply, .thread = 1};
  client.send(init, bytes_of(api::hand::OpenRequest{api::hand::kOpenVersion, 0}));
  client.send({.id = row::bind_context::info().id, .thread = 1}, bytes_of(kAnswer));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  auto pair = link::make_loopback_session_pair();
  require(pair.ok());
  server::Executor executor(driver(), *pair->server);
  std::thread serving([&] { (void)executor.run(); });
  Client client(*pair->client);
  open(client);
  wire::Reader frames(std::as_bytes(std::span(data, size)));
  while (frames.left() != 0 && pair->client->closed().ok()) {
    auto head = frames.get<wire::FrameHeader>();
    if (frames.failed() || !wire::is_valid(head)) break;
    auto body = frames.bytes(head.body_bytes);
    if (frames.failed()) break;
    client.send(head, {body.begin(), body.end()});
  }
  pair->client->close(Status(Code::kClosed, "the input is over"));
  serving.join();
  return 0;
}
