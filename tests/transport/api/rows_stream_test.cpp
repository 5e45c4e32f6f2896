#define FARCALL_FAMILY "transport/api/families/stream.def"
#define FARCALL_FAMILY_NAME stream
#include "tests/transport/api/every_row.inc"
