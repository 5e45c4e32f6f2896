// The commands of the family `farcall ca` that have files of their own; ca.cpp puts them together.
//
//   add_ca_revoke(*ca, act);
//
// Each adds its subcommands to `ca`, as families.h says of families.  Threads: one.
#pragma once
#include "tools/cli/families.h"

namespace farcall::cli {

void add_ca_renew(CLI::App& ca, Act* act);   // renew
void add_ca_keep(CLI::App& ca, Act* act);    // keep
void add_ca_list(CLI::App& ca, Act* act);    // list, report
void add_ca_revoke(CLI::App& ca, Act* act);  // revoke, deny-list
void add_ca_serve(CLI::App& ca, Act* act);   // serve, token, join

}  // namespace farcall::cli
