#define FARCALL_FAMILY "transport/api/families/memory.def"
#define FARCALL_FAMILY_NAME memory
#include "tests/transport/api/every_row.inc"
