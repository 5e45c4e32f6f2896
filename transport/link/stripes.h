// Stripes: one lane over several connections, for links on which one connection is not enough.
//
//   const std::size_t wanted = stripes_for(round_trip_us(control_fd));
//   std::unique_ptr<Carrier> bulk = make_striped_carrier(std::move(connections));
//
// A connection carries one window in a round trip (limits::kLaneWindowBytes): 2 MiB over 30 ms are
// 70 MB/s, whatever the line could do; and what is lost on the way halves that window. N
// connections have N windows.
//
// Records take the connections in turn, the first record the first, so where the next one comes
// from needs no word. It is still one lane: one key, one sequence, which every record is sealed
// with. A connection that is cut, swapped with another or taken over by someone else delivers a
// record that does not open, and that ends the session like any other. The slowest connection sets
// the pace: the others wait for its turn. Owner: a Lane.  Threads: as Carrier.
#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "transport/link/carrier.h"

struct tcp_info;  // linux/tcp.h, which does not go with netinet/tcp.h

namespace farcall::link {

// connections: in the order that both ends know them by. One comes back as it is, null for none.
std::unique_ptr<Carrier> make_striped_carrier(std::vector<std::unique_ptr<Carrier>> connections);

// The shortest round trip the kernel has seen on a connected TCP socket; 0 when it does not say.
// The shortest, because a busy machine answers late and is not far for that. It ends where TCP
// ends: a proxy in between is what is measured.
std::int64_t round_trip_us(int fd);

// What a byte takes on a connected TCP socket, by the acknowledgements that came lately while there
// was always something to send; 0 when the kernel does not say. As round_trip_us, it ends at a
// proxy.
double delivery_ns_per_byte(int fd);
// The same, of what the kernel said (TCP_INFO).
double delivery_ns_per_byte(const tcp_info& info);

// How many connections keep 3 GB/s, which is what sealing and TCP reach on one core, under way for
// that long: 1 up to 0.7 ms, limits::kStripesMax from 4.9 ms on.
std::size_t stripes_for(std::int64_t round_trip_us);

}  // namespace farcall::link
