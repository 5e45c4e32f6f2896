#include "client_shim/modules.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <cstring>

#include "transport/api/hand.h"
#include "transport/api/rows.h"
#include "transport/base/log.h"
#include "transport/base/secure_arena.h"
#include "transport/base/switches.h"
#include "transport/base/unique.h"
#include "transport/cuda/image.h"

namespace farcall::shim {
namespace {

using api::hand::ImageName;
using api::hand::LoadOutcome;

// The compute capabilities of all devices, e.g. 90; none when entries must not be chosen by them.
std::vector<std::uint32_t> architectures(const Client& client, const JitOptions& jit) {
  if (!is_on(Switch::kModuleTrim)) return {};
  for (const JitOptions::Plain& one : jit.plain) {
    // The program chooses for itself what is compiled, and for what.
    if (one.option == CU_JIT_TARGET || one.option == CU_JIT_FALLBACK_STRATEGY) return {};
  }
  std::vector<std::uint32_t> sms;
  for (const Device& device : client.snapshot().devices) {
    auto major = device.attribute(CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR);
    auto minor = device.attribute(CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR);
    if (!major || !minor || *major < 1 || *minor < 0 || *minor > 9) return {};
    sms.push_back(static_cast<std::uint32_t>(*major * 10 + *minor));
  }
  return sms;
}

// What a load says beside the image.
struct LoadWords {
  Client& client;
  LoadRequest& request;
  const ImageName* name;  // may be null
  int ordinal;            // the current device; -1 without one

