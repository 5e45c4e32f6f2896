#include "client_shim/fleet.h"

#include "client_shim/entry.h"

namespace farcall::shim {
namespace {

// A context of the client's for calls that name its objects while another server's context is
// current: CUDA carries those out whatever is current, as long as something is.
CUcontext any_context(Client& client, CUcontext latest) {
  if (latest != nullptr && client.contexts().find(latest)) return latest;
  for (int ordinal = 0; auto place = client.visible().place(ordinal); ++ordinal) {
    if (place->server != static_cast<int>(client.number())) continue;
    if (client.contexts().primary(ordinal).retains == 0) continue;
    return handle_of<CUcontext>(client.snapshot().device(ordinal)->primary_context);
  }
  return nullptr;
}

}  // namespace

Client* Fleet::owner_of(std::uint64_t handle) {
  if (handle < api::kClientIdMin) return nullptr;
  const unsigned server = api::server_of(handle);
  return server < clients_.size() ? clients_[server] : nullptr;
}

std::optional<unsigned> Fleet::owner_of_address(std::uint64_t address) {
  const auto found = allocations().find_device(address);
  if (!found) return std::nullopt;
  return found->server;
}

Client* Fleet::owner_of_device(int ordinal) {
  const auto place = first().visible().place(ordinal);
  return place ? clients_[static_cast<std::size_t>(place->server)] : nullptr;
}

bool Fleet::is_apart(const Client& client, std::uint64_t address) {
  const auto found = allocations().find_device(address);
  if (!found || found->server != client.number()) return false;
  return !numbers_.is_reserved_elsewhere(found->address, found->bytes, client.number());
}

CUcontext Fleet::current() {
  const std::vector<CUcontext>& stack = thread().stack;
  return stack.empty() ? nullptr : stack.back();
}

Client& Fleet::serving() {
  if (Client* under_way = thread().serves) return *under_way;
  Client* owner = owner_of(id_of(current()));
  Client& chosen = owner == nullptr ? first() : *owner;
  show_current(chosen);
  return chosen;
}

void Fleet::show_current(Client& client) {
  const CUcontext program = current();
  std::vector<CUcontext>& seen = client.this_thread().stack;
  const CUcontext latest = seen.empty() ? nullptr : seen.back();
  CUcontext context = program;
  if (program != nullptr && owner_of(id_of(program)) != &client) {
    context = any_context(client, latest);
  }
  if (latest == context && seen.size() <= 1) return;
  seen.clear();
  if (context != nullptr) seen.push_back(context);
}

void Fleet::show_block(Client& client, std::uint64_t address) {
  show_current(client);
  const auto block = allocations().find_device(address);
  if (!block || block->server != client.number()) return;
  if (block->context == nullptr || !client.contexts().find(block->context)) return;
  client.this_thread().stack.assign(1, block->context);
}

Serving::Serving(Fleet& fleet, Client& client) : thread_(fleet.thread()), before_(thread_.serves) {
  fleet.show_current(client);
  thread_.serves = &client;
}

}  // namespace farcall::shim
