#include "client_shim/copy.h"

#include <cstring>

#include "client_shim/entry.h"
#include "transport/api/hand.h"
#include "transport/api/rows.h"

namespace farcall::shim {
namespace row = api::row;

CUresult judge_device(Client& client, std::uint64_t address, std::uint64_t bytes, bool* known) {
  auto found = client.allocations().find_device(address);
  *known = found && found->holds(address, bytes);
  if (!found || *known) return CUDA_SUCCESS;
  // Mappings of virtual memory (variables of nobody) may lie side by side and count as one.
  bool is_mapped = found->memory == Memory::kGlobal && found->owner == 0;
  return is_mapped ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

namespace {

CUresult judge(Client& client, const LinearCopy& copy, bool* known) {
  if (copy.host == nullptr || copy.device == 0) return CUDA_ERROR_INVALID_VALUE;
  return judge_device(client, copy.device, copy.bytes, known);
}

}  // namespace

CUresult take_payload(Reply& reply, void* to, std::size_t bytes) {
  if (reply.in.get<std::uint64_t>() != bytes) {
    reply.in.fail();
    return kLinkLost;
  }
  if (reply.bulk) {
    Status read = reply.session.bulk_read({static_cast<std::byte*>(to), bytes});
    if (read.ok()) return CUDA_SUCCESS;
    // The server called the payload off: its driver failed half-way. The session lives on.
    if (read.code() == Code::kDriver) return static_cast<CUresult>(read.detail());
    reply.in.fail();
    return kLinkLost;
  }
  auto inline_bytes = reply.in.bytes(bytes);
  if (!inline_bytes.empty()) std::memcpy(to, inline_bytes.data(), inline_bytes.size());
  return CUDA_SUCCESS;
}

CUresult copy_to_device(Client& client, const LinearCopy& copy) {
  if (copy.bytes == 0) return CUDA_SUCCESS;
  bool known = false;
  if (CUresult bad = judge(client, copy, &known); bad != CUDA_SUCCESS) return bad;
  const api::RowInfo& info =
      copy.is_async ? row::cuMemcpyHtoDAsync_v2::info() : row::cuMemcpyHtoD_v2::info();
  bool is_inline = copy.bytes <= limits::kInlineCopyBytesMax;
  auto encode = [&](wire::Writer& out) {
    out.put(api::hand::CopyToDevice{copy.bytes, copy.device, id_of(copy.stream)});
    if (is_inline) out.bytes(copy.host, copy.bytes);
  };
  std::span payload(static_cast<const std::byte*>(copy.host), copy.bytes);
  if (is_inline) client.stats().moved(copy.bytes, 0);
  if (known) {
    return is_inline ? client.post(info, encode) : client.post_payload(info, encode, payload);
  }
  // An address the session did not hand out: let the driver judge it before the program goes on.
  auto take = [](Reply& reply) { return reply.status; };
  return is_inline ? client.ask(info, encode, take)
                   : client.ask_payload(info, encode, payload, take);
}

CUresult copy_from_device(Client& client, const LinearCopy& copy) {
  if (copy.bytes == 0) return CUDA_SUCCESS;
  bool known = false;
  if (CUresult bad = judge(client, copy, &known); bad != CUDA_SUCCESS) return bad;
  const api::RowInfo& info =
      copy.is_async ? row::cuMemcpyDtoHAsync_v2::info() : row::cuMemcpyDtoH_v2::info();
  auto encode = [&](wire::Writer& out) {
    out.put(api::hand::CopyFromDevice{copy.device, copy.bytes, id_of(copy.stream)});
  };
  auto take = [&](Reply& reply) {
    if (reply.status != CUDA_SUCCESS) return reply.status;
    return take_payload(reply, copy.host, copy.bytes);
  };
  client.stats().moved(0, copy.bytes);
  return client.ask(info, encode, take);
}

}  // namespace farcall::shim
