// Families of commands, each declared and acted on in a file of its own: `farcall ca …` in ca.cpp.
//
//   Act act;
//   add_ca(app, &act);
//   app.parse(argc, argv);
//   return act();            // 0 … 127, as in commands.h
//
// A family adds its subcommands to `app`; the one that was chosen stores what is to be done.
// Owner: what a family's options need lives in its callbacks.  Threads: one, the main thread.
#pragma once
#include <functional>

namespace CLI {
class App;
}

namespace farcall::cli {

using Act = std::function<int()>;

void add_attest(CLI::App& app, Act* act);
void add_audit(CLI::App& app, Act* act);
void add_ca(CLI::App& app, Act* act);
void add_lease(CLI::App& app, Act* act);
void add_manifest(CLI::App& app, Act* act);
void add_quarantine(CLI::App& app, Act* act);

}  // namespace farcall::cli