  const api::RowInfo& row() const {
    return request.is_library ? api::row::cuLibraryLoadData::info()
                              : api::row::cuModuleLoadData::info();
  }
  void put(wire::Writer& out, std::uint64_t payload_bytes) const {
    auto options = static_cast<std::uint32_t>(request.jit.plain.size());
    std::uint32_t flags = name != nullptr ? api::hand::kImageNamed : 0;
    if (is_on(Switch::kFunctionFacts)) flags |= api::hand::kWantFunctions;
    out.put(api::hand::LoadImage{payload_bytes, options, 0, flags, 0});
    request.jit.put(out);
    if (name != nullptr) out.put(*name);
  }
  // The functions that the image has: from here on they are known.
  void take_functions(wire::Reader& in, std::uint64_t owner) const {
    auto count = in.get<std::uint32_t>();
    for (std::uint32_t i = 0; i < count && !in.failed(); ++i) {
      FunctionFacts facts = parse_function(in);
      auto name = in.bytes(in.get<std::uint32_t>());
      if (in.failed() || name.empty()) return in.fail();
      facts.name.assign(reinterpret_cast<const char*>(name.data()), name.size());
      facts.owner = owner;
      facts.is_kernel = request.is_library;
      facts.ordinal = ordinal;
      client.functions().add(std::move(facts));
    }
  }
  CUresult take(Reply& reply, LoadOutcome* outcome, std::uint64_t* id) const {
    // A deferred error comes back instead, with nothing behind its status.
    if (reply.status != CUDA_SUCCESS && reply.in.left() == 0) return reply.status;
    auto answer = reply.in.get<api::hand::LoadAnswer>();
    take_logs(reply.in, request.jit);
    // Ahead of its functions, which are judged as they are added.
    if (request.is_preserved && reply.status == CUDA_SUCCESS) {
      client.functions().note_runtimes(answer.id);
    }
    take_functions(reply.in, answer.id);
    if (!reply.in.done()) {
      reply.in.fail();
      return kLinkLost;
    }
    *id = answer.id;
    *outcome = answer.outcome;
    return reply.status;
  }
};

CUresult ask_by_name(Client& client, const LoadWords& words, LoadOutcome* outcome,
                     std::uint64_t* id) {
  auto encode = [&](wire::Writer& out) { words.put(out, 0); };
  auto take = [&](Reply& reply) { return words.take(reply, outcome, id); };
  return client.ask(words.row(), encode, take);
}

CUresult send_image(Client& client, const LoadWords& words, const cuda::PackedImage& image,
                    std::uint64_t* id) {
  std::uint64_t at = 0;
  auto fill = [&](std::span<std::byte> room) {
    image.read(at, room);
    at += room.size();
    return ok();
  };
  auto encode = [&](wire::Writer& out) { words.put(out, image.bytes()); };
  auto take = [&](Reply& reply) {
    LoadOutcome outcome = LoadOutcome::kTried;
    return words.take(reply, &outcome, id);
  };
  return client.ask_stream(words.row(), encode, image.bytes(), fill, take);
}

}  // namespace

CUresult load_image(Client& client, LoadRequest& request, std::uint64_t* id) {
  if (request.image == nullptr) return CUDA_ERROR_INVALID_VALUE;
  auto packed = cuda::pack_pieces(request.image, architectures(client, request.jit));
  if (!packed.ok()) {
    FARCALL_LOG_WARN("an image was not understood: %s", packed.status().to_string().c_str());
    return CUDA_ERROR_INVALID_IMAGE;
  }
  if (packed->left_out() != 0) {
    FARCALL_LOG_DEBUG("an image of %zu bytes; %zu more are for other devices",
                      static_cast<std::size_t>(packed->bytes()),
                      static_cast<std::size_t>(packed->left_out()));
  }
  Result<ImageName> name = client.image_names().of(packed.value(), client.settings());
  int ordinal = -1;
  static_cast<void>(client.current_device(&ordinal));  // stays -1 without a context
  LoadWords words{client, request, name.ok() ? &name.value() : nullptr, ordinal};
  LoadOutcome outcome = LoadOutcome::kUnknown;
  CUresult loaded = CUDA_SUCCESS;
  if (name.ok()) loaded = ask_by_name(client, words, &outcome, id);
  if (loaded == CUDA_SUCCESS && outcome != LoadOutcome::kTried) {
    if (outcome == LoadOutcome::kNoCache) client.image_names().give_up();
    loaded = send_image(client, words, packed.value(), id);
  }
  if (name.ok()) wipe(name->key);
  return loaded;
}

CUresult read_image_file(const char* path, std::vector<std::byte>* out) {
  if (path == nullptr) return CUDA_ERROR_INVALID_VALUE;
  Fd file(::open(path, O_RDONLY | O_CLOEXEC));
  struct stat facts {};
  if (!file || ::fstat(file.get(), &facts) != 0 || !S_ISREG(facts.st_mode)) {
    return CUDA_ERROR_FILE_NOT_FOUND;
  }
  auto bytes = static_cast<std::size_t>(facts.st_size);
  if (bytes > limits::kModuleBytesMax) return CUDA_ERROR_OUT_OF_MEMORY;
  out->assign(bytes + kFileZerosBehind, std::byte{0});
  std::size_t have = 0;
  while (have < bytes) {
    ssize_t now = ::read(file.get(), out->data() + have, bytes - have);
    if (now < 0 && errno == EINTR) continue;
    if (now <= 0) return CUDA_ERROR_FILE_NOT_FOUND;
    have += static_cast<std::size_t>(now);
  }
  return CUDA_SUCCESS;
}

CUresult fetch_function(Client& client, const api::RowInfo& row, std::uint64_t owner,
                        const std::string& name, std::uint64_t* id) {
  if (auto known = client.functions().find_named(owner, name); known && !name.empty()) {
    client.stats().count(CallKind::kCached, row.name);
    *id = known->id;
    return CUDA_SUCCESS;
  }
  int ordinal = -1;
  static_cast<void>(client.current_device(&ordinal));
  auto encode = [&](wire::Writer& out) {
    out.put(owner);
    if (name.empty()) return;
    out.put(static_cast<std::uint32_t>(name.size()));
    out.bytes(name.data(), name.size());
  };
  auto take = [&](Reply& reply) {
    if (reply.status != CUDA_SUCCESS) return reply.status;
    FunctionFacts facts = parse_function(reply.in);
    if (!reply.in.done()) return kLinkLost;
    facts.owner = owner;
    facts.name = name;
    facts.is_kernel = row.id == api::row::cuLibraryGetKernel::info().id;
    facts.ordinal = ordinal;
    *id = facts.id;
    client.functions().add(std::move(facts));
    return CUDA_SUCCESS;
  };
  return client.ask(row, encode, take);
}

}  // namespace farcall::shim
