#include "tests/transport/api/table_loop.h"

namespace farcall::api {
namespace {

TableLoop* g_current = nullptr;

// The request in a vector of its exact size, so that a sanitizer sees every read past it.
std::vector<std::byte> encoded(Encode encode, bool* fits) {
  std::vector<std::byte> room(limits::kFrameBodyBytesMax);
  wire::Writer out(room);
  encode(out);
  *fits = out.ok();
  return {room.begin(), room.begin() + static_cast<std::ptrdiff_t>(out.size())};
}

// No number of a device is the same on both sides, so what is not translated shows.
int other_number(int device) noexcept { return device ^ 0x100; }

}  // namespace

TableLoop::TableLoop() : arguments_(limits::kScratchBytes), outer_(g_current) {
  g_current = this;
  set_device_numbers(other_number, other_number);
}
TableLoop::~TableLoop() { g_current = outer_; }
TableLoop& TableLoop::current() { return *g_current; }

Verdict TableLoop::serve(std::uint16_t id, std::span<const std::byte> body) {
  std::vector<std::byte> room(limits::kFrameBodyBytesMax);
  wire::Reader in(body);
  wire::Writer out(room);
  Scratch scratch(arguments_);
  ServerCall call{driver, handles, scratch, in, out};
  verdict = find_row(id)->run(call);
  reply.assign(out.view().begin(), out.view().end());
  return verdict;
}

CUresult TableLoop::reply_status() const {
  return static_cast<CUresult>(wire::Reader(reply).get<std::uint32_t>());
}

CUresult caller_ask(const RowInfo& row, Encode encode, Take take) noexcept {
  TableLoop& loop = TableLoop::current();
  bool fits = false;
  loop.last_request = encoded(encode, &fits);
  if (!fits) return CUDA_ERROR_NOT_SUPPORTED;
  ++loop.requests;
  if (loop.serve(row.id, loop.last_request) != Verdict::kAnswered) return CUDA_ERROR_UNKNOWN;
  CUresult status = CUDA_SUCCESS;
  read_reply(loop.reply, take, &status);
  return status;
}

CUresult caller_post(const RowInfo& row, Encode encode) noexcept {
  TableLoop& loop = TableLoop::current();
  bool fits = false;
  loop.last_request = encoded(encode, &fits);
  if (!fits) return CUDA_ERROR_NOT_SUPPORTED;
  ++loop.requests;
  bool answered = loop.serve(row.id, loop.last_request) == Verdict::kAnswered;
  loop.deferred = answered ? loop.reply_status() : CUDA_ERROR_UNKNOWN;
  return CUDA_SUCCESS;
}

CUresult caller_cached(const RowInfo& row, Encode encode, Take take) noexcept {
  TableLoop& loop = TableLoop::current();
  if (!loop.use_cache) return caller_ask(row, encode, take);
  ReplyCache::Key key(row, encode);
  if (auto status = loop.cache.find(key, take)) return *status;
  CUresult status = caller_ask(row, encode, take);
  loop.cache.keep(key, loop.reply);
  return status;
}

std::uint64_t mint_id() noexcept {
  static std::uint64_t last = 0x7000;
  return ++last;
}

const char* keep_name(std::span<const std::byte> text) noexcept {
  return TableLoop::current()
      .names.emplace(reinterpret_cast<const char*>(text.data()), text.size())
      .first->c_str();
}

}  // namespace farcall::api
