// What a client remembers of the memory its calls were given.
#include "client_shim/client.h"

namespace farcall::shim {

Allocation Client::made_here(Memory memory, CUdeviceptr address, std::uint64_t bytes) {
  Allocation made;
  made.address = address;
  made.bytes = bytes;
  made.memory = memory;
  made.context = this_thread().current();
  made.server = number();
  // Without a context the ordinal stays 0; the call would not have succeeded then.
  static_cast<void>(current_device(&made.ordinal));
  return made;
}

void Client::enter(const Allocation& made) {
  const bool is_new = allocations().add(made);
  // The pages of managed memory are there already.
  if (is_new && made.memory != Memory::kManaged) {
    allocations().held_ranges().hold(made.address, made.bytes);
  }
}

void Client::remember(Memory memory, CUdeviceptr address, std::uint64_t bytes) {
  enter(made_here(memory, address, bytes));
}

void Client::remember_graph_memory(CUdeviceptr address, std::uint64_t bytes) {
  Allocation made = made_here(Memory::kPool, address, bytes);
  made.owner = kGraphOwner;
  enter(made);
}

void Client::remember_global(CUdeviceptr address, std::uint64_t bytes, std::uint64_t owner) {
  // A __managed__ variable stays one, whatever it is asked for by.
  auto known = allocations().find_device(address);
  if (known && known->memory == Memory::kManaged) return;
  remember_variable(Memory::kGlobal, address, bytes, owner);
}

void Client::remember_variable(Memory memory, CUdeviceptr address, std::uint64_t bytes,
                               std::uint64_t owner) {
  Allocation made = made_here(memory, address, bytes);
  made.owner = owner;
  enter(made);
}

}  // namespace farcall::shim
