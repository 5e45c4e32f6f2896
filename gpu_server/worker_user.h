// Whom of the host's users a tenant's workers are: one for each tenant, and nobody else.
//
//   command.uid = worker_uid(peer);               // 0 where the server is not root
//   give_folder(folder, command.uid);
//
// The number is a digest of the tenant's name, so that it is the same from one start of the server
// to the next and needs no list. Two of a thousand tenants share one by chance in one pool of 500;
// their workers still have namespaces of their own and only their own tenant's folder.
// Threads: any.
#pragma once
#include <cstdint>

#include "security/identity.h"
#include "transport/base/status.h"

namespace farcall::server {

// 0 where this process may not start others as somebody else.
std::uint32_t worker_uid(const security::PeerIdentity& who);

// The folder and the files in it, as far as they are somebody else's.  Errors: kSystem.
Status give_folder(int folder, std::uint32_t uid);

}  // namespace farcall::server
