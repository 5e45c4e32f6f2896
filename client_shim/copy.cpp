#include "client_shim/copy.h"

#include <algorithm>
#include <cstring>

#include "client_shim/entry.h"
#include "client_shim/graph_copies.h"
#include "transport/api/client_call.h"
#include "transport/api/hand.h"
#include "transport/api/rows.h"
#include "transport/base/limits.h"
#include "transport/base/secure_arena.h"
#include "transport/base/switches.h"

namespace farcall::shim {
namespace row = api::row;

CUresult judge_context(Client& client, CUstream stream) {
  const CUresult bad = client.require_context();
  const bool is_own = id_of(stream) > id_of(CU_STREAM_PER_THREAD);
  return is_own && bad == CUDA_ERROR_INVALID_CONTEXT ? CUDA_SUCCESS : bad;
}

CUresult judge_device(Client& client, std::uint64_t address, std::uint64_t bytes, bool* known) {
  auto found = client.allocations().find_device(address);
  *known = found && found->holds(address, bytes);
  if (!found || *known) return CUDA_SUCCESS;
  // Mappings of virtual memory (variables of nobody) may lie side by side and count as one.
  bool is_mapped = found->memory == Memory::kGlobal && found->owner == 0;
  return is_mapped ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

bool is_device_range(Client& client, std::uint64_t address, std::uint64_t bytes) {
  bool known = false;
  if (client.allocations().find_device(address)) {
    return judge_device(client, address, bytes, &known) == CUDA_SUCCESS;
  }
  CUdeviceptr base = 0;
  std::size_t length = 0;
  CUresult told = api::call<row::cuMemGetAddressRange_v2>(&base, &length, address);
  return told == CUDA_SUCCESS && address - base <= length && bytes <= length - (address - base);
}

namespace {

CUresult judge(Client& client, const LinearCopy& copy, bool* known) {
  if (copy.host == nullptr || copy.device == 0) return CUDA_ERROR_INVALID_VALUE;
  return judge_device(client, copy.device, copy.bytes, known);
}

}  // namespace

void wait_for_landings(const void* host, std::size_t bytes) {
  for_each_client([&](Client& client) { client.landings().wait_clear(host, bytes); });
}

namespace {

// A copy in a stream that is being captured becomes part of the graph.
CUresult capture_linear(Client& client, const LinearCopy& copy, bool to_device, bool* is_captured) {
  if (!copy.is_async || !client.completions().is_capturing()) return CUDA_SUCCESS;
  CaptureInfo info;
  CUresult asked = capture_info(client, copy.stream, &info);
  *is_captured = asked == CUDA_SUCCESS && info.is_active();
  if (!*is_captured) return asked;
  Shape shape;
  shape.width = copy.bytes;
  const Side host{
      Place::kHost, reinterpret_cast<std::uint64_t>(copy.host), copy.bytes, 1, 0, 0, 0, 0};
  const Side device{Place::kDevice, copy.device, copy.bytes, 1, 0, 0, 0, 0};
  shape.from = to_device ? host : device;
  shape.to = to_device ? device : host;
  return client.graph_copies().capture(shape, info, copy.stream);
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

CUresult lend_range(Client& client, std::uint64_t device, std::size_t bytes, bool writes,
                    bool* mirrored) {
  Mirrors& mirrors = client.mirrors();
  if (!mirrors.any() || !mirrors.overlaps(device, bytes)) return CUDA_SUCCESS;
  *mirrored = true;
  return mirrors.lend_range(device, bytes, writes);
}

namespace {

CUresult send(Client& client, const LinearCopy& copy, bool known) {
  const api::RowInfo& info =
      copy.is_async ? row::cuMemcpyHtoDAsync_v2::info() : row::cuMemcpyHtoD_v2::info();
  bool is_inline = is_on(Switch::kInlineCopy) && copy.bytes <= limits::kInlineCopyBytesMax;
  auto encode = [&](wire::Writer& out) {
    out.put(api::hand::CopyToDevice{copy.bytes, copy.device, id_of(copy.stream)});
    if (is_inline) out.bytes(copy.host, copy.bytes);
  };
  std::span payload(static_cast<const std::byte*>(copy.host), copy.bytes);
  if (is_inline) client.stats().moved(copy.bytes, 0);
  if (known) {
    return is_inline ? client.post(info, encode) : client.post_payload(info, encode, payload);
  }
  // An address the session did not hand out: let the driver judge it before the program goes on,
  // and, where much would be read here, before it is read: a wrong length may end anywhere.
  if (!is_inline && !is_device_range(client, copy.device, copy.bytes)) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  auto take = [](Reply& reply) { return reply.status; };
  return is_inline ? client.ask(info, encode, take)
                   : client.ask_payload(info, encode, payload, take);
}

// A copy whose host side the device has as well. Copies on the device go by their own functions.
CUresult copy_mirrored(CUdeviceptr to, CUdeviceptr from, const LinearCopy& copy) {
  return copy.is_async ? cuMemcpyDtoDAsync_v2(to, from, copy.bytes, copy.stream)
                       : cuMemcpyDtoD_v2(to, from, copy.bytes);
}

}  // namespace

CUresult send_known(Client& client, const LinearCopy& copy) { return send(client, copy, true); }

namespace {

// Whether a part of the host's side is mirrored, and so may be closed.
bool is_partly_mirrored(Client& client, const LinearCopy& copy) {
  return client.mirrors().touches(reinterpret_cast<std::uint64_t>(copy.host), copy.bytes);
}

// Out of host memory that may be closed: this thread reads it, as the program would, while it holds
// nothing; what is sent is memory of ours.
CUresult send_as_program(Client& client, const LinearCopy& copy, bool known) {
  if (!known && !is_device_range(client, copy.device, copy.bytes)) return CUDA_ERROR_INVALID_VALUE;
  auto staging = SecureBuffer::make(std::min(copy.bytes, limits::kStagingBytes));
  if (!staging.ok()) return CUDA_ERROR_OUT_OF_MEMORY;
  CUresult sent = CUDA_SUCCESS;
  for (std::size_t at = 0; at < copy.bytes && sent == CUDA_SUCCESS; at += staging->size()) {
    LinearCopy piece = copy;
    piece.device += at;
    piece.host = staging->data();
    piece.bytes = std::min(copy.bytes - at, staging->size());
    std::memcpy(piece.host, static_cast<const std::byte*>(copy.host) + at, piece.bytes);
    sent = send(client, piece, known);
  }
  return sent;
}

}  // namespace

CUresult copy_to_device(Client& client, const LinearCopy& copy) {
  if (CUresult bad = judge_context(client, copy.stream); bad != CUDA_SUCCESS) return bad;
  if (copy.bytes == 0) return CUDA_SUCCESS;
  bool known = false;
  if (CUresult bad = judge(client, copy, &known); bad != CUDA_SUCCESS) return bad;
  HostUses::Use use(client.allocations().host_uses(), copy.host, copy.bytes);
  if (client.mirrors().any()) {
    auto here = client.mirrors().find(reinterpret_cast<std::uint64_t>(copy.host), copy.bytes);
    if (here) use.end();
    if (here) return copy_mirrored(copy.device, here->device, copy);
  }
  bool is_captured = false;
  CUresult captured = capture_linear(client, copy, true, &is_captured);
  if (captured != CUDA_SUCCESS || is_captured) return captured;
  const bool is_partly = is_partly_mirrored(client, copy);
  if (is_partly) use.end();
  bool is_mirrored = false;
  CUresult lent = lend_range(client, copy.device, copy.bytes, true, &is_mirrored);
  if (lent != CUDA_SUCCESS) return lent;
  // The driver would read this memory when the stream gets here, behind what is to land in it.
  wait_for_landings(copy.host, copy.bytes);
  return is_partly ? send_as_program(client, copy, known) : send(client, copy, known);
}

namespace {

// Copies to page-locked memory need not be waited for. In a capture, where they are refused, the
// program is to hear of it at once.
bool can_land(Client& client, const LinearCopy& copy, bool known) {
  if (!copy.is_async || !known || !is_on(Switch::kAsyncCopy) ||
      client.completions().is_capturing()) {
    return false;
  }
  auto host = reinterpret_cast<std::uint64_t>(copy.host);
  auto locked = client.allocations().find_host(host);
  return locked && locked->holds(host, copy.bytes) &&
         client.posts(row::cuMemcpyDtoHAsync_v2::info());
}

// Posts one piece. False: there is no room for it now, and nothing has been done.
bool post_landing(Client& client, const LinearCopy& piece, CUresult* result) {
  Landings& landings = client.landings();
  std::uint64_t landing = landings.expect(piece.host, piece.bytes);
  if (landing == 0) return false;
  if (!client.landing_watch().begin()) {
    landings.cancel(landing);
    return false;
  }
  auto encode = [&](wire::Writer& out) {
    out.put(api::hand::CopyFromDevice{piece.device, piece.bytes, id_of(piece.stream), landing});
  };
  *result = client.post(row::cuMemcpyDtoHAsync_v2::info(), encode);
  if (*result != CUDA_SUCCESS) landings.cancel(landing);
  return true;
}

}  // namespace

// The bytes are in the program's buffer when it returns.
CUresult receive(Client& client, const LinearCopy& copy) {
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
  ThreadState& thread = client.this_thread();
  const std::uint64_t work = client.completions().work();
  CUresult fetched = client.ask(info, encode, take);
  // It came behind all that was in its stream.
  if (fetched == CUDA_SUCCESS) {
    auto place = WorkPlace::of(thread.current(), copy.stream, thread.number);
    client.completions().prove(place, work, Proof::kWaited);
  }
  return fetched;
}

namespace {

// Piece by piece; one for which there is no room is waited for, and makes room.
CUresult fetch_later(Client& client, const LinearCopy& copy) {
  for (std::size_t at = 0; at < copy.bytes; at += limits::kLateCopyBytesMax) {
    LinearCopy piece = copy;
    piece.device += at;
    piece.host = static_cast<std::byte*>(copy.host) + at;
    piece.bytes = std::min(copy.bytes - at, limits::kLateCopyBytesMax);
    CUresult result = CUDA_SUCCESS;
    if (!post_landing(client, piece, &result)) result = receive(client, piece);
    if (result != CUDA_SUCCESS) return result;
  }
  return CUDA_SUCCESS;
}

}  // namespace

namespace {

// Into host memory that the device has as well, or has a part of. On the device, what else the
// program writes into the same block meanwhile would be lost, or the copy; so the bytes are
// fetched, and this thread writes them to where they belong, as the program would.
CUresult copy_as_program(Client& client, const LinearCopy& copy) {
  bool is_mirrored = false;
  CUresult done = lend_range(client, copy.device, copy.bytes, false, &is_mirrored);
  auto staging = SecureBuffer::make(std::min(copy.bytes, limits::kStagingBytes));
  if (!staging.ok()) return CUDA_ERROR_OUT_OF_MEMORY;
  for (std::size_t at = 0; at < copy.bytes && done == CUDA_SUCCESS; at += staging->size()) {
    LinearCopy piece = copy;
    piece.device += at;
    piece.host = staging->data();
    piece.bytes = std::min(copy.bytes - at, staging->size());
    done = receive(client, piece);
    if (done != CUDA_SUCCESS) return done;
    std::memcpy(static_cast<std::byte*>(copy.host) + at, piece.host, piece.bytes);
  }
  return done;
}

}  // namespace

CUresult copy_from_device(Client& client, const LinearCopy& copy) {
  if (CUresult bad = judge_context(client, copy.stream); bad != CUDA_SUCCESS) return bad;
  if (copy.bytes == 0) return CUDA_SUCCESS;
  bool known = false;
  if (CUresult bad = judge(client, copy, &known); bad != CUDA_SUCCESS) return bad;
  HostUses::Use use(client.allocations().host_uses(), copy.host, copy.bytes);
  if (client.mirrors().any()) {
    auto here = client.mirrors().find(reinterpret_cast<std::uint64_t>(copy.host), copy.bytes);
    if (here) use.end();
    if (here && here->is_host && !client.completions().is_capturing()) {
      return copy_as_program(client, copy);
    }
    if (here) return copy_mirrored(here->device, copy.device, copy);
  }
  bool is_captured = false;
  CUresult captured = capture_linear(client, copy, false, &is_captured);
  if (captured != CUDA_SUCCESS || is_captured) return captured;
  if (is_partly_mirrored(client, copy)) {
    use.end();
    return copy_as_program(client, copy);
  }
  bool is_mirrored = false;
  CUresult lent = lend_range(client, copy.device, copy.bytes, false, &is_mirrored);
  if (lent != CUDA_SUCCESS) return lent;
  return can_land(client, copy, known) ? fetch_later(client, copy) : receive(client, copy);
}

CUresult land_from_device(Client& client, const LinearCopy& copy) {
  HostUses::Use use(client.allocations().host_uses(), copy.host, copy.bytes);
  auto here = client.mirrors().find(reinterpret_cast<std::uint64_t>(copy.host), copy.bytes);
  if (here) use.end();
  if (here) return copy_mirrored(here->device, copy.device, copy);
  bool is_captured = false;
  CUresult captured = capture_linear(client, copy, false, &is_captured);
  if (captured != CUDA_SUCCESS || is_captured) return captured;
  if (is_partly_mirrored(client, copy)) {
    use.end();
    return copy_as_program(client, copy);
  }
  const bool posts = is_on(Switch::kAsyncCopy) && client.posts(row::cuMemcpyDtoHAsync_v2::info());
  return posts ? fetch_later(client, copy) : receive(client, copy);
}

}  // namespace farcall::shim
