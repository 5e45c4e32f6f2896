#define FARCALL_FAMILY "transport/api/families/library.def"
#define FARCALL_FAMILY_NAME library
#include "tests/transport/api/every_row.inc"
