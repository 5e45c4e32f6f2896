#define FARCALL_FAMILY "transport/api/families/graph.def"
#define FARCALL_FAMILY_NAME graph
#define FARCALL_FAMILY_ID 0x0f
#include "transport/api/dispatch_family.inc"
