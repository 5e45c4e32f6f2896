#include "client_shim/libraries.h"

#include "client_shim/entry.h"
#include "transport/api/client_call.h"
#include "transport/base/log.h"
#include "transport/cuda/image.h"

namespace farcall::shim {
namespace row = api::row;

CUresult Libraries::loaded(std::uint64_t library, const void* image, bool is_preserved,
                           std::vector<JitOptions::Plain> options) {
  auto source = std::make_shared<Source>();
  source->image = image;
  source->options = std::move(options);
  if (!is_preserved) {
    auto packed = cuda::pack_pieces(image, {});
    if (!packed.ok()) return CUDA_ERROR_INVALID_IMAGE;
    // Room for a whole header behind an image that ends within one.
    source->copy.resize(packed->bytes() + 64);
    packed->read(0, std::span(source->copy).first(packed->bytes()));
    source->image = source->copy.data();
  }
  state_.lock()->libraries[library] = {std::move(source), {}};
  return CUDA_SUCCESS;
}

CUresult Libraries::library_on(Client& client, std::uint64_t library, std::uint64_t* there) {
  *there = library;
  if (api::server_of(library) == client.number()) return CUDA_SUCCESS;
  std::shared_ptr<const Source> source;
  {
    auto state = state_.lock();
    auto known = state->libraries.find(library);
    if (known == state->libraries.end()) return CUDA_ERROR_INVALID_HANDLE;
    auto at = known->second.elsewhere.find(client.number());
    if (at != known->second.elsewhere.end()) {
      *there = at->second;
      return CUDA_SUCCESS;
    }
    source = known->second.source;
  }
  LoadRequest request;
  request.image = source->image;
  request.jit.plain = source->options;
  request.is_library = true;
  request.is_preserved = source->copy.empty();
  std::uint64_t mine = 0;
  if (CUresult loaded = load_image(client, request, &mine); loaded != CUDA_SUCCESS) return loaded;
  bool is_first = false;
  {
    auto state = state_.lock();
    auto known = state->libraries.find(library);
    if (known == state->libraries.end()) {
      *there = 0;  // unloaded meanwhile
    } else {
      auto [at, is_new] = known->second.elsewhere.emplace(client.number(), mine);
      *there = at->second;
      is_first = is_new;
    }
  }
  if (!is_first) (void)api::call<row::cuLibraryUnload>(handle_of<CUlibrary>(mine));
  return *there == 0 ? CUDA_ERROR_INVALID_HANDLE : CUDA_SUCCESS;
}

CUresult Libraries::kernel_on(Client& home, Client& client, std::uint64_t kernel,
                              std::uint64_t* there) {
  {
    auto state = state_.lock();
    auto at = state->kernels.find({kernel, client.number()});
    if (at != state->kernels.end()) {
      *there = at->second.there;
      return CUDA_SUCCESS;
    }
  }
  const FunctionRefs facts = home.functions().find(kernel);
  if (facts == nullptr || !facts->is_kernel) return CUDA_ERROR_INVALID_HANDLE;
  std::uint64_t library = 0;
  CUresult found = library_on(client, facts->owner, &library);
  if (found == CUDA_SUCCESS) {
    found = fetch_function(client, row::cuLibraryGetKernel::info(), library, facts->name, there);
  }
  if (found == CUDA_SUCCESS) {
    FARCALL_LOG_DEBUG("kernel %s: also on server %u", facts->name.c_str(), client.number());
    state_.lock()->kernels[{kernel, client.number()}] = {*there, facts->owner};
  }
  return found;
}

std::vector<std::uint64_t> Libraries::forget(std::uint64_t library) {
  std::vector<std::uint64_t> handles;
  auto state = state_.lock();
  auto known = state->libraries.find(library);
  if (known == state->libraries.end()) return handles;
  for (const auto& [server, handle] : known->second.elsewhere) handles.push_back(handle);
  state->libraries.erase(known);
  std::erase_if(state->kernels, [&](const auto& one) { return one.second.library == library; });
  return handles;
}

}  // namespace farcall::shim
