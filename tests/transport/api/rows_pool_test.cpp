#define FARCALL_FAMILY "transport/api/families/pool.def"
#define FARCALL_FAMILY_NAME pool
#include "tests/transport/api/every_row.inc"
