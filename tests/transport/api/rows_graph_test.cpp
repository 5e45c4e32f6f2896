#define FARCALL_FAMILY "transport/api/families/graph.def"
#define FARCALL_FAMILY_NAME graph
#include "tests/transport/api/every_row.inc"
