#define FARCALL_FAMILY "transport/api/families/virtual_memory.def"
#define FARCALL_FAMILY_NAME virtual_memory
#include "tests/transport/api/every_row.inc"
