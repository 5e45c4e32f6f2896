#define FARCALL_FAMILY "transport/api/families/memset.def"
#define FARCALL_FAMILY_NAME memset
#include "tests/transport/api/every_row.inc"
