#define FARCALL_FAMILY "transport/api/families/array.def"
#define FARCALL_FAMILY_NAME array
#include "tests/transport/api/every_row.inc"
