// libfarcall_ucx.so, found and loaded: the one door through which UCX enters a process.
//
//   Result<RdmaPlugin> plugin = RdmaPlugin::load(settings_for_rdma());
//   FarcallUcxPipe* pipe = plugin.value()->connect(plugin.value().context(), …);
//
// UCX reads some settings while it is being loaded, from the environment. They are shown to it for
// that moment in an environment of our own; the program's is not written to, because another thread
// may be reading it. The library stays loaded: its threads and its exit functions need it.
// Threads: any.  Never called before an RDMA link was chosen.
#pragma once
#include <span>
#include <string>

#include "transport/base/clock.h"
#include "transport/base/status.h"
#include "transport/link/ucx/plugin.h"

namespace farcall::link {

class RdmaPlugin {
 public:
  // RDMA by reliable connections, set up by rdmacm: no TCP port of UCX's, which 8 wrong bytes would
  // make abort the process.
  static std::span<const FarcallUcxSetting> settings_for_rdma();

  // What load() does first: maps the libraries, opens and starts nothing. For a process that is
  // about to lose its paths. Errors: kUnsupported, with what to do.
  static Status load_libraries();

  // The plugin of this process. `settings` count for the first call only; tests pass others.
  // Errors: kUnsupported (no plugin, no UCX, no device), with what to do.
  static Result<RdmaPlugin> load(std::span<const FarcallUcxSetting> settings);

  // Where the plugin lies: beside this object's file, or in ../lib of that. Empty: nowhere.
  static std::string find();

  const FarcallUcxPlugin* operator->() const { return plugin_; }
  FarcallUcxContext* context() const { return context_; }

 private:
  RdmaPlugin(const FarcallUcxPlugin* plugin, FarcallUcxContext* context)
      : plugin_(plugin), context_(context) {}
  const FarcallUcxPlugin* plugin_;
  FarcallUcxContext* context_;
};

Status status_of(const FarcallUcxError& error);
// How long to sleep at most before looking again: limits::kRdmaLookMs, or until the deadline.
int look_within_ms(Deadline deadline);

}  // namespace farcall::link
