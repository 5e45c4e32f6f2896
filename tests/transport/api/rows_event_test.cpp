#define FARCALL_FAMILY "transport/api/families/event.def"
#define FARCALL_FAMILY_NAME event
#include "tests/transport/api/every_row.inc"
