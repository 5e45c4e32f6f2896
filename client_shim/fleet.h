// Fleet: the servers of a program that has several (FARCALL_SERVER=a,b), and which of them a call
// is for.
//
//   Fleet* fleet = current_fleet();                          // process.h; null with one server
//   Client* client = fleet->owner_of(id_of(stream));         // who made this handle
//   std::optional<unsigned> owner = fleet->owner_of_address(pointer);
//   Serving serving(*fleet, *client);                        // current_client() is this one now
//
// Each server has a Client of its own that knows nothing of the others; the exported functions
// choose one for each call (routed.h). The program's stack of contexts is kept here, because it
// mixes contexts of all servers; a client sees of it the latest context of its own.
// Owner: the process; never destroyed.  Threads: any.  Takes leaf locks of clients only.
#pragma once
#include <optional>
#include <vector>

#include "client_shim/client.h"
#include "client_shim/libraries.h"
#include "client_shim/plain_numbers.h"
#include "transport/api/handles.h"

namespace farcall::shim {

class Fleet {
 public:
  // clients: at least one, each at the place of its number; they live as long as the process.
  explicit Fleet(std::vector<Client*> clients) : clients_(std::move(clients)) {}
  Fleet(const Fleet&) = delete;
  Fleet& operator=(const Fleet&) = delete;

  Client& first() { return *clients_.front(); }
  const std::vector<Client*>& clients() const { return clients_; }
  Allocations& allocations() { return first().allocations(); }
  Libraries& libraries() { return libraries_; }
  PlainNumbers& numbers() { return numbers_; }

  // The client that a handle belongs to; null for CUDA's own (null, the default streams) and for
  // what no server of this program can have made.
  Client* owner_of(std::uint64_t handle);
  // The server whose device memory holds this address.
  std::optional<unsigned> owner_of_address(std::uint64_t address);
  // Who has the program's device `ordinal`; null when there is none of that number.
  Client* owner_of_device(int ordinal);
  // That a range is known as device memory of this server's, from `address` on: not when another
  // server had handed out or reserved a part of it before.
  bool is_apart(const Client& client, std::uint64_t address);

  // Of the calling thread.
  RoutedThread& thread() { return first().this_thread().routed; }
  CUcontext current();
  // Who carries out the call under way; without one, who has the current context; else the first.
  Client& serving();
  // Makes the client see, as its own current context on this thread, what the program's is to it.
  void show_current(Client& client);
  // The same, and rather the context that device memory around `address` was made in.
  void show_block(Client& client, std::uint64_t address);

 private:
  const std::vector<Client*> clients_;
  Libraries libraries_;
  PlainNumbers numbers_;
};

// While it lives, this thread's calls are one client's.
class Serving {
 public:
  Serving(Fleet& fleet, Client& client);
  ~Serving() { thread_.serves = before_; }
  Serving(const Serving&) = delete;
  Serving& operator=(const Serving&) = delete;

 private:
  RoutedThread& thread_;
  Client* const before_;
};

}  // namespace farcall::shim
