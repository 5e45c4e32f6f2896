#define FARCALL_FAMILY "transport/api/families/context.def"
#define FARCALL_FAMILY_NAME context
#include "tests/transport/api/every_row.inc"
