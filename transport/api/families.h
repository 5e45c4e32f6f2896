// The families of the table, one per file in families/: what dispatch.cpp puts together.
#pragma once
#include "transport/api/dispatch.h"

namespace farcall::api {

struct FamilyRows {
  std::uint8_t family;
  std::span<const ServedRow> rows;
  std::uint64_t fingerprint;
};

FamilyRows served_session();
FamilyRows served_device();
FamilyRows served_context();
FamilyRows served_module();
FamilyRows served_library();
FamilyRows served_memory();
FamilyRows served_memcpy();
FamilyRows served_memset();
FamilyRows served_stream();
FamilyRows served_event();
FamilyRows served_launch();
FamilyRows served_occupancy();
FamilyRows served_pool();
FamilyRows served_array();
FamilyRows served_virtual_memory();
FamilyRows served_graph();
FamilyRows served_tensor_map();

// Every function above. A new family is added here, in table.inc, and as a dispatch_<family>.cpp.
inline constexpr FamilyRows (*kFamilies[])() = {
    served_session, served_device,     served_context, served_module, served_library,
    served_memory,  served_memcpy,     served_memset,  served_stream, served_event,
    served_launch,  served_occupancy,  served_pool,    served_array,  served_virtual_memory,
    served_graph,   served_tensor_map,
};

}  // namespace farcall::api
