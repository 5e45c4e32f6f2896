// split_servers: the servers that one program uses, from one setting.
//
//   Result<std::vector<std::string>> servers = split_servers("gpu1:7717,shm://gpu2:7717");
//
// The order counts: the devices of the first server come first, unless a Spread deals them out.
// What one server looks like is for parse_server (dial.h) to say.  Owner: plain values.  Threads:
// any.
#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "transport/base/status.h"

namespace farcall::link {

// At least one, each once.
// Errors: kUnsupported: an empty place between commas, one server twice (whatever the carrier),
// more than limits::kServersMax.
Result<std::vector<std::string>> split_servers(std::string_view text);

// "gpu1:7717" of "tcp://gpu1:7717".
std::string_view without_carrier(std::string_view server);

// The names the servers' certificates must carry, one for each: empty where the host's will do.
//   names  empty, one for all, or as many as there are servers, separated by commas
// Errors: kUnsupported for another number of names.
Result<std::vector<std::string>> split_names(std::string_view names, std::size_t servers);

// How far a program's work is to be spread over its servers.
struct Spread {
  bool is_on = false;           // devices are numbered in turns: one of each server, then again
  int share_percent_max = 100;  // of a program's devices, how many may be one server's
};

// "" and "off", "on", or the largest share of one server, "1%" to "99%", which means "on" as well.
// Errors: kUnsupported for anything else.
Result<Spread> parse_spread(std::string_view text);

}  // namespace farcall::link
