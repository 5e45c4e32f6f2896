// The commands of `farcall`, one function each: main.cpp parses, these act. Families of commands
// (farcall ca …) parse and act in a file of their own: families.h.
//
//   return run_program(options);   // 0 … 127: what the process exits with
//
// Exit codes: the program's own for run and demo; 0 done; 2 usage; 125 farcall itself could not do
// it, said on stderr with what to do next; 126 the program cannot be executed; 127 it is not found.
// Threads: one, the main thread.  These print; nothing below them in the tree does.
#pragma once
#include <string>
#include <vector>

#include "transport/base/status.h"

namespace farcall::cli {

inline constexpr int kExitUsage = 2;
inline constexpr int kExitFarcall = 125;
inline constexpr int kExitNotExecutable = 126;
inline constexpr int kExitNotFound = 127;

// How to reach a server: flags, else FARCALL_* variables, else the configuration file.
struct Connection {
  std::string server;  // host:port
  std::string certificate;
  std::string key;
  std::string ca;
  std::string server_name;  // name in the server's certificate; empty: the host dialled
  std::string lease;        // file of lease tokens; empty: none
  std::string compress;     // payloads: empty, off, auto or on
  std::string deny_list;    // certificates that were revoked; empty: none is looked at
  std::string renew_from;   // the pool's authority, host:port; empty: nothing renews by itself
  std::string lanes;        // connections for payloads; empty or auto: by distance
  std::string spread;       // over the servers: empty, off, on or the largest share, like 40%
};

struct RunOptions {
  Connection connection;
  std::vector<std::string> command;
  std::string stats_file;
  std::string trace_file;  // for explain_trace
  std::string log;         // level[:file]
  std::string off;         // switches, see transport/base/switches.h
  bool strict = false;
  bool check = true;  // dial once before the program starts, so that errors are told in words
};
// Replaces this process by the program; returns only when that failed.
int run_program(const RunOptions& options);

struct GpusOptions {
  Connection connection;
  bool json = false;
};
int list_gpus(const GpusOptions& options);

struct SmiOptions {
  Connection connection;
  bool json = false;
};
int show_use(const SmiOptions& options);

struct ExplainOptions {
  std::string trace_file;
  std::string rtt = "0.5ms";
  std::string bandwidth = "10Gbit";
  std::string form = "text";  // text, json, svg, html
  std::string out;            // a file; empty: standard output
};
int explain_trace(const ExplainOptions& options);

struct NetperfOptions {
  Connection connection;
  bool json = false;
};
int measure_network(const NetperfOptions& options);

struct DemoOptions {
  std::vector<std::string> command;  // empty: the training job
  std::string driver;                // empty: the software GPU
  int gpus = 1;
  bool keep = false;
  bool summary = true;
};
int run_demo(const DemoOptions& options);

// Prints "farcall: …" on stderr and returns kExitFarcall.
int fail(const std::string& what);
int fail(const Status& status);

}  // namespace farcall::cli
