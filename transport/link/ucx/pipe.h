// Pipe: one RDMA connection as an ordered pipe of records, over UCP active messages.
//
//   Pipe* pipe = Pipe::make(context, endpoint_parameters, &error);
//   void* slot = pipe->reserve(bytes, &error);  …seal…  pipe->commit(bytes, &error);
//   if (pipe->peek(&record, &error)) { …open…  pipe->release(); }
//
// One message is one record, numbered from 0; at most kRdmaWindowRecords are on the way or unread,
// so a peer can make us hold so many and no more. A receiver says how many it has released, with
// its own records or, when it has none, by itself. Messages are always sent eagerly: the rendezvous
// protocol would register our memory with the device and show its key to the network.
// Threads: any; one lock, held over calls into UCX, none of which blocks. A child of a fork must
// not touch UCX: after abandon() nothing here does.
#pragma once
#include <ucp/api/ucp.h>

#include <array>
#include <atomic>
#include <cstdint>

#include "transport/base/guarded.h"
#include "transport/base/limits.h"
#include "transport/base/status.h"
#include "transport/base/unique.h"
#include "transport/link/ucx/plugin.h"
#include "transport/link/ucx/window.h"

namespace farcall::ucx {

enum MessageKind : unsigned { kHello = 1, kRecord = 2, kReleased = 3, kClosing = 4 };

class Pipe {
 public:
  // to: whom, by address or by connection request; the rest of it is filled in here.
  static Pipe* make(ucp_context_h context, ucp_ep_params_t to, FarcallUcxError* error);
  ~Pipe();

  // One side says hello, as its first message; the other takes it.
  void say_hello(const void* hello);
  bool connected(FarcallUcxError* error);
  const void* hello(FarcallUcxError* error);

  void* reserve(std::size_t bytes, FarcallUcxError* error);
  bool commit(std::size_t bytes, FarcallUcxError* error);
  bool left(FarcallUcxError* error);
  bool can_send();
  bool peek(FarcallUcxRecord* record, FarcallUcxError* error);
  void release();
  bool arrived();

  bool may_sleep(FarcallUcxSide side);
  void awake(FarcallUcxSide side);
  int fd() const { return fd_; }
  int bell(FarcallUcxSide side) const { return bells_[side].get(); }

  void close();
  void abandon() { abandoned_.store(true, std::memory_order_release); }

 private:
  // What must stay where it is until UCX has sent it; a record itself is in slot_.
  struct Outgoing {
    MessageHeader header;
    bool busy = false;
  };
  struct State {
    ucp_worker_h worker = nullptr;
    ucp_ep_h endpoint = nullptr;
    ucs_status_t broken = UCS_OK;     // as UCX said
    const char* malformed = nullptr;  // what the peer did that it may not
    bool closed = false;              // by us

    Outgoing record;  // the one in the slot
    Outgoing our_hello;
    Outgoing released;     // tells the peer of releases
    Outgoing farewell;     // tells the peer that we closed
    bool leaving = false;  // a sender waits for the record to have left, not for room

    Window window;
    std::uint64_t told = 0;  // how many releases the peer knows of
    bool hello_here = false;
    bool hello_taken = false;  // or none is due
    std::array<std::byte, kFarcallUcxHelloBytes> hello{};

    std::array<bool, 2> asleep{};
  };

  Pipe() = default;
  bool open(ucp_context_h context, ucp_ep_params_t to, FarcallUcxError* error);
  static bool set_handlers(State& state, FarcallUcxError* error);

  // Called by UCX from within progress, so with the lock held; `self` is the State.
  static void on_broken(void* self, ucp_ep_h endpoint, ucs_status_t status);
  static void on_sent(void* request, ucs_status_t status, void* outgoing);
  static ucs_status_t on_hello(void* self, const void* header, std::size_t header_bytes, void* data,
                               std::size_t bytes, const ucp_am_recv_param_t* how);
  static ucs_status_t on_record(void* self, const void* header, std::size_t header_bytes,
                                void* data, std::size_t bytes, const ucp_am_recv_param_t* how);
  static ucs_status_t on_note(void* self, const void* header, std::size_t header_bytes, void* data,
                              std::size_t bytes, const ucp_am_recv_param_t* how);
  static ucs_status_t on_closing(void* self, const void* header, std::size_t header_bytes,
                                 void* data, std::size_t bytes, const ucp_am_recv_param_t* how);
  static bool hear(State& state, const void* header, std::size_t bytes, MessageHeader* out);

  // UCX moves messages only while it is called.
  void progress(State& state);
  static bool send(State& state, MessageKind kind, Outgoing& outgoing, const void* data,
                   std::size_t bytes);
  static void tell_released(State& state);
  void linger(State& state);
  static bool ready(const State& state, FarcallUcxSide side);
  void wake(State& state);
  static bool has_room(const State& state);
  static bool failed(const State& state, FarcallUcxError* error);
  static bool cannot_send(const State& state, FarcallUcxError* error);
  bool abandoned() const { return abandoned_.load(std::memory_order_acquire); }

  Guarded<State> state_;
  std::atomic<bool> abandoned_{false};
  std::byte* slot_ = nullptr;  // room for one record; ciphertext
  int fd_ = -1;                // UCX's own
  Fd bells_[2];                // eventfd, for one side to wake the other
};

}  // namespace farcall::ucx
