// Linking at run time. Inputs go to the server one by one; the linked image comes back and stays
// here until cuLinkDestroy, because the program is handed its address.
#include <cstring>

#include "client_shim/entry.h"
#include "client_shim/modules.h"
#include "transport/api/hand.h"
#include "transport/api/rows.h"
#include "transport/cuda/image.h"

using farcall::shim::Client;
using farcall::shim::handle_of;
using farcall::shim::id_of;
using farcall::shim::JitOptions;
using farcall::shim::Link;
using farcall::shim::Reply;
using farcall::shim::with_client;
namespace hand = farcall::api::hand;
namespace row = farcall::api::row;
namespace limits = farcall::limits;
namespace shim = farcall::shim;

namespace {

// An ELF's header behind the image, so that a reader of headers never leaves it.
constexpr std::size_t kZerosBehind = 64;

// A reply that is an id and the logs.
CUresult take_answer(Reply& reply, const JitOptions& jit, std::uint64_t* id) {
  // A deferred error comes back instead, with nothing behind its status.
  if (reply.status != CUDA_SUCCESS && reply.in.left() == 0) return reply.status;
  *id = reply.in.get<hand::LinkAnswer>().id;
  take_logs(reply.in, jit);
  if (reply.in.done()) return reply.status;
  reply.in.fail();
  return shim::kLinkLost;
}

struct Input {
  CUjitInputType type;
  std::span<const std::byte> bytes;
  const char* name;  // may be null
};

CUresult send_input(Client& client, std::uint64_t id, const Link& link, const Input& input,
                    const JitOptions& own) {
  auto name_bytes = input.name != nullptr ? static_cast<std::uint32_t>(std::strlen(input.name))
                                          : hand::kNoLinkName;
  auto encode = [&](farcall::wire::Writer& out) {
    out.put(hand::AddLinkInput{input.bytes.size(), id, static_cast<std::uint32_t>(input.type),
                               static_cast<std::uint32_t>(own.plain.size()), name_bytes, 0});
    own.put(out);
    if (input.name != nullptr) out.bytes(input.name, name_bytes);
  };
  std::uint64_t ignored = 0;
  auto take = [&](Reply& reply) { return take_answer(reply, link.jit, &ignored); };
  return client.ask_payload(row::cuLinkAddData_v2::info(), encode, input.bytes, take);
}

// What nvcc's start-up code registers is a few pointers: the containers they lead to are meant.
bool is_wrapper(const Input& input) {
  if (input.type != CU_JIT_INPUT_FATBINARY || input.bytes.size() < sizeof(std::uint32_t)) {
    return false;
  }
  auto form = farcall::cuda::image_form(input.bytes.data());
  return form.ok() && form.value() == farcall::cuda::ImageForm::kWrapper;
}

CUresult add_input(Client& client, CUlinkState state, const Input& input, const JitOptions& own) {
  std::shared_ptr<Link> link = client.links().find(id_of(state));
  if (link == nullptr) return CUDA_ERROR_INVALID_HANDLE;
  if (input.bytes.size() > limits::kModuleBytesMax) return CUDA_ERROR_OUT_OF_MEMORY;
  if (input.name != nullptr &&
      ::strnlen(input.name, limits::kStringBytesMax) == limits::kStringBytesMax) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  if (!is_wrapper(input)) return send_input(client, id_of(state), *link, input, own);
  auto parts = farcall::cuda::image_parts(input.bytes.data());
  if (!parts.ok()) return CUDA_ERROR_INVALID_IMAGE;
  for (const farcall::cuda::ImagePart& part : parts.value()) {
    CUresult sent = send_input(client, id_of(state), *link,
                               {CU_JIT_INPUT_FATBINARY, part.bytes, input.name}, own);
    if (sent != CUDA_SUCCESS) return sent;
  }
  return CUDA_SUCCESS;
}

// The image comes as a payload of whatever size the server says, so it is bounded here.
CUresult take_image(Reply& reply, Link& link) {
  if (reply.status != CUDA_SUCCESS) {
    std::uint64_t ignored = 0;
    return take_answer(reply, link.jit, &ignored);
  }
  auto announced = reply.in.get<std::uint64_t>();
  take_logs(reply.in, link.jit);
  if (!reply.in.done() || !reply.bulk || announced == 0 || announced > limits::kModuleBytesMax) {
    reply.in.fail();
    return shim::kLinkLost;
  }
  auto bytes = static_cast<std::size_t>(announced);
  std::unique_ptr<std::byte, Link::Free> image(
      static_cast<std::byte*>(std::calloc(1, bytes + kZerosBehind)));
  if (image == nullptr || !reply.session.bulk_read({image.get(), bytes}).ok()) {
    reply.in.fail();
    return shim::kLinkLost;
  }
  link.image = std::move(image);
  link.image_bytes = bytes;
  return CUDA_SUCCESS;
}

}  // namespace

