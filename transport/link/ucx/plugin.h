// The boundary between Farcall and libfarcall_ucx.so, the only file that links UCX.
//
//   const FarcallUcxPlugin* plugin = …dlsym(library, kFarcallUcxEntry)()…;   // rdma_plugin.cpp
//   FarcallUcxContext* context = plugin->open(settings, count, &error);
//   FarcallUcxPipe* pipe = plugin->connect(context, address, address_bytes, hello, &error);
//
// Plain C types, because the two sides are linked with C++ libraries of their own. Nothing here
// blocks, but for destroy: who wants to wait asks may_sleep and polls. A function that fails fills
// `error` and returns null, 0 or false. Every function blocks all signals while UCX may start a
// thread, so that the program's signals never land in one of UCX's.
// Threads: pipe functions any; a listener's one at a time; open and connect any.
#pragma once
#include <sys/socket.h>

#include <cstddef>

// Part of the entry's name, so that another build's plugin is not found at all.
#define FARCALL_UCX_ENTRY farcall_ucx_plugin_2
inline constexpr const char* kFarcallUcxEntry = "farcall_ucx_plugin_2";
inline constexpr std::size_t kFarcallUcxHelloBytes = 22;

extern "C" {

struct FarcallUcxContext;
struct FarcallUcxListener;
struct FarcallUcxPipe;

struct FarcallUcxError {
  int code;        // a farcall::Code; 0: no error, there is only nothing to do yet
  char text[248];  // ends with 0
};
struct FarcallUcxSetting {  // of UCX, without its prefix: {"TLS", "rc"}
  const char* name;
  const char* value;
};
struct FarcallUcxRecord {
  const void* data;
  std::size_t bytes;
};
enum FarcallUcxSide { kFarcallUcxSend = 0, kFarcallUcxReceive = 1 };

struct FarcallUcxPlugin {
  // One context for the process; a second call returns the first one's. Never closed: UCX's threads
  // would outlive it.
  FarcallUcxContext* (*open)(const FarcallUcxSetting* settings, std::size_t count,
                             FarcallUcxError* error);

  FarcallUcxListener* (*listen)(FarcallUcxContext* context, const sockaddr* address,
                                socklen_t address_bytes, FarcallUcxError* error);
  unsigned short (*listener_port)(const FarcallUcxListener* listener);
  // A connection that has asked to be let in; null with error->code 0 when there is none.
  FarcallUcxPipe* (*take)(FarcallUcxListener* listener, FarcallUcxError* error);
  // True: take() has nothing, and listener_fd becomes readable when that may have changed.
  bool (*listener_may_sleep)(FarcallUcxListener* listener);
  int (*listener_fd)(const FarcallUcxListener* listener);
  void (*unlisten)(FarcallUcxListener* listener);  // pipes live on

  // Starts to connect; `hello`, kFarcallUcxHelloBytes, is its first message.
  FarcallUcxPipe* (*connect)(FarcallUcxContext* context, const sockaddr* address,
                             socklen_t address_bytes, const void* hello, FarcallUcxError* error);
  bool (*connected)(FarcallUcxPipe* pipe, FarcallUcxError* error);     // the hello has left
  const void* (*hello)(FarcallUcxPipe* pipe, FarcallUcxError* error);  // the peer's, once here

  // Room for a record of at most kSealedBytesMax, or null while the pipe is full.
  void* (*reserve)(FarcallUcxPipe* pipe, std::size_t bytes, FarcallUcxError* error);
  bool (*commit)(FarcallUcxPipe* pipe, std::size_t bytes, FarcallUcxError* error);
  // True once the device has what was committed, and needs nobody's help to send it.
  bool (*left)(FarcallUcxPipe* pipe, FarcallUcxError* error);
  bool (*can_send)(FarcallUcxPipe* pipe);
  // The next record; false with error->code 0 when it is not here yet.
  bool (*peek)(FarcallUcxPipe* pipe, FarcallUcxRecord* record, FarcallUcxError* error);
  void (*release)(FarcallUcxPipe* pipe);
  bool (*arrived)(FarcallUcxPipe* pipe);  // a record that is not released, or the end

  // True: this side has nothing to do, and pipe_fd or pipe_bell becomes readable when it may have.
  // The caller then polls and says awake(). At most one thread a side.
  bool (*may_sleep)(FarcallUcxPipe* pipe, FarcallUcxSide side);
  void (*awake)(FarcallUcxPipe* pipe, FarcallUcxSide side);
  int (*pipe_fd)(const FarcallUcxPipe* pipe);
  int (*pipe_bell)(const FarcallUcxPipe* pipe, FarcallUcxSide side);

  // Tells the peer that nothing more comes, and wakes every thread inside.
  void (*close)(FarcallUcxPipe* pipe);
  // In the child of a fork: every later call on the pipe, destroy too, does nothing at all.
  void (*abandon)(FarcallUcxPipe* pipe);
  // Waits a moment for what was sent; then the pipe is gone. Nobody may be inside.
  void (*destroy)(FarcallUcxPipe* pipe);
};

const FarcallUcxPlugin* FARCALL_UCX_ENTRY();
}
