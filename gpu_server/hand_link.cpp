// Linking at run time: cuLinkCreate … cuLinkDestroy. Bodies: transport/api/hand.h.
#include <cstring>

#include "gpu_server/ledger.h"
#include "gpu_server/links.h"
#include "gpu_server/payload.h"
#include "gpu_server/rows.h"
#include "transport/api/hand.h"
#include "transport/api/load.h"
#include "transport/api/rows.h"

namespace farcall::server {
namespace {

namespace hand = api::hand;
namespace row = api::row;

// Behind an input: an ELF header's worth, as behind a file the client has read.
constexpr std::size_t kZerosBehind = 64;

enum class Logs { kKept, kLeftOut };

// False: malformed.
bool read_options(Call& call, std::uint32_t count, Logs logs, JitOptions& options) {
  if (count > hand::kLoadOptionsMax) return false;
  for (std::uint32_t i = 0; i < count; ++i) {
    auto each = call.in.get<hand::LoadOption>();
    const auto name = static_cast<CUjit_option>(each.option);
    const bool is_log =
        name == CU_JIT_INFO_LOG_BUFFER_SIZE_BYTES || name == CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES;
    if (!is_log || logs == Logs::kKept) options.add(name, each.value);
  }
  return !call.in.failed();
}

void put_logs(wire::Writer& out, JitOptions& options) {
  options.finish();
  for (std::span<const char> log : {options.info_log(), options.error_log()}) {
    out.put(static_cast<std::uint32_t>(log.size()));
    out.bytes(log.data(), log.size());
  }
}

Verdict answer(Call& call, CUresult status, std::uint64_t id, JitOptions& options) {
  call.out.put(static_cast<std::uint32_t>(status));
  call.out.put(hand::LinkAnswer{id});
  put_logs(call.out, options);
  return Verdict::kAnswered;
}

Verdict create(Call& call) {
  auto head = call.in.get<hand::CreateLink>();
  auto options = std::make_shared<JitOptions>();
  if (!read_options(call, head.option_count, Logs::kKept, *options) || !call.in.done() ||
      head.zero != 0) {
    return Verdict::kMalformed;
  }
  if (options->refused()) return answer(call, CUDA_ERROR_INVALID_VALUE, 0, *options);
  if (!call.driver.cuLinkCreate_v2) return answer(call, CUDA_ERROR_NOT_SUPPORTED, 0, *options);
  const bool has_room =
      call.links.make_room([&](std::uint64_t id) { return call.knows(Kind::kLinkState, id); });
  if (!has_room) return answer(call, CUDA_ERROR_OUT_OF_MEMORY, 0, *options);
  CUlinkState state = nullptr;
  CUresult done =
      call.driver.cuLinkCreate_v2(options->count(), options->names(), options->values(), &state);
  if (done != CUDA_SUCCESS) return answer(call, done, 0, *options);
  std::uint64_t id = call.handles.add(Kind::kLinkState, state, 0);
  if (id == 0) {
    if (call.driver.cuLinkDestroy != nullptr) (void)call.driver.cuLinkDestroy(state);
    return answer(call, CUDA_ERROR_OUT_OF_MEMORY, 0, *options);
  }
  call.links.add(id, options);
  return answer(call, CUDA_SUCCESS, id, *options);
}

// The link that a call names: the driver's, and what we keep for it.
struct Named {
  CUlinkState state = nullptr;
  Links::Options options;
  CUresult refused = CUDA_SUCCESS;
};
Named find(Call& call, std::uint64_t id) {
  Named named;
  named.state = static_cast<CUlinkState>(call.handles.find(Kind::kLinkState, id));
  named.options = call.links.find(id);
  if (named.state == nullptr || named.options == nullptr) {
    named.refused = CUDA_ERROR_INVALID_HANDLE;
    named.options = std::make_shared<JitOptions>();
  }
  return named;
}

Verdict add_input(Call& call) {
  auto head = call.in.get<hand::AddLinkInput>();
  JitOptions own;
  // A driver may write an input's log as late as in cuLinkComplete, and `own` ends with this call.
  if (!read_options(call, head.option_count, Logs::kLeftOut, own) || head.zero != 0) {
    return Verdict::kMalformed;
  }
  char* name = nullptr;
  if (head.name_bytes != hand::kNoLinkName) {
    if (head.name_bytes > limits::kStringBytesMax) return Verdict::kMalformed;
    auto text = call.in.bytes(head.name_bytes);
    name = static_cast<char*>(call.scratch.take(text.size() + 1));
    if (name == nullptr) return Verdict::kMalformed;
    if (!text.empty()) std::memcpy(name, text.data(), text.size());
  }
  if (!call.in.done() || (call.head.flags & wire::kBulkFollows) == 0) return Verdict::kMalformed;
  Named link = find(call, head.link);
  if (own.refused()) link.refused = CUDA_ERROR_INVALID_VALUE;
  if (call.driver.cuLinkAddData_v2 == nullptr) link.refused = CUDA_ERROR_NOT_SUPPORTED;
  if (link.refused != CUDA_SUCCESS) return answer(call, link.refused, 0, *link.options);
  auto bytes = call.bulk.left();
  const bool fits = call.ledger == nullptr || call.ledger->has_room({Account::kImages}, bytes);
  if (!fits) {
    call.ledger->count_refusal();
    return answer(call, CUDA_ERROR_OUT_OF_MEMORY, 0, *link.options);
  }
  Result<SecureBuffer> input = receive_payload(call.bulk, kZerosBehind, nullptr);
  if (!input.ok()) return answer(call, CUDA_ERROR_OUT_OF_MEMORY, 0, *link.options);
  CUresult done = call.driver.cuLinkAddData_v2(
      link.state, static_cast<CUjitInputType>(head.type), input.value().data(),
      static_cast<std::size_t>(bytes), name, own.count(), own.names(), own.values());
  return answer(call, done, 0, *link.options);
}

Verdict complete(Call& call) {
  auto head = call.in.get<hand::CompleteLink>();
  if (!call.in.done()) return Verdict::kMalformed;
  Named link = find(call, head.link);
  if (call.driver.cuLinkComplete == nullptr) link.refused = CUDA_ERROR_NOT_SUPPORTED;
  if (link.refused != CUDA_SUCCESS) return answer(call, link.refused, 0, *link.options);
  void* image = nullptr;
  std::size_t bytes = 0;
  CUresult done = call.driver.cuLinkComplete(link.state, &image, &bytes);
  if (done != CUDA_SUCCESS) return answer(call, done, 0, *link.options);
  if (image == nullptr || bytes == 0 || bytes > limits::kModuleBytesMax) {
    return answer(call, CUDA_ERROR_INVALID_IMAGE, 0, *link.options);
  }
  auto encode = [&](wire::Writer& out) {
    out.put(static_cast<std::uint32_t>(CUDA_SUCCESS));
    out.put(std::uint64_t{bytes});
    put_logs(out, *link.options);
  };
  call.before_answer(bytes);
  (void)call.link.post_bulk(call.reply_head(), encode, {static_cast<std::byte*>(image), bytes});
  return Verdict::kSent;
}

Verdict destroy(Call& call) {
  wire::Reader peek = call.in;
  auto id = peek.get<std::uint64_t>();
  Verdict verdict = api::find_row(call.head.id)->run(call) == api::Verdict::kMalformed
                        ? Verdict::kMalformed
                        : Verdict::kAnswered;
  // The driver's last words may have gone into the buffers until now.
  if (!call.knows(Kind::kLinkState, id)) call.links.drop(id);
  return verdict;
}

}  // namespace

std::span<const HandRow> hand_link_rows() {
  // Linking compiles: nobody else's calls wait for that.
  static const HandRow rows[] = {
      {row::cuLinkCreate_v2::info(), create},
      {waiting(row::cuLinkAddData_v2::info()), add_input, true},
      {waiting(row::cuLinkComplete::info()), complete},
      {row::cuLinkDestroy::info(), destroy},
  };
  return rows;
}

}  // namespace farcall::server
