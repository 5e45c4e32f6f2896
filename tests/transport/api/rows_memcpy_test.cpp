#define FARCALL_FAMILY "transport/api/families/memcpy.def"
#define FARCALL_FAMILY_NAME memcpy
#include "tests/transport/api/every_row.inc"