FARCALL_EXPORT cuLinkCreate_v2(unsigned int numOptions, CUjit_option* options, void** optionValues,
                               CUlinkState* stateOut) {
  return with_client([&](Client& client) {
    if (stateOut == nullptr) return CUDA_ERROR_INVALID_VALUE;
    if (client.this_thread().current() == nullptr) return CUDA_ERROR_INVALID_CONTEXT;
    JitOptions jit;
    CUresult read = JitOptions::read(numOptions, options, optionValues, &jit);
    if (read != CUDA_SUCCESS) return read;
    auto encode = [&](farcall::wire::Writer& out) {
      out.put(hand::CreateLink{static_cast<std::uint32_t>(jit.plain.size()), 0});
      jit.put(out);
    };
    std::uint64_t id = 0;
    auto take = [&](Reply& reply) { return take_answer(reply, jit, &id); };
    CUresult created = client.ask(row::cuLinkCreate_v2::info(), encode, take);
    if (created != CUDA_SUCCESS) return created;
    client.links().add(id, std::move(jit));
    *stateOut = handle_of<CUlinkState>(id);
    return CUDA_SUCCESS;
  });
}

FARCALL_EXPORT cuLinkAddData_v2(CUlinkState state, CUjitInputType type, void* data, size_t size,
                                const char* name, unsigned int numOptions, CUjit_option* options,
                                void** optionValues) {
  return with_client([&](Client& client) {
    JitOptions own;
    CUresult read = JitOptions::read(numOptions, options, optionValues, &own);
    if (read != CUDA_SUCCESS) return read;
    if (data == nullptr || size == 0) return CUDA_ERROR_INVALID_VALUE;
    return add_input(client, state, {type, {static_cast<std::byte*>(data), size}, name}, own);
  });
}

FARCALL_EXPORT cuLinkAddFile_v2(CUlinkState state, CUjitInputType type, const char* path,
                                unsigned int numOptions, CUjit_option* options,
                                void** optionValues) {
  return with_client([&](Client& client) {
    JitOptions own;
    CUresult read = JitOptions::read(numOptions, options, optionValues, &own);
    if (read != CUDA_SUCCESS) return read;
    std::vector<std::byte> file;
    read = shim::read_image_file(path, &file);
    if (read != CUDA_SUCCESS) return read;
    std::span bytes(file.data(), file.size() - shim::kFileZerosBehind);
    if (bytes.empty()) return CUDA_ERROR_INVALID_IMAGE;
    return add_input(client, state, {type, bytes, nullptr}, own);  // paths stay here
  });
}

FARCALL_EXPORT cuLinkComplete(CUlinkState state, void** cubinOut, size_t* sizeOut) {
  return with_client([&](Client& client) {
    std::shared_ptr<Link> link = client.links().find(id_of(state));
    if (link == nullptr) return CUDA_ERROR_INVALID_HANDLE;
    if (cubinOut == nullptr) return CUDA_ERROR_INVALID_VALUE;
    auto encode = [&](farcall::wire::Writer& out) { out.put(hand::CompleteLink{id_of(state)}); };
    auto take = [&](Reply& reply) { return take_image(reply, *link); };
    CUresult linked = client.ask(row::cuLinkComplete::info(), encode, take);
    if (linked != CUDA_SUCCESS) return linked;
    *cubinOut = link->image.get();
    if (sizeOut != nullptr) *sizeOut = link->image_bytes;
    return CUDA_SUCCESS;
  });
}
